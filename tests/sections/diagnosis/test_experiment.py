"""What DLSA would need: one setting, and differences by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from replication.cascade import (
    Classifiers,
    Level,
    fit_levels,
    levels_as_arrays,
    levels_from_arrays,
)
from replication.classifiers.heads import Rows, Term, predict
from replication.core.files import read_about, read_arrays, write_arrays
from replication.core.settings import CascadeSettings
from replication.protocols import VALIDATED
from replication.sections.diagnosis import experiment, search
from replication.sections.diagnosis.experiment import Answers, Tried
from replication.sections.diagnosis.search import Setting
from replication.statistics.intervals import Estimate
from replication.statistics.results import pick
from tests.made import basis
from tests.sections import checkout
from tests.sections.checkout import CLASSIFIER, COUNTS, FILTER, drawn_splits

CLASSES = len(COUNTS)
SPLITS = drawn_splits()
# So weak that what is drawn beside it changes decisions.
HEAD = Term(0.02 * checkout.HEAD.weight, checkout.HEAD.bias)
CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
BASE = search.setting_in_use(FILTER, CASCADE, CLASSIFIER)


@pytest.fixture(scope="module")
def levels() -> list[Level]:
    return fit_levels(SPLITS, CLASSES, FILTER, CASCADE, VALIDATED, 0).levels


def tried(setting: Setting, levels: Sequence[Level], seed: int = 0) -> Tried:
    return experiment.decide_as(setting, levels, SPLITS, HEAD, CLASSIFIER, seed)


# ---- One setting, one seed


def test_the_settings_in_use_decide_as_the_cascade_does(levels) -> None:
    ours = tried(BASE, levels)
    classifiers = Classifiers(HEAD, SPLITS, CLASSIFIER, VALIDATED)
    expected = classifiers.decide_as_dlsa(levels, 0)
    notes = expected.notes
    assert ours["test"].tolist() == expected.predicted.tolist()
    # Each classifier's best look is what its predictions of validation samples say.
    right = (ours["val"] == SPLITS["val"].labels.numpy()).sum()
    looks = (max(note["looks"].values()) * note["samples"]["val"] for note in notes)
    assert right == pytest.approx(sum(looks))


def test_a_plain_head_that_is_not_trained_is_the_head() -> None:
    plain = replace(search.plain_head(BASE), trained=False)
    everything = torch.arange(len(SPLITS["test"].labels))
    expected = predict([HEAD], [Rows(SPLITS["test"].features)], everything)
    assert tried(plain, [])["test"].tolist() == expected.tolist()


def test_inputs_that_are_not_given_are_not_used(levels) -> None:
    """All samples put into one cluster: seen by whom the frequencies are given."""
    other = [
        replace(level, cluster={k: 0 * v for k, v in level.cluster.items()})
        for level in levels
    ]
    without = replace(BASE, frequencies=False)
    answers = tried(without, levels)["test"]
    assert answers.tolist() == tried(without, other)["test"].tolist()
    given = replace(BASE, z=False, trained=False)
    answers = tried(given, levels)["test"]
    assert answers.tolist() != tried(given, other)["test"].tolist()


def test_filters_from_a_file_are_those_that_were_fitted(levels, tmp_path) -> None:
    file = tmp_path / "levels.safetensors"
    arrays, facts = levels_as_arrays(levels)
    write_arrays(file, arrays, {"levels": facts})
    again = levels_from_arrays(
        read_arrays(file), read_about(file)["levels"], FILTER.sigma, torch.device("cpu")
    )
    for setting in (replace(BASE, lr=1.0), replace(BASE, lr=1.0, depth=1)):
        before, after = tried(setting, levels), tried(setting, again)
        assert before["test"].tolist() == after["test"].tolist()


# ---- What it came to


def made(val: list[int], test: list[int]) -> Tried:
    return {"val": np.array(val), "test": np.array(test)}


LABELS = {"val": np.array([0, 0, 1, 1]), "test": np.array([0, 0, 0, 1, 1, 1])}
OTHER = replace(BASE, lr=0.5)
RESULTS = {
    BASE: {
        0: made([0, 1, 1, 1], [0, 0, 1, 1, 0, 0]),
        1: made([0, 0, 1, 1], [0, 0, 0, 1, 1, 0]),
    },
    OTHER: {
        0: made([1, 1, 1, 1], [1, 0, 1, 1, 1, 0]),
        1: made([1, 1, 1, 1], [0, 0, 0, 1, 0, 0]),
    },
}


def answers_of(results=RESULTS, labels=LABELS, counts=(150, 5)) -> Answers:
    return Answers(results, labels, basis("diagnosis", counts=counts))


def overall(answers: Answers, metric: str = "overall") -> Estimate:
    return answers.difference(BASE, OTHER, "test", metric)


def test_differences_by_hand() -> None:
    """On validation 3 of 4 and 4 of 4 are right, on test 3 and 5 of 6 against 3, 4."""
    answers = answers_of()
    assert experiment.validation_accuracy(RESULTS[BASE], LABELS["val"]) == 7 / 8
    assert overall(answers).per_seed == pytest.approx([0, 1 / 6])
    assert overall(answers, "few").per_seed == pytest.approx([-1 / 3, 1 / 3])


def test_a_seed_whose_filters_diverged_is_wrong_everywhere() -> None:
    failed = experiment.undecided(SPLITS)
    labels = {split: SPLITS[split].labels.numpy() for split in experiment.DECIDED}
    assert experiment.validation_accuracy({0: failed}, labels["val"]) == 0
    results = {OTHER: {0: failed, 1: labels}, BASE: {0: labels, 1: labels}}
    answers = answers_of(results, labels, COUNTS)
    cells = experiment.factor_cells(answers, BASE, [("lr", OTHER)])
    gap = pick(cells, metric="overall", at="")
    assert (gap.method, gap.minus) == ("lr=0.5", "published")
    assert gap.label == "learning rate of the classifiers 0.5 instead of 0.05"
    assert gap.mean == pytest.approx(-0.5)
