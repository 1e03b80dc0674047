"""What keeping the best epoch on the test set was worth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from replication.statistics.intervals import over_seeds
from replication.statistics.results import Cell, estimated

CHOICE = "choice_on_test_set"


def selection_cell(full: Cell, diagnostics: Mapping[str, Mapping[str, Any]]) -> Cell:
    """Accuracy at the epochs that were kept minus that at the last, of metric `CHOICE`.

    The released code looks at the test accuracy of each classifier of the cascade and
    keeps its best epoch; without test labels, the last epoch is what one would have.

    Args:
        full: Overall of the full model under the released code's protocol.
        diagnostics: seed -> what the stage `dlsa` noted of its classifiers.

    Returns:
        Mean over seeds with the interval over seeds, in fractions of all test samples;
        never below zero.
    """
    seeds = diagnostics.values()
    worth = [_worth(seed["classifiers"]["as_released"]) for seed in seeds]
    return replace(
        full,
        minus="last_epoch",
        label="Full model at its last epochs",
        metric=CHOICE,
        printed=None,
        verdict=None,
        **estimated(over_seeds(worth)),
    )


def _worth(classifiers: Sequence[Mapping[str, Any]]) -> float:
    samples = sum(classifier["samples"]["test"] for classifier in classifiers)
    gained = 0.0
    for classifier in classifiers:
        if looks := classifier["looks"]:
            last = looks[max(looks, key=int)]
            gained += classifier["samples"]["test"] * (max(looks.values()) - last)
    return gained / samples
