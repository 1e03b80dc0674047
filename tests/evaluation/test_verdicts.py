"""A made case of each verdict, and the edges between them."""

import pytest
from scipy import stats

from replication.evaluation.verdicts import (
    MARGIN,
    ROUNDING,
    judge_claim,
    judge_number,
    why_partial,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "supported"),
        (-0.02, -0.001, "contradicted"),
        (-0.01, 0.01, "undecided"),
        (0.0, 0.01, "undecided"),
        (-0.01, 0.0, "undecided"),
        (0.0, 0.0, "undecided"),
        (None, None, "not run"),
        (0.01, None, "not run"),
        (None, 0.01, "not run"),
        (NAN, NAN, "not run"),
        (0.01, NAN, "not run"),
    ],
)
def test_claim(low: float | None, high: float | None, verdict: str) -> None:
    """The interval above zero, below it, around it or touching it, or not there."""
    assert judge_claim(low, high) == verdict


@pytest.mark.parametrize(
    ("published", "per_seed", "claim", "verdict"),
    [
        # 90 % interval 0.421 +- 2.92 * 0.001 / sqrt(3) = 0.0017: inside +-0.0055.
        (0.421, (0.420, 0.421, 0.422), "supported", "reproduced"),
        (0.421, (0.420, 0.421, 0.422), "contradicted", "reproduced"),
        # s = 0.01: 90 % interval +-0.0169 is too wide; prediction interval +-0.0497.
        (0.421, (0.411, 0.421, 0.431), "supported", "consistent, imprecise"),
        (0.465, (0.411, 0.421, 0.431), "undecided", "consistent, imprecise"),
        # s = 0.001: prediction interval +-0.0050, so that 0.03 away is outside.
        (0.451, (0.420, 0.421, 0.422), "supported", "differs, claim holds"),
        (0.391, (0.420, 0.421, 0.422), "supported", "differs, claim holds"),
        (0.451, (0.420, 0.421, 0.422), "undecided", "not reproduced"),
        (0.451, (0.420, 0.421, 0.422), "contradicted", "not reproduced"),
        (0.451, (0.420, 0.421, 0.422), "not run", "not reproduced"),
        (0.421, (), "supported", "not run"),
        (0.421, (NAN, NAN, NAN), "supported", "not run"),
    ],
)
def test_number_under_the_papers_conditions(
    published: float, per_seed: tuple[float, ...], claim: str, verdict: str
) -> None:
    assert judge_number(published, per_seed, claim, same_conditions=True) == verdict


@pytest.mark.parametrize("claim", ["supported", "contradicted", "undecided"])
def test_other_conditions_are_partial_whatever_the_number(claim: str) -> None:
    """Never a success, never a failure; but nothing run is still `not run`."""
    exact, far = (0.421, 0.421, 0.421), (0.1, 0.1, 0.1)
    assert judge_number(0.421, exact, claim, same_conditions=False) == "partial"
    assert judge_number(0.421, far, claim, same_conditions=False) == "partial"
    assert judge_number(0.421, (), claim, same_conditions=False) == "not run"
    assert judge_number(0.421, (NAN,), claim, same_conditions=False) == "not run"


def test_two_one_sided_tests_at_the_margin() -> None:
    """`reproduced` ends where the 90 % interval passes the margin and the rounding.

    Values a, a + d, a - d have s = d; n = 3, t(0.95, 2) = 2.92.
    """
    spread = 0.001
    half = stats.t.ppf(0.95, 2) * spread / 3**0.5
    room = MARGIN + ROUNDING - half
    for offset, verdict in ((room - 1e-6, True), (room + 1e-6, False)):
        values = tuple(0.4 + offset + d for d in (-spread, 0.0, spread))
        found = judge_number(0.4, values, "supported", same_conditions=True)
        assert (found == "reproduced") == verdict
        mirrored = tuple(0.8 - value for value in values)
        assert judge_number(0.4, mirrored, "supported", True) == found


@pytest.mark.parametrize(("seeds", "factor"), [(3, 4.97), (5, 3.04), (10, 2.37)])
def test_prediction_interval_for_one_published_run(seeds: int, factor: float) -> None:
    """Half-width t s sqrt(1 + 1/k): 4.97 s, 3.04 s, 2.37 s, and the rounding."""
    values = [0.4 + 0.05 * (number - (seeds - 1) / 2) for number in range(seeds)]
    mean = sum(values) / seeds
    spread = (sum((v - mean) ** 2 for v in values) / (seeds - 1)) ** 0.5
    for sign in (1, -1):
        inside = mean + sign * ((factor - 0.01) * spread + ROUNDING)
        outside = mean + sign * ((factor + 0.01) * spread + ROUNDING)
        found = [
            judge_number(published, tuple(values), "undecided", True)
            for published in (inside, outside)
        ]
        assert found == ["consistent, imprecise", "not reproduced"]


def test_seeds_that_are_missing_do_not_count() -> None:
    """A NaN seed is left out, of the mean and of k."""
    assert judge_number(0.421, (0.420, NAN, 0.422), "undecided", True) == judge_number(
        0.421, (0.420, 0.422), "undecided", True
    )


@pytest.mark.parametrize("claim", ["supported", "undecided"])
@pytest.mark.parametrize("ours", [0.421, 0.43])
def test_one_seed_cannot_tell_a_number_apart(ours: float, claim: str) -> None:
    """k = 1: no spread is known, the prediction interval is unbounded.

    It may not be called reproduced, and it may not be called not reproduced.
    """
    found = judge_number(0.421, (ours,), claim, same_conditions=True)
    assert found == "consistent, imprecise"


def test_seeds_that_agree_to_the_last_digit() -> None:
    """s = 0: reproduced within the margin, beyond it not."""
    same = (0.424, 0.424, 0.424)
    assert judge_number(0.421, same, "undecided", True) == "reproduced"
    assert judge_number(0.431, same, "undecided", True) == "not reproduced"


COUNTS = {"3": 1, "200": 2}


def conditions(**changes: object) -> list[str]:
    """Why a run of the printed benchmark, as published, would be partial."""
    data = {
        "stand_in": False,
        "benchmark": "places_lt",
        "class_counts": [200, 200, 3],
    }
    run = {"source": "none: features are imported", "params": {"lambda_bal": None}}
    run |= changes.pop("run", {})
    return why_partial("places_lt", data | changes, COUNTS, [run])


def test_as_published_nothing_makes_a_number_partial() -> None:
    assert conditions() == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stand_in": True}, "the data is the stand-in"),
        (
            {"benchmark": "cifar100_lt"},
            "the paper prints this table for another benchmark",
        ),
        (
            {"class_counts": [200, 199, 3]},
            "the class counts are not the published ones",
        ),
        (
            {"run": {"source": "trained here"}},
            "the features come from cross-entropy, the paper's from PaCo",
        ),
        (
            {"run": {"params": {"lambda_bal": 1.0, "seeds": [0]}}},
            "settings differ from print: lambda_bal",
        ),
    ],
)
def test_each_reason_for_partial(changes: dict, reason: str) -> None:
    assert conditions(**changes) == [reason]
