"""The search and what it tries: laws of the ladder, worked searches."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    DiagnoseSettings,
    FilterSettings,
)
from replication.sections.diagnosis import search
from replication.sections.diagnosis.search import Setting

FILTER = FilterSettings(
    lambda_mle=1.0,
    lambda_bal=1.0,
    lambda_pure=0.02,
    num_clusters=9,
    sigma=0.05,
    eta=0.7,
    weight_exponent=2.0,
    lr=0.1,
    batch_size=64,
    epochs=2,
)
CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
CLASSIFIER = ClassifierSettings(lr=0.05, batch_size=32, epochs=3, evaluate_every=1)
BASE = search.setting_in_use(FILTER, CASCADE, CLASSIFIER)
GRID = DiagnoseSettings(
    search_seeds=2,
    lr_factors=[10, 1],
    depths=[1, 2],
    leaving_shares=[0.5],
    sigmas=[1.0, 0.05],
    num_clusters=[9, 20],
    weight_exponents=[0.0],
    without=["lambda_pure"],
)


def test_each_rung_is_one_step_from_the_one_before() -> None:
    rungs = search.ladder(BASE)
    assert list(rungs) == [*search.RUNGS, "untrained"]
    assert rungs["drawn"] == BASE
    changed = []
    for old, new in itertools.pairwise(search.RUNGS):
        before, after = asdict(rungs[old]), asdict(rungs[new])
        changed.append({name for name in before if before[name] != after[name]})
    assert changed == [
        {"depth"},
        {"depth", "trained"},  # the split is taken back: it has changed nothing
        {"depth"},
        {"own_prior"},
        {"z"},
        {"frequencies"},
        {"drawn"},
    ]


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
    ):
        other = search.fit_of(replace(BASE, **changes), FILTER)
        assert deep.serves(other) == served, changes


def test_alternatives_leave_out_what_is_in_use() -> None:
    others = search.alternatives(BASE, GRID, dimensions=24)
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
    }
    singles = search.one_at_a_time(BASE, others)
    assert len(singles) == 14
    for factor, setting in singles:
        before, after = asdict(BASE), asdict(setting)
        assert {n for n in before if before[n] != after[n]} == {factor}


def test_the_plain_head_gets_the_same_learning_rates_and_starts() -> None:
    bare = search.without_split(BASE, search.alternatives(BASE, GRID, 24))
    assert [(some.lr, some.refitted) for some in bare["plain"]] == [
        (0.05, False), (0.5, False), (0.05, True), (0.5, True),
    ]  # fmt: skip
    for settings in bare.values():
        given = {(some.depth, some.z, some.frequencies) for some in settings}
        assert given == {(0, False, False)}
    assert bare["head"] == [search.ladder(BASE)["head"]]
    assert replace(bare["refitted"][0], refitted=False) == bare["head"][0]


class Worth:
    """A made-up validation accuracy, and what it was asked about."""

    def __init__(self, **worth: Any) -> None:
        self.worth = worth
        self.asked: set[Setting] = set()

    def __call__(self, settings: Sequence[Setting]) -> dict[Setting, float]:
        self.asked |= set(settings)
        return {setting: self.of(setting) for setting in settings}

    def of(self, setting: Setting) -> float:
        return sum(
            gain.get(getattr(setting, factor), 0) for factor, gain in self.worth.items()
        )


OTHERS = {
    **{factor: [] for factor in search.FACTORS},
    "lr": [0.5, 5.0],
    "refitted": [True],
    "drawn": [False],
    "sigma": [0.5, 1.0],
    "num_clusters": [20],
}


def test_the_search_finds_what_helps_and_says_each_step() -> None:
    score = Worth(lr={0.5: 3, 5.0: 2}, drawn={False: 1}, sigma={0.5: 1, 1.0: 2})
    found, steps = search.search(BASE, OTHERS, score)
    assert found == replace(BASE, lr=0.5, drawn=False, sigma=1.0)
    assert [asdict(step) for step in steps] == [
        {"factor": "lr", "old": 0.05, "new": 0.5, "before": 0, "after": 3},
        {"factor": "drawn", "old": True, "new": False, "before": 3, "after": 4},
        {"factor": "sigma", "old": 0.05, "new": 1.0, "before": 4, "after": 6},
    ]
    # Filters are the costly part: each value alone, and with the classifiers found.
    tuned = replace(BASE, lr=0.5, drawn=False)
    wide = {some for some in score.asked if some.sigma == 0.5}
    assert wide == {replace(some, sigma=0.5) for some in (BASE, tuned)}
    assert replace(tuned, num_clusters=20) in score.asked


def test_the_factor_that_is_worth_most_alone_comes_first() -> None:
    """So that what is found is never worse than the best single factor."""

    class Crowded(Worth):
        def of(self, setting: Setting) -> float:
            return max(5 * setting.refitted, 3 * (setting.lr == 0.5))

    found, steps = search.search(BASE, OTHERS, Crowded())
    assert found == replace(BASE, refitted=True)
    assert [step.factor for step in steps] == ["refitted"]


def test_a_factor_that_helps_only_after_another_is_found_in_a_second_pass() -> None:
    class Together(Worth):
        def of(self, setting: Setting) -> float:
            return setting.refitted + 2 * (setting.refitted and setting.lr == 5.0)

    found, steps = search.search(BASE, OTHERS, Together())
    assert found == replace(BASE, refitted=True, lr=5.0)
    assert [(step.factor, step.new) for step in steps] == [
        ("refitted", True),
        ("lr", 5.0),
    ]


def test_two_filters_that_help_alone_but_not_together_are_not_put_together() -> None:
    class Apart(Worth):
        def of(self, setting: Setting) -> float:
            wide, many = setting.sigma == 1.0, setting.num_clusters == 20
            return 2 * wide + 3 * many - 4 * (wide and many)

    found, steps = search.search(BASE, OTHERS, Apart())
    assert found == replace(BASE, num_clusters=20)
    assert len(steps) == 1


def test_where_nothing_helps_the_base_stays() -> None:
    """Nor does what only ties: the current one is kept."""
    score = Worth(lr={0.5: -1, 5.0: 0})
    assert search.search(BASE, OTHERS, score) == (BASE, [])


def test_each_setting_is_asked_about_once_and_counted() -> None:
    """The plain head's four, and the cascade's, of which a ladder asks for none."""
    asked: list[Setting] = []
    score = Worth(lr={0.5: 3, 5.0: 2}, drawn={False: 1})

    def once(settings: Sequence[Setting]) -> dict[Setting, float]:
        asked.extend(settings)
        return score(settings)

    chosen = search.choose(BASE, OTHERS, once)
    assert len(asked) == len(set(asked)) == chosen.cascades + chosen.plain
    assert chosen.plain == 6  # three rates from two starts
    assert chosen.named["chosen"] == replace(BASE, lr=0.5, drawn=False)
    assert chosen.named["plain"].lr == 0.5
    assert list(chosen.ladders) == [0.05, 0.5]  # in use, and the best alone
    assert len(chosen.all_settings()) == 5 + 2 * 9
