"""What keeping the best epoch on the test set was worth."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.statistics.intervals import Estimate, over_seeds


def selection_worth(diagnostics: Mapping[str, Mapping[str, Any]]) -> Estimate:
    """Accuracy at the epochs that were kept minus that at the last epochs.

    Implements: not in the paper: the released code looks at the test accuracy of each
    classifier of the cascade and keeps its best epoch; without test labels, the last
    epoch is what one would have.

    Args:
        diagnostics: seed -> what the stage `dlsa` noted of its classifiers.

    Returns:
        Mean over seeds with the interval over seeds, in fractions of all test samples;
        never below zero.
    """
    return over_seeds(
        [_worth(one["classifiers"]["released_code"]) for one in diagnostics.values()]
    )


def _worth(classifiers: Sequence[Mapping[str, Any]]) -> float:
    samples = sum(one["samples"]["test"] for one in classifiers)
    gained = 0.0
    for one in classifiers:
        if one["looks"]:
            last = one["looks"][max(one["looks"], key=int)]
            gained += one["samples"]["test"] * (max(one["looks"].values()) - last)
    return gained / samples
