"""The search and what it tries: worked searches."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from replication.core.settings import CascadeSettings, DiagnoseSettings
from replication.sections.diagnosis import search
from replication.sections.diagnosis.search import Setting
from tests.sections.checkout import CLASSIFIER, FILTER

CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
BASE = search.setting_in_use(FILTER, CASCADE, CLASSIFIER)
GRID = DiagnoseSettings(
    search_seeds=2,
    lr_factors=[10, 1],
    depths=[1, 2],
    leaving_shares=[0.5],
    sigmas=[1.0, 0.05],
    num_clusters=[5, 20],
    weight_exponents=[0.0],
    without=["lambda_pure"],
)


def test_filters_serve_what_they_hold() -> None:
    deep = search.fit_of(BASE, FILTER)
    assert deep.filter == FILTER and deep.cascade == CASCADE
    for changes, served in (
        ({"depth": 1}, True),
        ({"lr": 3.0, "z": False}, True),
        ({"depth": 3}, False),
        ({"sigma": 1.0}, False),
        ({"lambda_pure": 0.0, "depth": 1}, False),
        ({"leaving_share": 0.5}, False),
        ({"clean": True}, False),
    ):
        other = search.fit_of(replace(BASE, **changes), FILTER)
        assert deep.serves(other) == served, changes


def test_alternatives_leave_out_what_is_in_use() -> None:
    others = search.alternatives(BASE, GRID, dimensions=24, augmented=True)
    assert list(others) == list(search.FACTORS)
    assert others == {
        "lr": [0.5],
        "depth": [1],
        "refitted": [True],
        "drawn": [False],
        "z": [False],
        "frequencies": [False],
        "own_prior": [False],
        "sigma": [0.25, 0.433013, 1.0],  # sqrt(3 / 48), 3 / sqrt(48)
        "num_clusters": [20],
        "weight_exponent": [0.0],
        "lambda_mle": [],
        "lambda_bal": [],
        "lambda_pure": [0.0],
        "leaving_share": [0.5],
        "clean": [True],
    }
    assert search.alternatives(BASE, GRID, 24, augmented=False)["clean"] == []
    singles = search.one_at_a_time(BASE, others)
    assert len(singles) == 15
    for factor, setting in singles:
        before, after = asdict(BASE), asdict(setting)
        assert {n for n in before if before[n] != after[n]} == {factor}


def test_the_plain_head_gets_the_same_learning_rates_and_starts() -> None:
    plain = search.plain_heads(BASE, [0.05, 0.5], [False])
    assert [(some.lr, some.refitted) for some in plain] == [
        (0.05, False), (0.5, False), (0.05, True), (0.5, True),
    ]  # fmt: skip
    given = {(some.depth, some.z, some.frequencies, some.trained) for some in plain}
    assert given == {(0, False, False, True)}
    both = search.plain_heads(BASE, [0.05, 0.5], [False, True])
    assert both == plain + [replace(some, clean=True) for some in plain]


Score = Callable[[Sequence[Setting]], dict[Setting, float]]


def scoring(asked: list[Setting], **worth: Any) -> Score:
    """A made-up validation accuracy by factor and value; notes what it is asked."""

    def score(settings: Sequence[Setting]) -> dict[Setting, float]:
        asked.extend(settings)
        return {
            setting: sum(
                gain.get(getattr(setting, factor), 0) for factor, gain in worth.items()
            )
            for setting in settings
        }

    return score


OTHERS = {
    **{factor: [] for factor in search.FACTORS},
    "lr": [0.5, 5.0],
    "refitted": [True],
    "drawn": [False],
    "sigma": [0.5, 1.0],
    "num_clusters": [20],
}


def test_the_search_finds_what_helps_and_says_each_step() -> None:
    asked: list[Setting] = []
    worth = {"lr": {0.5: 3, 5.0: 2}, "drawn": {False: 1}, "sigma": {0.5: 1, 1.0: 2}}
    chosen = search.choose(BASE, OTHERS, scoring(asked, **worth))
    assert chosen.named["chosen"] == replace(BASE, lr=0.5, drawn=False, sigma=1.0)
    assert list(chosen.steps) == [
        {"factor": "lr", "old": 0.05, "new": 0.5, "before": 0, "after": 3},
        {"factor": "drawn", "old": True, "new": False, "before": 3, "after": 4},
        {"factor": "sigma", "old": 0.05, "new": 1.0, "before": 4, "after": 6},
    ]
    # Filters are the costly part: each value alone, and with the classifiers found.
    tuned = replace(BASE, lr=0.5, drawn=False)
    wide = {some for some in asked if some.sigma == 0.5}
    assert wide == {replace(some, sigma=0.5) for some in (BASE, tuned)}
    assert replace(tuned, num_clusters=20) in asked
    # Each is asked about once and counted; three rates of a plain head, two starts.
    assert len(asked) == len(set(asked)) == chosen.cascades + chosen.plain
    assert chosen.plain == 6 and chosen.named["plain"].lr == 0.5
    assert chosen.named["head"] == replace(search.plain_head(BASE), trained=False)
    assert chosen.named["refitted"] == replace(chosen.named["head"], refitted=True)


@pytest.mark.parametrize(
    ("worth", "way"),
    [
        # The factor that is worth most alone comes first: no single one is better.
        (lambda s: max(5 * s.refitted, 3 * (s.lr == 0.5)), [{"refitted": True}]),
        # What helps only after another is found in a second pass.
        (
            lambda s: s.refitted + 2 * (s.refitted and s.lr == 5.0),
            [{"refitted": True}, {"lr": 5.0}],
        ),
        # Two filters that help alone but not together are not put together.
        (
            lambda s: (
                2 * (s.sigma == 1.0)
                + 3 * (s.num_clusters == 20)
                - 4 * (s.sigma == 1.0 and s.num_clusters == 20)
            ),
            [{"num_clusters": 20}],
        ),
        # What loses or only ties is not taken.
        (lambda s: -1 * (s.lr == 0.5), []),
    ],
)
def test_the_way_of_a_greedy_search(worth, way) -> None:
    path = [BASE]
    for changes in way:
        path.append(replace(path[-1], **changes))
    scored = lambda settings: {some: worth(some) for some in settings}  # noqa: E731
    assert search.search(BASE, OTHERS, scored) == path
