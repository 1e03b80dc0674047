"""What the test-set selection was worth, by hand."""

import pytest

from replication.statistics.selection import selection_cell
from tests.reporting.made import cell


def seed(looks: dict[str, float], rest: dict[str, float]) -> dict:
    """Diagnostics of one seed: 30 test samples leave, 70 stay."""
    return {
        "classifiers": {
            "as_released": [
                {"samples": {"test": 30}, "looks": looks},
                {"samples": {"test": 70}, "looks": rest},
            ]
        }
    }


def test_worth_is_the_best_look_less_the_last_weighted_by_samples() -> None:
    """0.3 (0.5 - 0.4) + 0.7 (0.2 - 0.2) = 0.03; epoch 10 comes after epoch 5.

    A classifier without samples took no look and gains nothing.
    """
    one = seed({"5": 0.5, "10": 0.4}, {"5": 0.1, "10": 0.2})
    two = seed({}, {"5": 0.3, "10": 0.2})
    worth = selection_cell(cell(protocol="as_released"), {"0": one, "1": two})
    assert worth.per_seed == pytest.approx((0.03, 0.07))
    assert worth.mean == pytest.approx(0.05)
    assert worth.low < 0.03 < 0.07 < worth.high
    assert (worth.protocol, worth.minus) == ("as_released", "last_epoch")
    assert worth.printed is worth.verdict is None
