"""A made case of each verdict, and the edges between them."""

import numpy as np
import pytest
from scipy import stats

from replication.statistics.intervals import Estimate
from replication.statistics.results import Claim
from replication.statistics.verdicts import (
    MARGINS,
    ROUNDING,
    UNDECIDED_AFTER,
    corrected,
    holm,
    joint_p_value,
    judge_absence,
    judge_claim,
    judge_number,
    judged,
    why_other_features,
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
        (-np.inf, np.inf, "undecided"),
        (None, None, "not run"),
        (0.01, NAN, "not run"),
    ],
)
def test_claim(low: float | None, high: float | None, verdict: str) -> None:
    """The interval above zero, below it, around it or touching it, or not there."""
    assert judge_claim(low, high) == verdict


@pytest.mark.parametrize(
    ("published", "per_seed", "claim", "verdict"),
    [
        # 90 % interval 0.421 +- 2.92 * 0.001 / sqrt(3) = 0.0017: inside +-0.0045.
        (0.421, (0.420, 0.421, 0.422), "supported", "reproduced"),
        (0.421, (0.420, 0.421, 0.422), "contradicted", "reproduced"),
        # s = 0.01: 90 % interval +-0.0169 is too wide; prediction interval +-0.0497.
        (0.421, (0.411, 0.421, 0.431), "supported", "consistent, imprecise"),
        (0.465, (0.411, 0.421, 0.431), "undecided", "consistent, imprecise"),
        # s = 0.001: prediction interval +-0.0050, so that 0.03 away is outside.
        (0.451, (0.420, 0.421, 0.422), "supported", "differs, claim holds"),
        (0.451, (0.420, 0.421, 0.422), "undecided", "not reproduced"),
        (0.421, (), "supported", "not run"),
        (0.421, (NAN, NAN, NAN), "supported", "not run"),
    ],
)
def test_number_under_the_papers_conditions(
    published: float, per_seed: tuple[float, ...], claim: str, verdict: str
) -> None:
    assert judge_number(published, per_seed, claim, True, 2) == verdict


def test_other_conditions_are_partial_whatever_the_number() -> None:
    """Never a success, never a failure; but nothing run is still `not run`."""
    for values in ((0.421,) * 3, (0.1,) * 3):
        verdict = judge_number(
            0.421, values, "supported", same_conditions=False, backbones=2
        )
        assert verdict == "partial"
    assert (
        judge_number(0.421, (NAN,), "supported", same_conditions=False, backbones=2)
        == "not run"
    )


def test_two_one_sided_tests_at_the_margin() -> None:
    """`reproduced` ends where the 90 % interval may pass the margin, rounded or not.

    Values a, a + d, a - d have s = d; n = 3, t(0.95, 2) = 2.92.
    """
    spread = 0.001
    half = stats.t.ppf(0.95, 2) * spread / 3**0.5
    room = MARGINS["overall"] - ROUNDING - half
    for offset, verdict in ((room - 1e-6, True), (room + 1e-6, False)):
        values = tuple(0.4 + offset + d for d in (-spread, 0.0, spread))
        found = judge_number(0.4, values, "supported", True, 2)
        assert (found == "reproduced") == verdict
        mirrored = tuple(0.8 - value for value in values)
        assert judge_number(0.4, mirrored, "supported", True, 2) == found


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
            judge_number(published, tuple(values), "undecided", True, 2)
            for published in (inside, outside)
        ]
        assert found == ["consistent, imprecise", "not reproduced"]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("ours", [0.421, 0.43])
def test_one_seed_cannot_tell_a_number_apart(ours: float, seeds: int) -> None:
    """No spread is known; seeds that agree to the last digit are copies of one run."""
    verdict = judge_number(0.421, (ours,) * seeds, "undecided", True, 2)
    assert verdict == "consistent, imprecise"


@pytest.mark.parametrize("published", [0.421, 0.451])
def test_one_backbone_cannot_tell_a_number_apart(published: float) -> None:
    """Nobody knows what another one would give: neither found again nor refuted."""
    values = (0.420, 0.421, 0.422)
    verdict = judge_number(published, values, "undecided", True, backbones=1)
    assert verdict == "consistent, imprecise"


def test_margin_is_the_metrics_own() -> None:
    """NMI's two printed rows are 0.2 points apart: one does not reproduce the other."""
    values = (0.9429, 0.9430, 0.9431)
    assert judge_number(0.943, values, "supported", True, 2, "nmi") == "reproduced"
    assert judge_number(0.945, values, "undecided", True, 2, "nmi") == "not reproduced"
    assert judge_number(0.945, values, "undecided", True, 2, "mcc") == "reproduced"


# --- many claims at once


def gap(mean: float, error: float = 0.01, freedom: float = 1e6) -> Estimate:
    """A difference with its 95 % interval."""
    half = stats.t.ppf(0.975, freedom) * error
    return Estimate(mean, mean - half, mean + half, (mean,), error**2, 0.0, freedom)


def p_of(*gaps: Estimate) -> float:
    return joint_p_value([(one.mean, one.p_value) for one in gaps])


def test_all_of_some_differences_are_judged_by_the_smallest() -> None:
    """Its upper end is Bonferroni's: of two at 5 % the 97.5 % interval's, 2.24 s."""
    weak, strong = gap(0.021), gap(0.05, error=0.012)
    assert judged([weak]) == {
        "mean": weak.mean,
        "low": weak.low,
        "high": pytest.approx(weak.high),
        "verdict": "supported",
        "p_value": weak.p_value,
        "detectable": weak.detectable,
    }
    both = judged([weak, strong])
    assert (both["mean"], both["low"]) == (weak.mean, weak.low)
    assert both["high"] == pytest.approx(0.021 + 2.2414 * 0.01, abs=1e-5)
    assert both["p_value"] == weak.p_value
    assert both["detectable"] == strong.detectable
    assert judged([weak, gap(-0.021)])["verdict"] == "undecided"
    assert judged([weak, gap(-0.03)])["verdict"] == "contradicted"
    assert judged([weak, gap(NAN)])["verdict"] == "not run"


def test_joint_p_value_by_hand() -> None:
    """z = 2, 3: p = 0.0455, 0.0027. The weakest where all are positive; else the
    strongest negative times all: it was found among them.
    """
    assert p_of(gap(0.02), gap(0.03)) == pytest.approx(0.0455, abs=1e-4)
    mixed = p_of(gap(0.05), gap(-0.03), gap(-0.02))
    assert mixed == pytest.approx(3 * 0.0027, abs=1e-4)
    assert p_of(gap(0.05), gap(0.0)) == p_of(*[gap(-0.001)] * 3) == 1
    assert np.isnan(p_of(gap(0.02), gap(NAN)))


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2, then not below what came before; 0.9 at most 1."""
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.9, 0.9]) == [1, 1, 1]
    assert holm([]) == []
    assert holm([0.01, None, 0.02, NAN]) == [0.02, None, 0.02, None]


def test_holm_rejects_what_the_step_down_test_rejects() -> None:
    """Go up the ordered p-values until one is not below 5 % / those that are left."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = generator.beta(0.3, 3, size=generator.integers(1, 12))
        expected = np.zeros(len(values), dtype=bool)
        for rank, place in enumerate(np.argsort(values)):
            if values[place] >= 0.05 / (len(values) - rank):
                break
            expected[place] = True
        assert [value < 0.05 for value in holm(values.tolist())] == expected.tolist()


def claim(
    p_value: float | None, protocol: str | None = "validated", **changes: object
) -> Claim:
    """A supported claim."""
    made = {"id": "x", "sentence": None, "section": "table1", "place": "Sect. 6"}
    made |= {"statement": "X.", "test": "x", "benchmark": "inat18"}
    made |= {"grade": "real data, scaled", "verdict": "supported"}
    return Claim(**made | {"p_value": p_value, "protocol": protocol} | changes)


def test_a_family_is_what_one_protocol_decides_on_one_grade_of_evidence() -> None:
    """`validated` with what has no protocol; `as_released` alone; so each grade."""
    claims = [
        claim(0.02),
        claim(0.03, "as_released"),
        claim(0.04, None),
        claim(None),
        claim(0.9, None),
        claim(0.04, grade="stand-in"),
    ]
    expected = [0.06, 0.03, 0.08, None, 0.9, 0.04]
    assert [one.holm for one in corrected(claims)] == expected


@pytest.mark.parametrize(
    ("verdict", "value", "left"),
    [
        ("supported", 0.0499, "supported"),
        ("supported", 0.05, UNDECIDED_AFTER),
        ("contradicted", 0.2, UNDECIDED_AFTER),
        ("undecided", 0.2, "undecided"),
        ("not run", None, "not run"),
        ("contradicted", None, "contradicted"),
    ],
)
def test_what_correction_leaves_of_a_verdict(
    verdict: str, value: float | None, left: str
) -> None:
    """Only what was decided can fall; what has no p-value is not asked."""
    (once,) = corrected([claim(value, verdict=verdict)])
    assert once.verdict == left
    assert corrected([once]) == (once,)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.05, 0.09, "supported"),
        (0.01, 0.09, "supported"),  # there, and as good as nothing
        (-0.05, 0.11, "undecided"),
        (0.05, 0.11, "contradicted"),
        (-0.3, -0.2, "contradicted"),
        (NAN, NAN, "not run"),
    ],
)
def test_absence(low: float, high: float, verdict: str) -> None:
    assert judge_absence(low, high, 0.1) == verdict


# --- conditions

PUBLISHED = {"classes": 3, "test_per_class": 2, "histogram": {"3": 1, "200": 2}}
DATA = {
    "stand_in": False,
    "benchmark": "places_lt",
    "class_counts": [200, 200, 3],
    "images": {"train": 403, "val": 0, "test": 6},
}


def reasons(
    source: str = "trained here",
    departures: tuple[str, ...] = (),
    doubts: tuple[str, ...] = (),
    **data: object,
) -> list[str]:
    """Why a run of the printed benchmark would be partial."""
    about = {"source": source, "departures": list(departures), "doubts": doubts}
    return why_partial("places_lt", DATA | data, PUBLISHED, about)


def test_as_published_nothing_makes_a_number_partial() -> None:
    """Class counts may come in any order."""
    assert reasons(class_counts=[3, 200, 200]) == []
    assert reasons("none: features are imported") == []


def test_every_reason_is_given() -> None:
    """PaCo evaluates Places-LT on the 7,300 images of its validation list."""
    source = "imported from a checkpoint of timm"
    images = {"train": 403, "val": 0, "test": 4}
    given = reasons(
        source,
        ("head.lr", "lambda_bal"),
        ("2 of 4 test images are training images",),
        class_counts=[7],
        images=images,
    )
    assert given == [
        "the class counts are not the published ones",
        "the test set has 4 images, not 6",
        f"the paper's features come from PaCo, these are {source}",
        "settings differ from print: head.lr, lambda_bal",
        "2 of 4 test images are training images",
    ]


def test_the_stand_in_and_another_benchmark_need_no_further_reason() -> None:
    """Whatever else differs: nothing there is the paper's to begin with."""
    other = {"source": "elsewhere", "benchmark": "cifar100_lt", "class_counts": [7]}
    assert reasons(**other) == ["the paper prints this table for another benchmark"]
    assert reasons(**other, stand_in=True) == ["the data is the stand-in"]


@pytest.mark.parametrize(
    ("source", "one_folder", "expected"),
    [
        ("trained here", False, None),
        ("imported from a checkpoint of Decouple", False, None),
        ("imported from a checkpoint of PaCo", False, "their weights are PaCo's"),
        (
            "none: features are imported",
            True,
            "their features are those of PaCo's row: one folder for both",
        ),
        ("none: features are imported", False, None),
    ],
)
def test_crt_and_lws_on_pacos_features_are_not_prints(
    source: str, one_folder: bool, expected: str | None
) -> None:
    facts = {"source": source, "one_folder": one_folder}
    assert why_other_features(facts) == expected
