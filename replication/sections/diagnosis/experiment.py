"""What DLSA would need: where it loses against the head that it starts from, and why.

Whether other settings win back what is lost (`search`, on validation samples alone),
and against a plain classifier that was tuned as much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from replication.cascade import Classifiers, Level
from replication.classifiers.heads import Term, predict
from replication.core.settings import ClassifierSettings
from replication.protocols import VALIDATED, Given
from replication.samples.features import Samples
from replication.samples.metrics import ACCURACIES, accuracy_weights
from replication.sections.basis import Basis
from replication.sections.diagnosis.search import Chosen, Setting, change_in_words
from replication.statistics.intervals import Estimate, estimate
from replication.statistics.results import Cell, estimated
from replication.statistics.verdicts import judged

DECIDED = ("val", "test")
METHODS = {
    "head": "Head",
    "refitted": "Head, refitted",
    "plain": "Plain classifier, tuned",
    "published": "DLSA, untuned",
    "chosen": "DLSA, tuned",
}
AUGMENTED = "augmented training features"
# First minus second.
PAIRS = (
    ("chosen", "head"),
    ("published", "head"),
    ("chosen", "plain"),
    ("chosen", "published"),
    ("chosen", "refitted"),
    ("plain", "head"),
    ("refitted", "head"),
)
# Pairs whose difference is cut up by who decides.
CUT_UP = (("published", "head"), ("chosen", "plain"))


@dataclass(frozen=True)
class Tried:
    """One setting under one seed.

    Fields: `predictions`: val and test -> (N,); `part`: (N_test,) which classifier
    decided, from 0, the last the plain one; `notes` of each classifier, none where its
    filters could not be fitted.
    """

    predictions: Mapping[str, np.ndarray]
    part: np.ndarray
    notes: Sequence[Mapping[str, Any]]

    @property
    def refused(self) -> bool:
        """Whether its filters could not be fitted, so that it decides no sample."""
        return not self.notes


Results = Mapping[Setting, Mapping[int, Tried]]


# ---- One setting, one seed --------------------------------------------------------


def decide_as(
    setting: Setting,
    levels: Sequence[Level],
    splits: Mapping[str, Samples],
    head: Term,
    classifier: ClassifierSettings,
    seed: int,
) -> Tried:
    """Fit the classifiers as a setting says; decide validation and test samples.

    Protocol `validated` with single parts exchanged; with the published ones it is
    `Classifiers.decide_as_dlsa`, number by number.

    Args:
        levels: at least `setting.depth` of them.
        head: that every first term starts from.
        classifier: gives what the search does not change.
        seed: of the second terms and the order of samples.
    """
    settings = classifier.model_copy(update={"lr": setting.lr})
    classifiers = Classifiers(head, splits, settings, VALIDATED)
    given = Given(
        setting.z,
        setting.frequencies,
        setting.own_prior,
        setting.drawn,
        setting.trained,
    )
    predicted = {split: torch.full_like(splits[split].labels, -1) for split in DECIDED}
    decided_by = torch.full_like(splits["test"].labels, -1)
    notes = []
    parts = classifiers.parts(levels[: setting.depth], seed)
    for number, part in enumerate(parts):
        fitted = classifiers.fit(part, given)
        for split in DECIDED:
            inputs = part.inputs_of(split, given)
            answers = predict(fitted.terms, inputs, part.everyone(split))
            predicted[split][part.rows[split]] = answers
        decided_by[part.rows["test"]] = number
        samples = {split: len(rows) for split, rows in part.rows.items()}
        notes.append({"samples": samples, "epoch": fitted.epoch})
    arrays = {
        name: values.cpu().numpy().astype(np.int32)
        for name, values in {**predicted, "part": decided_by}.items()
    }
    return Tried(arrays, arrays.pop("part"), notes)


def undecided(splits: Mapping[str, Samples]) -> Tried:
    """A setting whose filters could not be fitted: every sample is wrong.

    So no search will choose it.
    """
    nothing = {
        split: np.full(len(splits[split].labels), -1, dtype=np.int32)
        for split in DECIDED
    }
    return Tried(nothing, np.full(len(nothing["test"]), -1, dtype=np.int32), [])


def validation_accuracy(seeds: Mapping[int, Tried], labels: np.ndarray) -> float:
    """Overall on the validation samples (N_val,), mean over seeds; a fraction."""
    right = [tried.predictions["val"] == labels for tried in seeds.values()]
    return float(np.mean(right))


# ---- What it came to --------------------------------------------------------------


class Answers:
    """Right and wrong of every setting, and Cells of them and of their differences.

    Args:
        results: setting -> seed -> what was tried; the same seeds under each.
        labels: val and test -> (N,).
    """

    def __init__(
        self,
        results: Results,
        labels: Mapping[str, np.ndarray],
        basis: Basis,
    ) -> None:
        self._results, self._labels = results, labels
        self._weights = {
            split: accuracy_weights(labels[split], basis.train_counts)
            for split in DECIDED
        }
        self.cell = partial(basis.cell, protocol=VALIDATED.key)

    def accuracy(self, setting: Setting, split: str, metric: str) -> Estimate:
        """An accuracy with its interval over seeds and samples."""
        accuracy = self._estimate(self._right(setting, split), split, metric)
        return accuracy.within(0.0, 1.0)

    def difference(
        self, first: Setting, second: Setting, split: str, metric: str
    ) -> Estimate:
        """Paired difference of two settings."""
        gap = self._right(first, split) - self._right(second, split)
        return self._estimate(gap, split, metric)

    def diverged(self, method: str, label: str, setting: Setting) -> list[Cell]:
        """Share of the seeds under which its filters could not be fitted, if any."""
        share = float(np.mean([tried.refused for tried in self._seeds(setting)]))
        row = {"method": method, "label": label, "metric": "diverged"}
        return [self.cell(**row, mean=share)] if share else []

    def contributions(
        self, setting: Setting, other: Setting
    ) -> list[tuple[float, float, float, Estimate]]:
        """Where a setting wins or loses against another, by who decides.

        Returns:
            For each classifier of the first setting: the share of the test samples that
            it decides; the share of those that each of the two gets right; and how much
            of the difference in test Overall arises there. These add up to the
            difference, but for seeds whose filters could not be fitted: there no
            classifier decides.
        """
        first, second = (self._right(some, "test") for some in (setting, other))
        seeds = self._seeds(setting)
        decided_by = np.stack([tried.part for tried in seeds])
        cut_up = []
        for number in range(max(len(tried.notes) for tried in seeds)):
            here = decided_by == number
            gap = self._estimate((first - second) * here, "test", "overall")
            right = [
                float(some[here].mean()) if here.any() else float("nan")
                for some in (first, second)
            ]
            cut_up.append((float(here.mean()), *right, gap))
        return cut_up

    def _seeds(self, setting: Setting) -> list[Tried]:
        return list(self._results[setting].values())

    def _right(self, setting: Setting, split: str) -> np.ndarray:
        """(S, N) 1 where right, as whole numbers."""
        predicted = [tried.predictions[split] for tried in self._seeds(setting)]
        return (np.stack(predicted) == self._labels[split]).astype(np.int8)

    def _estimate(self, scores: np.ndarray, split: str, metric: str) -> Estimate:
        weights = self._weights[split][metric]
        return estimate(scores, weights, self._labels[split])


def _judged(gap: Estimate) -> dict[str, Any]:
    """A difference as fields of a Cell, with its verdict."""
    return estimated(gap) | judged([gap])


def method_cells(answers: Answers, named: Mapping[str, Setting]) -> list[Cell]:
    """The accuracies of what a reader compares, and the paired differences of PAIRS.

    On validation samples Overall alone. `diverged`: the share of the seeds whose
    filters could not be fitted, under which every sample counts as wrong.
    """
    cells = []
    for name, setting in named.items():
        new = partial(answers.cell, method=name, label=METHODS[name])
        value = answers.accuracy(setting, "val", "overall")
        cells.append(new(metric="overall", at="validation", **estimated(value)))
        for metric in ACCURACIES:
            value = answers.accuracy(setting, "test", metric)
            cells.append(new(metric=metric, **estimated(value)))
        cells += answers.diverged(name, METHODS[name], setting)
    for first, second in PAIRS:
        new = partial(answers.cell, method=first, label=METHODS[first], minus=second)
        for metric in ACCURACIES:
            gap = answers.difference(named[first], named[second], "test", metric)
            cells.append(new(metric=metric, **_judged(gap)))
    return cells


def part_cells(answers: Answers, named: Mapping[str, Setting]) -> list[Cell]:
    """Where the differences of CUT_UP arise: a classifier after another.

    `decided`: the share of the test samples that a classifier of the first decides;
    `right`: the share of those that each of the two gets right; and its part of the
    difference in Overall.
    """
    cells = []
    for first, second in CUT_UP:
        cut_up = answers.contributions(named[first], named[second])
        for number, (share, ours, theirs, gap) in enumerate(cut_up, start=1):
            place = f"depth {number}" if number < len(cut_up) else "rest"
            at = f"{first}, {place}"
            one, other = (
                partial(answers.cell, method=name, label=METHODS[name], at=at)
                for name in (first, second)
            )
            cells += [
                one(metric="decided", mean=share),
                one(metric="right", mean=ours),
                other(metric="right", mean=theirs),
                one(metric="overall", minus=second, **_judged(gap)),
            ]
    return cells


def factor_cells(
    answers: Answers, base: Setting, singles: Sequence[tuple[str, Setting]]
) -> list[Cell]:
    """What each changed factor is worth: Overall with it, minus the published."""
    cells = []
    for factor, setting in singles:
        value = getattr(setting, factor)
        about = f"{factor}={value}", change_in_words(factor, value, base)
        new = partial(answers.cell, method=about[0], label=about[1])
        for split, at in (("val", "validation"), ("test", "")):
            gap = _judged(answers.difference(setting, base, split, "overall"))
            cells.append(new(metric="overall", minus="published", at=at, **gap))
        cells += answers.diverged(*about, setting)
    return cells


def feature_cells(answers: Answers, chosen: Chosen) -> list[Cell]:
    """Fitted to clean features minus to augmented ones, where those in use are."""
    return [
        answers.cell(
            method=name,
            label=METHODS[name],
            metric=metric,
            minus=AUGMENTED,
            at=AUGMENTED,
            **_judged(answers.difference(*pair, "test", metric)),
        )
        for name, pair in chosen.by_features().items()
        for metric in ACCURACIES
    ]


def all_cells(chosen: Chosen, answers: Answers, looked_at: Answers) -> list[Cell]:
    """Every number; `looked_at`: under those seeds alone that the search looks at."""
    cells = method_cells(answers, chosen.named)
    cells += part_cells(answers, chosen.named)
    cells += feature_cells(answers, chosen)
    return cells + factor_cells(looked_at, chosen.named["published"], chosen.singles)


def details_of(chosen: Chosen) -> dict[str, Any]:
    """What was tried, changed and chosen, for the section's own page."""
    base = chosen.named["published"]
    return {
        "tried": {"cascades": chosen.cascades, "plain": chosen.plain},
        "settings": {name: asdict(setting) for name, setting in chosen.named.items()},
        "steps": list(chosen.steps),
        "factors": [
            {
                "factor": factor,
                "value": getattr(setting, factor),
                "base": getattr(base, factor),
            }
            for factor, setting in chosen.singles
        ],
    }
