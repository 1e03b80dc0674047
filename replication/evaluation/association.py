"""MCC and NMI as per-sample scores."""

import numpy as np


def mcc_scores(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    return np.stack([_mcc(row, labels, num_classes) for row in predictions])


def nmi_scores(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    return np.stack([_nmi(row, labels, num_classes) for row in predictions])


def _mcc(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    of_label = np.bincount(labels, minlength=num_classes) / len(labels)
    of_prediction = np.bincount(predicted, minlength=num_classes) / len(labels)
    right = predicted == labels
    chance = of_label @ of_prediction
    spread = np.array([1 - of_label @ of_label, 1 - of_prediction @ of_prediction])
    if not spread.all():
        return np.zeros(len(labels))
    scale = spread.prod() ** 0.5
    mcc = (right.mean() - chance) / scale
    agree = right - right.mean()
    agree = agree - (of_prediction[labels] + of_label[predicted] - 2 * chance)
    narrower = (of_label[labels] - of_label @ of_label) / spread[0]
    narrower += (of_prediction[predicted] - of_prediction @ of_prediction) / spread[1]
    return mcc + agree / scale + mcc * narrower


def _nmi(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    pairs = labels.astype(np.int64) * num_classes + predicted
    joint = _surprise(pairs)
    apart = _surprise(labels) + _surprise(predicted)
    total = apart.mean()
    if total == 0:
        return np.ones(len(labels))
    share = joint.mean() / total
    return 2 - 2 * share - 2 * ((joint - joint.mean()) - share * (apart - total)) / total


def _surprise(values: np.ndarray) -> np.ndarray:
    _, number, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.log(len(values) / count)[number]
