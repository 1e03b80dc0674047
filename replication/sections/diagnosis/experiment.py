"""What DLSA would need: where it loses against the head that it starts from, and why.

Whether other settings win back what is lost (`search`, on validation samples alone),
and against a plain classifier that was tuned as much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
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


# What one setting predicts under one seed: val and test -> (N,).
Tried = Mapping[str, np.ndarray]
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
    for part in classifiers.parts(levels[: setting.depth], seed):
        fitted = classifiers.fit(part, given)
        for split in DECIDED:
            inputs = part.inputs_of(split, given)
            answers = predict(fitted.terms, inputs, part.everyone(split))
            predicted[split][part.rows[split]] = answers
    return {
        split: answers.cpu().numpy().astype(np.int32)
        for split, answers in predicted.items()
    }


def undecided(splits: Mapping[str, Samples]) -> Tried:
    """A setting whose filters could not be fitted: every sample is wrong.

    So no search will choose it.
    """
    return {
        split: np.full(len(splits[split].labels), -1, dtype=np.int32)
        for split in DECIDED
    }


def validation_accuracy(seeds: Mapping[int, Tried], labels: np.ndarray) -> float:
    """Overall on the validation samples (N_val,), mean over seeds; a fraction."""
    right = [tried["val"] == labels for tried in seeds.values()]
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

    def _right(self, setting: Setting, split: str) -> np.ndarray:
        """(S, N) 1 where right, as whole numbers."""
        predicted = [tried[split] for tried in self._results[setting].values()]
        return (np.stack(predicted) == self._labels[split]).astype(np.int8)

    def _estimate(self, scores: np.ndarray, split: str, metric: str) -> Estimate:
        weights = self._weights[split][metric]
        return estimate(scores, weights, self._labels[split])


def _judged(gap: Estimate) -> dict[str, Any]:
    """A difference as fields of a Cell, with its verdict."""
    return estimated(gap) | judged([gap])


def method_cells(answers: Answers, named: Mapping[str, Setting]) -> list[Cell]:
    """The accuracies of what a reader compares, and the paired differences of PAIRS.

    On validation samples Overall alone.
    """
    cells = []
    for name, setting in named.items():
        new = partial(answers.cell, method=name, label=METHODS[name])
        value = answers.accuracy(setting, "val", "overall")
        cells.append(new(metric="overall", at="validation", **estimated(value)))
        for metric in ACCURACIES:
            value = answers.accuracy(setting, "test", metric)
            cells.append(new(metric=metric, **estimated(value)))
    for first, second in PAIRS:
        new = partial(answers.cell, method=first, label=METHODS[first], minus=second)
        for metric in ACCURACIES:
            gap = answers.difference(named[first], named[second], "test", metric)
            cells.append(new(metric=metric, **_judged(gap)))
    return cells


def factor_cells(
    answers: Answers, base: Setting, singles: Sequence[tuple[str, Setting]]
) -> list[Cell]:
    """What each changed factor is worth: Overall with it, minus the published."""
    cells = []
    for factor, setting in singles:
        value = getattr(setting, factor)
        label = change_in_words(factor, value, base)
        new = partial(answers.cell, method=f"{factor}={value}", label=label)
        for split, at in (("val", "validation"), ("test", "")):
            gap = _judged(answers.difference(setting, base, split, "overall"))
            cells.append(new(metric="overall", minus="published", at=at, **gap))
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
    return [
        *method_cells(answers, chosen.named),
        *feature_cells(answers, chosen),
        *factor_cells(looked_at, chosen.named["published"], chosen.singles),
    ]


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
