"""Table 1's four accuracies, and the per-class shares that they are made of.

An accuracy here is a weighted sum over samples of "was right", so that one weight
vector a metric is all that intervals need.
"""

from collections.abc import Mapping

import numpy as np

from replication.samples.shots import SHOT_GROUPS, shot_groups

ACCURACIES = ("overall", *SHOT_GROUPS)


def accuracy_weights(
    labels: np.ndarray, train_counts: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Weight of each test sample in each accuracy.

    Implements: Sect. 6, 7: Overall over samples; Many, Medium, Few as the mean over the
    group's classes of the class's accuracy, as the field's code computes them.

    Args:
        labels: (N,) of the test samples.
        train_counts: (C,) training images of each class.

    Returns:
        Metric -> (N,) weights that sum to 1; all NaN where a group has no test sample.
    """
    weights = {"overall": np.full(len(labels), 1 / len(labels))}
    per_class = np.bincount(labels, minlength=len(train_counts))
    for name, group in shot_groups(train_counts).items():
        tested = group & (per_class > 0)
        if not tested.any():
            weights[name] = np.full(len(labels), np.nan)
            continue
        share = np.where(tested, 1 / np.maximum(per_class, 1), 0) / tested.sum()
        weights[name] = share[labels]
    return weights


def accuracies(
    predictions: np.ndarray, labels: np.ndarray, train_counts: np.ndarray
) -> dict[str, float]:
    """Overall, Many, Medium, Few; fractions, NaN for an empty group.

    Args:
        predictions: (N,) class of each test sample.
    """
    right = predictions == labels
    weights = accuracy_weights(labels, train_counts)
    return {name: float(right @ weight) for name, weight in weights.items()}
