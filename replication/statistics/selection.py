"""What keeping the best epoch on the test set was worth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from replication.statistics.intervals import Estimate, over_seeds
from replication.statistics.results import Cell, estimated

CHOICE = "choice_on_test_set"


def selection_cell(full: Cell, diagnostics: Mapping[str, Mapping[str, Any]]) -> Cell:
    """What the choice was worth to the full model, as a Cell of metric `CHOICE`.

    Args:
        full: its Overall under the released code's protocol.
        diagnostics: see `selection_worth`.
    """
    worth = estimated(selection_worth(diagnostics))
    words = {"minus": "last_epoch", "label": "Full model at its last epochs"}
    about = {"metric": CHOICE, "printed": None, "verdict": None}
    return replace(full, **words, **about, **worth)


def selection_worth(diagnostics: Mapping[str, Mapping[str, Any]]) -> Estimate:
    """Accuracy at the epochs that were kept minus that at the last epochs.

    The released code looks at the test accuracy of each classifier of the cascade and
    keeps its best epoch; without test labels, the last epoch is what one would have.

    Args:
        diagnostics: seed -> what the stage `dlsa` noted of its classifiers.

    Returns:
        Mean over seeds with the interval over seeds, in fractions of all test samples;
        never below zero.
    """
    seeds = diagnostics.values()
    return over_seeds([_worth(seed["classifiers"]["released_code"]) for seed in seeds])


def _worth(classifiers: Sequence[Mapping[str, Any]]) -> float:
    samples = sum(classifier["samples"]["test"] for classifier in classifiers)
    gained = 0.0
    for classifier in classifiers:
        if looks := classifier["looks"]:
            last = looks[max(looks, key=int)]
            gained += classifier["samples"]["test"] * (max(looks.values()) - last)
    return gained / samples
