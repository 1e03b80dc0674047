"""What DLSA would need: the ladder's laws, the search, differences by hand."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from replication.cascade import (
    PROTOCOLS,
    Level,
    decide,
    fit_levels,
    levels_as_arrays,
    levels_from_arrays,
)
from replication.classifiers.fitting import Problem, Watched, fit_classifier
from replication.classifiers.heads import Rows, Term, predict
from replication.core.files import read_about, read_arrays, write_arrays
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    DiagnoseSettings,
    FilterSettings,
)
from replication.samples.features import Samples
from replication.sections.diagnosis import experiment
from replication.sections.diagnosis.experiment import Answers, Setting, Tried
from replication.sections.sigma.experiment import validation_as_test

CLASSES, DIMENSIONS = 6, 8
COUNTS = [150, 120, 60, 30, 12, 6]
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
BASE = experiment.setting_in_use(FILTER, CASCADE, CLASSIFIER)
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


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(counts: Sequence[int], seed: int) -> Samples:
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    centres = torch.randn(CLASSES, DIMENSIONS, generator=generator(100))
    noise = torch.randn(len(labels), DIMENSIONS, generator=generator(seed))
    return Samples(centres[labels] + noise, labels)


SPLITS = {
    "train": samples(COUNTS, 1),
    "val": samples([5] * CLASSES, 2),
    "test": samples([20] * CLASSES, 3),
}
HEAD = Term(
    0.3 * torch.randn(CLASSES, DIMENSIONS, generator=generator(5)),
    torch.zeros(CLASSES),
)


@pytest.fixture(scope="module")
def levels() -> list[Level]:
    return fit_levels(SPLITS, CLASSES, FILTER, CASCADE, 0)[0]


@pytest.fixture(scope="module")
def few_clusters() -> list[Level]:
    """Fewer clusters than classes: their frequencies are kept as logits."""
    few = FILTER.model_copy(update={"num_clusters": 3})
    return fit_levels(SPLITS, CLASSES, few, CASCADE, 0)[0]


def tried(setting: Setting, levels: Sequence[Level], seed: int = 0) -> Tried:
    return experiment.decide_as(
        setting, levels, SPLITS, CLASSES, HEAD, CLASSIFIER, seed
    )


def of_head(split: str) -> np.ndarray:
    everything = torch.arange(len(SPLITS[split].labels))
    return predict([HEAD], [Rows(SPLITS[split].features)], everything).numpy()


# ---- The ladder


@pytest.mark.parametrize("which", ["levels", "few_clusters"])
def test_the_settings_in_use_decide_as_the_cascade_does(which, request) -> None:
    levels = request.getfixturevalue(which)
    found = tried(BASE, levels)
    joined, both = validation_as_test(levels, SPLITS)
    expected, notes = decide(
        joined, both, CLASSES, HEAD, CLASSIFIER, PROTOCOLS[0], seed=0
    )
    first = len(SPLITS["val"].labels)
    assert found.predictions["val"].tolist() == expected[:first].tolist()
    assert found.predictions["test"].tolist() == expected[first:].tolist()
    assert [one["epoch"] for one in found.notes] == [one["epoch"] for one in notes]


def test_each_rung_is_one_step_from_the_one_before() -> None:
    rungs = experiment.ladder(BASE)
    assert list(rungs) == [*experiment.RUNGS, "untrained"]
    assert rungs["drawn"] == BASE
    changed = []
    for old, new in zip(experiment.RUNGS, experiment.RUNGS[1:], strict=False):
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


def test_splitting_alone_changes_no_prediction(levels) -> None:
    rungs = experiment.ladder(BASE)
    for name in ("head", "split"):
        found = tried(rungs[name], levels)
        for split in experiment.DECIDED:
            assert found.predictions[split].tolist() == of_head(split).tolist()
        assert {note["moved"] for note in found.notes} == {0.0}
    assert set(tried(rungs["head"], levels).part) == {0}
    assert set(tried(rungs["split"], levels).part) == {0, 1, 2}


@pytest.mark.parametrize("which", ["levels", "few_clusters"])
def test_second_terms_at_zero_leave_the_head_drawn_ones_do_not(which, request) -> None:
    levels = request.getfixturevalue(which)
    untrained = experiment.ladder(BASE)["untrained"]
    at_zero = tried(replace(untrained, drawn=False), levels)
    assert at_zero.predictions["test"].tolist() == of_head("test").tolist()
    assert tried(untrained, levels).predictions["test"].tolist() != at_zero.predictions[
        "test"
    ].tolist()  # fmt: skip


def test_without_a_split_one_classifier_sees_everything() -> None:
    found = tried(experiment.ladder(BASE)["retrained"], [])
    train, val = SPLITS["train"], SPLITS["val"]
    problem = Problem(
        [HEAD.clone()],
        [Rows(train.features)],
        train.labels,
        torch.tensor(COUNTS),
        Watched([Rows(val.features)], val.labels),
        0,
    )
    by_hand = fit_classifier(problem, CLASSIFIER)
    everything = torch.arange(len(SPLITS["test"].labels))
    expected = predict(by_hand.terms, [Rows(SPLITS["test"].features)], everything)
    assert found.predictions["test"].tolist() == expected.tolist()
    moved = (by_hand.terms[0].weight - HEAD.weight).norm() / HEAD.weight.norm()
    assert found.notes[0]["moved"] == pytest.approx(moved.item())
    assert found.notes[0]["samples"] == {"train": 378, "val": 30, "test": 120}


def test_a_part_has_the_prior_of_its_own_samples_or_of_all(levels) -> None:
    rows = {split: levels[0].leaving(split) for split in SPLITS}
    inputs = {split: [Rows(SPLITS[split].features, rows[split])] for split in SPLITS}
    labels = {split: SPLITS[split].labels[rows[split]] for split in SPLITS}
    own = labels["train"].bincount(minlength=CLASSES)
    assert (own / own.sum()).tolist() != (torch.tensor(COUNTS) / sum(COUNTS)).tolist()
    rungs = experiment.ladder(BASE)
    for name, prior in (("own_prior", own), ("parts", torch.tensor(COUNTS))):
        problem = Problem(
            [HEAD.clone()],
            inputs["train"],
            labels["train"],
            prior,
            Watched(inputs["val"], labels["val"]),
            1,
        )
        by_hand = fit_classifier(problem, CLASSIFIER)
        everything = torch.arange(len(rows["test"]))
        expected = predict(by_hand.terms, inputs["test"], everything)
        found = tried(rungs[name], levels).predictions["test"][rows["test"].numpy()]
        assert found.tolist() == expected.tolist()


def test_inputs_that_are_not_given_are_not_used(levels) -> None:
    """All samples put into one cluster: seen by whom the frequencies are given."""
    other = [
        replace(level, cluster={k: 0 * v for k, v in level.cluster.items()})
        for level in levels
    ]
    without = replace(BASE, frequencies=False)
    mine = tried(without, levels).predictions["test"]
    assert mine.tolist() == tried(without, other).predictions["test"].tolist()
    given = tried(replace(BASE, z=False, lr=1.0), levels).predictions["test"]
    moved = tried(replace(BASE, z=False, lr=1.0), other).predictions["test"]
    assert given.tolist() != moved.tolist()


# ---- Filters, kept


def test_kept_filters_are_those_that_were_fitted(levels, tmp_path) -> None:
    file = tmp_path / "levels.safetensors"
    arrays, facts = levels_as_arrays(levels)
    write_arrays(file, arrays, {"levels": facts})
    again = levels_from_arrays(
        read_arrays(file), read_about(file)["levels"], FILTER.sigma, torch.device("cpu")
    )
    assert [one.threshold for one in again] == [one.threshold for one in levels]
    fast = replace(BASE, lr=1.0)
    for setting in (fast, replace(fast, depth=1)):
        before, after = tried(setting, levels), tried(setting, again)
        assert before.predictions["test"].tolist() == after.predictions["test"].tolist()
        assert before.notes == after.notes


def test_the_first_filters_of_a_deep_chain_are_those_of_a_shallow_one(levels) -> None:
    shallow = CASCADE.model_copy(update={"depth": 1})
    alone = fit_levels(SPLITS, CLASSES, FILTER, shallow, 0)[0]
    one = replace(BASE, depth=1, lr=1.0)
    assert tried(one, levels).notes == tried(one, alone).notes


def test_filters_serve_what_they_hold() -> None:
    deep = experiment.fit_of(BASE, FILTER)
    assert deep.filter == FILTER and deep.cascade == CASCADE
    for changes, served in (
        ({"depth": 1}, True),
        ({"lr": 3.0, "z": False}, True),
        ({"depth": 3}, False),
        ({"sigma": 1.0}, False),
        ({"lambda_pure": 0.0, "depth": 1}, False),
        ({"leaving_share": 0.5}, False),
    ):
        other = experiment.fit_of(replace(BASE, **changes), FILTER)
        assert deep.serves(other) == served, changes


# ---- The search


def test_alternatives_leave_out_what_is_in_use() -> None:
    others = experiment.alternatives(BASE, GRID, dimensions=24)
    assert list(others) == list(experiment.FACTORS)
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
    singles = experiment.one_at_a_time(BASE, others)
    assert len(singles) == 14
    for factor, setting in singles:
        before, after = asdict(BASE), asdict(setting)
        assert {n for n in before if before[n] != after[n]} == {factor}


def test_the_plain_head_gets_the_same_learning_rates_and_starts() -> None:
    bare = experiment.without_split(BASE, experiment.alternatives(BASE, GRID, 24))
    assert [(one.lr, one.refitted) for one in bare["plain"]] == [
        (0.05, False), (0.5, False), (0.05, True), (0.5, True),
    ]  # fmt: skip
    for some in bare.values():
        assert all((one.depth, one.z, one.frequencies) == (0, False, False)
                   for one in some)  # fmt: skip
    assert bare["head"] == [experiment.ladder(BASE)["head"]]
    assert replace(bare["refitted"][0], refitted=False) == bare["head"][0]


class Worth:
    """A made-up validation accuracy, and what it was asked about."""

    def __init__(self, **worth: Any) -> None:
        self.worth = worth
        self.asked: set[Setting] = set()

    def __call__(self, settings: Sequence[Setting]) -> dict[Setting, float]:
        self.asked |= set(settings)
        return {one: self.of(one) for one in settings}

    def of(self, setting: Setting) -> float:
        return sum(
            gain.get(getattr(setting, factor), 0) for factor, gain in self.worth.items()
        )


OTHERS = {
    **{factor: [] for factor in experiment.FACTORS},
    "lr": [0.5, 5.0],
    "refitted": [True],
    "drawn": [False],
    "sigma": [0.5, 1.0],
    "num_clusters": [20],
}


def test_the_search_finds_what_helps_and_says_each_step() -> None:
    score = Worth(lr={0.5: 3, 5.0: 2}, drawn={False: 1}, sigma={0.5: 1, 1.0: 2})
    found, steps = experiment.search(BASE, OTHERS, score)
    assert found == replace(BASE, lr=0.5, drawn=False, sigma=1.0)
    assert [asdict(step) for step in steps] == [
        {"factor": "lr", "old": 0.05, "new": 0.5, "before": 0, "after": 3},
        {"factor": "drawn", "old": True, "new": False, "before": 3, "after": 4},
        {"factor": "sigma", "old": 0.05, "new": 1.0, "before": 4, "after": 6},
    ]
    # Filters are the costly part: each value alone, and with the classifiers found.
    tuned = replace(BASE, lr=0.5, drawn=False)
    wide = {one for one in score.asked if one.sigma == 0.5}
    assert wide == {replace(one, sigma=0.5) for one in (BASE, tuned)}
    assert replace(tuned, num_clusters=20) in score.asked


def test_the_factor_that_is_worth_most_alone_comes_first() -> None:
    """So that what is found is never worse than the best single factor."""

    class Crowded(Worth):
        def of(self, setting: Setting) -> float:
            return max(5 * setting.refitted, 3 * (setting.lr == 0.5))

    found, steps = experiment.search(BASE, OTHERS, Crowded())
    assert found == replace(BASE, refitted=True)
    assert [step.factor for step in steps] == ["refitted"]


def test_a_factor_that_helps_only_after_another_is_found_in_a_second_pass() -> None:
    class Together(Worth):
        def of(self, setting: Setting) -> float:
            return setting.refitted + 2 * (setting.refitted and setting.lr == 5.0)

    found, steps = experiment.search(BASE, OTHERS, Together())
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

    found, steps = experiment.search(BASE, OTHERS, Apart())
    assert found == replace(BASE, num_clusters=20)
    assert len(steps) == 1


def test_where_nothing_helps_the_base_stays() -> None:
    """Nor does what only ties: the current one is kept."""
    score = Worth(lr={0.5: -1, 5.0: 0})
    assert experiment.search(BASE, OTHERS, score) == (BASE, [])


# ---- What was found


def made(val: list[int], test: list[int], part: list[int]) -> Tried:
    predictions = {"val": np.array(val), "test": np.array(test)}
    notes = [{"moved": 0.1}, {"moved": 0.3}]
    return Tried(predictions, np.array(part), notes)


LABELS = {"val": np.array([0, 0, 1, 1]), "test": np.array([0, 0, 0, 1, 1, 1])}
OTHER = replace(BASE, lr=0.5)
RESULTS = {
    BASE: {
        0: made([0, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]),
        1: made([0, 0, 1, 1], [0, 0, 0, 1, 1, 0], [0, 1, 1, 1, 1, 1]),
    },
    OTHER: {
        0: made([1, 1, 1, 1], [1, 0, 1, 1, 1, 0], [0] * 6),
        1: made([1, 1, 1, 1], [0, 0, 0, 1, 0, 0], [0] * 6),
    },
}


@pytest.fixture
def answers() -> Answers:
    return Answers(RESULTS, LABELS, np.array([150, 5]))


def test_validation_accuracy_by_hand() -> None:
    # 3 of 4 and 4 of 4; the test samples do not enter.
    assert experiment.validation_accuracy(RESULTS[BASE], LABELS["val"]) == 7 / 8


def test_differences_by_hand(answers) -> None:
    # Right on test: 3 and 5 of 6 against 3 and 4.
    overall = answers.difference(BASE, OTHER, "test", "overall")
    assert overall["per_seed"] == pytest.approx([0, 1 / 6])
    assert overall["mean"] == pytest.approx(1 / 12)
    few = answers.difference(BASE, OTHER, "test", "few")
    assert few["per_seed"] == pytest.approx([-1 / 3, 1 / 3])
    assert answers.changed(BASE, OTHER) == pytest.approx(3 / 12)
    assert answers.moved(BASE) == pytest.approx(0.2)
    assert answers.accuracy(OTHER, "val", "overall")["mean"] == 0.5


def test_contributions_by_hand_add_up_to_the_difference(answers) -> None:
    first, second = answers.contributions(BASE, OTHER)
    assert first["share"] == pytest.approx(5 / 12)
    assert (first["first"], first["second"]) == (0.8, 0.6)
    assert first["per_seed"] == pytest.approx([1 / 6, 0])
    assert second["per_seed"] == pytest.approx([-1 / 6, 1 / 6])
    whole = answers.difference(BASE, OTHER, "test", "overall")
    assert first["mean"] + second["mean"] == pytest.approx(whole["mean"])


def test_a_setting_whose_filters_diverged_is_wrong_everywhere_and_named() -> None:
    empty = experiment.undecided(SPLITS)
    assert {name: len(some) for name, some in empty.items()} == {
        "val": 30, "test": 120, "part": 120,
    }  # fmt: skip
    part = empty.pop("part")
    failed = Tried(empty, part, [])
    labels = {split: SPLITS[split].labels.numpy() for split in experiment.DECIDED}
    assert experiment.validation_accuracy({0: failed}, labels["val"]) == 0
    fine = Tried(labels, part * 0, [{"moved": 0.0}])
    both = Answers({OTHER: {0: failed}, BASE: {0: fine}}, labels, np.array(COUNTS))
    (record,) = experiment.factor_records(both, BASE, [("lr", OTHER)])
    assert (record["value"], record["base"], record["refused"]) == (0.5, 0.05, 1.0)
    assert record["gain"]["test"]["mean"] == pytest.approx(-1)


def test_records_of_a_ladder_hold_steps_that_add_up(levels) -> None:
    rungs = experiment.ladder(replace(BASE, lr=0.5))
    results = {
        rung: {seed: tried(rung, levels, seed) for seed in (0, 1)}
        for rung in rungs.values()
    }
    labels = {split: SPLITS[split].labels.numpy() for split in experiment.DECIDED}
    answers = Answers(results, labels, np.array(COUNTS))
    records = experiment.ladder_records(answers, rungs)
    assert [one["name"] for one in records] == list(rungs)
    assert records[0]["step"] is None and records[-1]["step"] is None
    assert records[1]["step"]["test"]["mean"] == records[1]["changed"] == 0
    on_it = records[:-1]
    for split in experiment.DECIDED:
        total = sum(one["step"][split]["mean"] for one in on_it[1:])
        assert total == pytest.approx(on_it[-1]["from_head"][split]["mean"])
    named = dict.fromkeys(("plain", "chosen", "refitted"), rungs["retrained"])
    named |= {"head": rungs["head"], "published": rungs["drawn"]}
    methods, differences = experiment.compared(answers, named)
    assert [one["name"] for one in methods] == list(named)
    gap = next(one for one in differences if one["first"] == "published")
    assert gap["test"]["overall"] == on_it[-1]["from_head"]["test"]
