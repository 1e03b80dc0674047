"""A made case of each verdict, and the edges between them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from replication.core.files import read_yaml
from replication.statistics.intervals import Estimate
from replication.statistics.verdicts import (
    MARGINS,
    ROUNDING,
    ClaimVerdict,
    NumberVerdict,
    corrected,
    holm,
    joint_p_value,
    judge_claim,
    judge_number,
    stands,
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


def test_each_verdict_on_a_claim_and_on_a_number_has_its_case() -> None:
    """Four and six: none that is never given, none that is given and not listed."""
    ends = {"supported": (0.1, 0.2), "contradicted": (-0.2, -0.1),
            "undecided": (-0.1, 0.1), "not run": (None, None)}  # fmt: skip
    assert set(get_args(ClaimVerdict)) == set(ends)
    for verdict, (low, high) in ends.items():
        assert judge_claim(low, high) == verdict
    near, far, loose = (0.420, 0.421, 0.422), (0.450, 0.451, 0.452), (0.38, 0.42, 0.46)
    cases = {
        "reproduced": (near, "supported", True),
        "consistent, imprecise": (loose, "supported", True),
        "differs, claim holds": (far, "supported", True),
        "not reproduced": (far, "undecided", True),
        "partial": (near, "supported", False),
        "not run": ((), "supported", True),
    }
    assert set(get_args(NumberVerdict)) == set(cases)
    for verdict, case in cases.items():
        assert judge_number(0.421, *case) == verdict


@pytest.mark.parametrize("sign", [1, -1])
def test_a_claim_turns_where_its_interval_touches_zero(sign: int) -> None:
    """Zero itself belongs to the interval: undecided."""
    tiny = np.nextafter(0.0, 1.0)
    word = "supported" if sign > 0 else "contradicted"
    for end, verdict in ((tiny, word), (0.0, "undecided"), (-tiny, "undecided")):
        low, high = sorted((sign * end, sign * 0.2))
        assert judge_claim(low, high) == verdict


def test_an_interval_without_end_is_undecided() -> None:
    """One seed: it was run, and it decides nothing."""
    assert judge_claim(-np.inf, np.inf) == "undecided"


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
    """`reproduced` ends where the 90 % interval may pass the margin, rounded or not.

    Values a, a + d, a - d have s = d; n = 3, t(0.95, 2) = 2.92.
    """
    spread = 0.001
    half = stats.t.ppf(0.95, 2) * spread / 3**0.5
    room = MARGINS["overall"] - ROUNDING - half
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


@pytest.mark.parametrize("ours", [0.421, 0.43])
def test_seeds_that_agree_to_the_last_digit_are_copies_of_one_run(ours: float) -> None:
    """A head that no seed enters, copied for each: nothing is known of its spread."""
    found = judge_number(0.421, (ours,) * 3, "undecided", True)
    assert found == judge_number(0.421, (ours,), "undecided", True)


def test_margin_is_the_metrics_own() -> None:
    """NMI's two printed rows are 0.2 points apart: one does not reproduce the other."""
    values = (0.9429, 0.9430, 0.9431)
    assert judge_number(0.943, values, "supported", True, "nmi") == "reproduced"
    assert judge_number(0.945, values, "undecided", True, "nmi") == "not reproduced"
    assert judge_number(0.945, values, "undecided", True, "mcc") == "reproduced"


# --- many claims at once


def gap(mean: float, error: float = 0.01, freedom: float = 1e6) -> tuple[float, float]:
    """Mean and p-value of a difference, by Student's test with this freedom."""
    found = Estimate(mean, 0.0, 0.0, (mean,), error**2, 0.0, freedom)
    return mean, found.p_value


def test_joint_p_value_is_that_of_the_weakest_where_all_are_positive() -> None:
    """z = 2, 3: p = 0.0455, 0.0027."""
    assert joint_p_value([gap(0.02)]) == pytest.approx(0.0455, abs=1e-4)
    assert joint_p_value([gap(0.02), gap(0.03)]) == pytest.approx(0.0455, abs=1e-4)


def test_joint_p_value_is_that_of_the_strongest_negative_times_all() -> None:
    """One of them refutes the claim; it was found among three."""
    some = [gap(0.05), gap(-0.03), gap(-0.02)]
    assert joint_p_value(some) == pytest.approx(3 * 0.0027, abs=1e-4)
    assert joint_p_value([gap(-0.03)]) == pytest.approx(0.0027, abs=1e-4)
    assert joint_p_value([gap(0.05), gap(0.0)]) == 1
    assert joint_p_value([gap(-0.001)] * 3) == 1


def test_joint_p_value_of_what_was_not_measured_is_nan() -> None:
    assert np.isnan(joint_p_value([gap(0.02), gap(NAN)]))


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, 0.03 * 2, then not below what came before; 0.9 at most 1."""
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.9, 0.9]) == [1, 1, 1]
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_what_has_no_p_value_counts_for_nothing() -> None:
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


def test_holm_errs_in_one_family_of_twenty() -> None:
    """Ten tests without anything behind them, each on its own at 5 %: 40 % err."""
    draws = np.random.default_rng(0).random((4000, 10))
    families = [holm(row.tolist()) for row in draws]
    wrong = np.mean([min(family) < 0.05 for family in families])
    assert wrong == pytest.approx(0.05, abs=0.01)
    assert np.mean(draws.min(1) < 0.05) == pytest.approx(0.40, abs=0.03)


def judged(p_value: float | None, protocol: str | None = "paper") -> dict:
    return {"verdict": "supported", "p_value": p_value, "protocol": protocol}


def test_a_family_is_what_one_protocol_decides() -> None:
    """`paper` together with what has no protocol; the released code on its own."""
    some = [
        judged(0.02),
        judged(0.03, "released_code"),
        judged(0.04, None),
        judged(None),
        {"verdict": "supported", "p_value": 0.9},
    ]
    assert [one["holm"] for one in corrected(some)] == [0.06, 0.03, 0.08, None, 0.9]
    assert "holm" not in some[0]
    assert [one["all"] for one in corrected(some, "all")][1] == 0.03


def test_what_the_clock_says_moves_no_other_verdict() -> None:
    """0.02 and 0.03 of two tests on accuracy are 0.04 each, whatever was timed."""
    steady = [{"p_value": 0.02}, {"p_value": 0.03}]
    for seconds in (0.001, 0.5):
        timed = {"p_value": seconds, "timed": True}
        found = corrected([*steady, timed])
        assert [one["holm"] for one in found] == [0.04, 0.04, seconds]


@pytest.mark.parametrize(
    ("verdict", "value", "expected"),
    [
        ("supported", 0.0499, True),
        ("contradicted", 0.0499, True),
        ("supported", 0.05, False),
        ("contradicted", 0.2, False),
        ("undecided", 0.2, None),
        ("undecided", 0.01, None),
        ("not run", None, None),
        ("supported", None, None),
    ],
)
def test_a_verdict_stands_below_5_percent(
    verdict: str, value: float | None, expected: bool | None
) -> None:
    """Only what was decided can; what has no p-value is not asked."""
    assert stands({"verdict": verdict, "holm": value}) is expected
    assert stands({"verdict": verdict, "other": value}, "other") is expected
    assert stands({"verdict": verdict}) is None


# --- conditions

PUBLISHED = {"classes": 3, "test_per_class": 2, "histogram": {"3": 1, "200": 2}}


def recorded(
    stage: str = "backbone_paco@places_lt",
    source: str = "trained here",
    **params: object,
) -> dict:
    """The record of a run, as far as it is asked; settings are null as shipped."""
    plain = {"lambda_bal": None, "backbone.epochs": None, "seeds": [0, 1, 2]}
    found = {"stage": stage, "params": plain | params, "as_recipe": []}
    return found | ({"source": source} if stage.startswith("backbone_") else {})


def conditions(*runs: dict, **changes: object) -> list[str]:
    """Why a run of the printed benchmark, as published, would be partial."""
    data = {
        "stand_in": False,
        "benchmark": "places_lt",
        "class_counts": [200, 200, 3],
        "images": {"train": 403, "val": 0, "test": 6},
    }
    return why_partial("places_lt", data | changes, PUBLISHED, runs or [recorded()])


@pytest.mark.parametrize(
    "source",
    [
        "trained here",
        "imported from a checkpoint of PaCo",
        "none: features are imported",
    ],
)
def test_as_published_nothing_makes_a_number_partial(source: str) -> None:
    runs = [recorded(stage="prepare@places_lt"), recorded(source=source)]
    assert conditions(*runs, recorded(stage="dlsa@places_lt")) == []


def test_the_stand_in_and_another_benchmark_need_no_further_reason() -> None:
    """Whatever else differs: nothing there is the paper's to begin with."""
    other = recorded(source="imported from a checkpoint of torchvision", lambda_bal=2.0)
    wrong = {"benchmark": "cifar100_lt", "class_counts": [7]}
    assert conditions(other, stand_in=True, **wrong) == ["the data is the stand-in"]
    assert conditions(other, **wrong) == [
        "the paper prints this table for another benchmark"
    ]


@pytest.mark.parametrize("counts", [[200, 199, 3], [200, 3], [200, 200, 3, 3], []])
def test_other_class_counts_are_a_reason(counts: list[int]) -> None:
    reason = "the class counts are not the published ones"
    assert conditions(class_counts=counts) == [reason]


def test_another_test_set_is_a_reason() -> None:
    """PaCo evaluates Places-LT on the 7,300 images of its validation list."""
    assert conditions(images={"train": 403, "val": 0, "test": 4}) == [
        "the test set has 4 images, not 6"
    ]


def test_the_shipped_settings_are_the_papers() -> None:
    """Whatever a stage records of params.yaml as it comes: nothing is overridden."""

    def leaves(node: Mapping, above: str = "") -> Iterator[tuple[str, object]]:
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from leaves(value, f"{above}{key}.")
            else:
                yield above + key, value

    shipped = dict(leaves(read_yaml(Path(__file__).parents[2] / "params.yaml")))
    assert "deterministic" in shipped and len(shipped) > 80
    assert conditions(recorded(**shipped)) == []


@pytest.mark.parametrize(
    ("source", "features", "expected"),
    [
        ("trained here", None, None),
        ("imported from a checkpoint of Decouple", None, None),
        ("imported from a checkpoint of PaCo", None, "their weights are PaCo's"),
        (
            "none: features are imported",
            "/cached",
            "their features are those of PaCo's row: one folder for both",
        ),
        ("none: features are imported", {"ce": "/a", "paco": "/b"}, None),
    ],
)
def test_crt_and_lws_on_pacos_features_are_not_prints(
    source: str, features: object, expected: str | None
) -> None:
    given = {"inputs.inat18.features": features}
    runs = [
        recorded(stage="backbone_paco@inat18"),
        recorded(stage="backbone_ce@inat18", source=source, **given),
    ]
    assert why_other_features("inat18", runs) == expected


def test_class_counts_may_come_in_any_order() -> None:
    assert conditions(class_counts=[3, 200, 200]) == []


@pytest.mark.parametrize("maker", ["torchvision", "timm", "this suite"])
def test_features_of_another_makers_weights_are_a_reason(maker: str) -> None:
    source = f"imported from a checkpoint of {maker}"
    assert conditions(recorded(source=source)) == [
        f"the paper's features come from PaCo, these are {source}"
    ]


def test_only_pacos_own_backbone_is_asked_for_pacos_features() -> None:
    """Table 1's other rows have a backbone that was never PaCo's."""
    ce = recorded(
        stage="backbone_ce@places_lt",
        source="imported from a checkpoint of torchvision",
    )
    assert conditions(recorded(), ce) == []


def test_a_setting_that_is_set_to_what_is_printed_is_no_reason() -> None:
    """As `-S lambda_pure=0.03` on Places-LT, where print has 0.03."""
    as_recipe = {"as_recipe": ["lambda_pure"]}
    assert conditions(recorded(lambda_pure=0.03) | as_recipe) == []
    assert conditions(recorded(lambda_pure=0.03, lambda_bal=1.0) | as_recipe) == [
        "settings differ from print: lambda_bal"
    ]
    other = recorded(stage="sigma@places_lt", lambda_pure=0.03)
    assert conditions(recorded(lambda_pure=0.03) | as_recipe, other) == [
        "settings differ from print: lambda_pure"
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone.epochs", 10),
        ("backbone.precision", "32-true"),
        ("paco.alpha", 0.0),
        ("decoupling.lr", 0.5),
        ("lambda_bal", 1.0),
        ("data.image_size", 64),
        ("filter.eta", 0.0),
    ],
)
def test_an_overridden_setting_is_a_reason(key: str, value: object) -> None:
    """Also one that is overridden by 0, or by an empty or small value."""
    reason = f"settings differ from print: {key}"
    assert conditions(recorded(**{key: value})) == [reason]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", [0]),
        ("device", "cuda"),
        ("devices", 4),
        ("backbone.workers", 0),
        ("backbone.seed", 7),
        ("data.seed", 7),
        ("benchmarks", ["places_lt"]),
        ("ablation", ["places_lt"]),
        ("inputs.places_lt.images", "/images"),
        ("stand_in.epochs", 2),
        ("fig2.epochs", 2),
        ("sweep.draws", 10),
        ("estimator.draws", 10),
    ],
)
def test_what_moves_no_printed_number_is_no_reason(key: str, value: object) -> None:
    """Seeds, machine, doors; and what other pages than the tables are made with."""
    assert conditions(recorded(**{key: value})) == []


def test_every_reason_is_given_and_each_setting_once() -> None:
    source = "imported from a checkpoint of timm"
    runs = [
        recorded(source=source, **{"paco.alpha": 0.1}),
        recorded(stage="heads_paco@places_lt", **{"head.lr": 0.5, "paco.alpha": 0.1}),
    ]
    assert conditions(*runs, class_counts=[200]) == [
        "the class counts are not the published ones",
        f"the paper's features come from PaCo, these are {source}",
        "settings differ from print: head.lr, paco.alpha",
    ]
