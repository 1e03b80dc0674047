"""What the test-set selection was worth, by hand."""

import pytest

from replication.statistics.selection import selection_cell, selection_worth
from tests.reporting.made import cell


def seed(looks: dict[str, float], rest: dict[str, float]) -> dict:
    """Diagnostics of one seed: 30 test samples leave, 70 stay."""
    return {
        "classifiers": {
            "released_code": [
                {"samples": {"test": 30}, "looks": looks},
                {"samples": {"test": 70}, "looks": rest},
            ]
        }
    }


def test_worth_is_the_best_look_less_the_last_weighted_by_samples() -> None:
    """0.3 (0.5 - 0.4) + 0.7 (0.2 - 0.2) = 0.03; epoch 10 comes after epoch 5."""
    one = seed({"5": 0.5, "10": 0.4}, {"5": 0.1, "10": 0.2})
    two = seed({"5": 0.4, "10": 0.4}, {"5": 0.3, "10": 0.2})
    worth = selection_worth({"0": one, "1": two})
    assert worth.per_seed == pytest.approx((0.03, 0.07))
    assert worth.mean == pytest.approx(0.05)
    assert worth.low < 0.03 < 0.07 < worth.high


def test_a_classifier_without_samples_took_no_look_and_gains_nothing() -> None:
    worth = selection_worth({"0": seed({}, {"5": 0.3, "10": 0.2})})
    assert worth.per_seed == pytest.approx((0.07,))


def test_its_cell_is_a_difference_to_the_last_epochs() -> None:
    two = {name: seed({}, {"5": 0.3, "10": 0.2}) for name in ("0", "1")}
    worth = selection_cell(cell(protocol="released_code"), two)
    assert (worth.protocol, worth.minus) == ("released_code", "last_epoch")
    assert (worth.mean, worth.printed) == (pytest.approx(0.07), None)
