"""Whether a classifier numbers classes as the labels do, told by its answers alone."""

import numpy as np

_FEWEST = 5  # samples of a class for its commonest answer to say something


def swapped_classes(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Classes that take each other's places in the commonest answers to them.

    A poor classifier answers a rare class with a common one, and the common one with
    itself; where commonest answers go round in a circle, rows have changed places.

    `answers`, `labels`: (N,) of the samples that the classifier was trained on. Returns
    ascending; none where no circle is longer than one class.
    """
    pairs, times = np.unique(np.stack([labels, answers]), axis=1, return_counts=True)
    samples = np.bincount(labels)
    commonest = np.arange(int(max(labels.max(), answers.max())) + 1)
    for place in np.argsort(times, kind="stable"):
        label, answer = pairs[:, place]
        if samples[label] >= _FEWEST:
            commonest[label] = answer
    on_circle, before = np.unique(commonest), np.arange(0)
    while len(on_circle) != len(before):
        before, on_circle = on_circle, np.unique(commonest[on_circle])
    return on_circle[commonest[on_circle] != on_circle]
