"""Table 1's six metrics as weighted means over test samples of a score.

An accuracy is a weighted mean of "was right"; MCC and NMI are means of their samples'
parts (`association`). So one score and one weight a sample are all that intervals need.
"""

from collections.abc import Mapping

import numpy as np

from replication.samples.association import STEPS, mcc_scores, nmi_scores
from replication.samples.shots import SHOT_GROUPS, shot_groups

ACCURACIES = ("overall", *SHOT_GROUPS)
CLASS_MEAN = "class_mean"  # of every class's accuracy: what Overall is if balanced
_ASSOCIATION = {"mcc": mcc_scores, "nmi": nmi_scores}


def metric_weights(
    labels: np.ndarray, train_counts: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Weight of each test sample in each of the six metrics, as `accuracy_weights`.

    Where the test set is unbalanced, a seventh is the mean over classes.
    """
    weights = dict(accuracy_weights(labels, train_counts))
    weights |= dict.fromkeys(_ASSOCIATION, weights["overall"])
    _, number, size = np.unique(labels, return_inverse=True, return_counts=True)
    if size.min() < size.max():
        weights[CLASS_MEAN] = 1 / size[number] / len(size)
    return weights


def metric_scores(
    metric: str, predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Scores (S, N) from predictions (S, N): a seed's weighted mean is the metric."""
    if metric in _ASSOCIATION:
        return _ASSOCIATION[metric](predictions, labels, num_classes)
    return (predictions == labels).astype(np.int8)


def metric_step(metric: str) -> float:
    """By how much one answer more moves a sample's score, for `intervals.estimate`."""
    return STEPS.get(metric, 1.0)


def accuracy_weights(
    labels: np.ndarray, train_counts: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Weight of each test sample in each accuracy.

    Implements: Sect. 6, 7: Overall over samples; Many, Medium, Few as the mean over the
    group's classes of the class's accuracy, as the field's code computes them.

    `labels`: (N,) of the test samples. `train_counts`: (C,) training images of each
    class. Returns metric -> (N,) weights that sum to 1; all NaN where a group has no
    test sample.
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
    """Overall, Many, Medium, Few of predictions (N,): fractions, NaN for no sample."""
    right = predictions == labels
    weights = accuracy_weights(labels, train_counts)
    return {name: float(right @ weight) for name, weight in weights.items()}
