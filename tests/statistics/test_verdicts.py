"""A made case of each verdict, and the edges between them."""

import numpy as np
import pytest
from scipy import stats

from replication.statistics.intervals import Estimate
from replication.statistics.results import Claim
from replication.statistics.verdicts import (
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
    ("per_seed", "same_conditions", "verdict"),
    [
        ((0.420, 0.421, NAN), True, "undecided, one network"),
        ((0.1,), True, "undecided, one network"),
        ((0.421,) * 3, False, "partial"),
        ((NAN, NAN), True, "not run"),
        ((), False, "not run"),
    ],
)
def test_number(per_seed, same_conditions, verdict) -> None:
    """One network: neither found again nor refuted; under other conditions, partial."""
    assert judge_number(per_seed, same_conditions) == verdict


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


def test_a_test_that_two_sections_make_counts_once() -> None:
    """Of two, not of three: 0.02 becomes 0.04. Another protocol's is another test."""
    twice = [claim(0.02), claim(0.02, section="table1")]
    other = claim(0.9, id="other")
    assert [one.holm for one in corrected([*twice, other])] == [0.04, 0.04, 0.9]
    apart = [twice[0], claim(0.02, protocol=None)]
    assert [one.holm for one in corrected(apart)] == [0.04, 0.04]


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
