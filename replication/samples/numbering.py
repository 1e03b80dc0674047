"""Whether a classifier numbers classes as the labels do, told by its answers alone."""

import numpy as np

_CLEARLY = 2  # standard errors by which an answer is commoner than the right one


def swapped_classes(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Classes that take each other's places in the commonest answers to them.

    A poor classifier answers a rare class with a common one, and the common one with
    itself; where wrong answers that are clearly commonest go round in a circle, rows
    have changed places.

    `answers`, `labels`: (N,) of the samples that the classifier was trained on, or of
    others like them. Returns ascending; none where no circle is longer than one class.
    """
    pairs, times = np.unique(np.stack([labels, answers]), axis=1, return_counts=True)
    commonest = np.arange(pairs.max() + 1)
    right = np.bincount(labels[answers == labels], minlength=len(commonest))
    for place in np.argsort(times, kind="stable"):
        (label, answer), wrong = pairs[:, place], times[place]
        if wrong - right[label] > _CLEARLY * (wrong + right[label]) ** 0.5:
            commonest[label] = answer
    on_circle, before = np.unique(commonest), np.arange(0)
    while len(on_circle) != len(before):
        before, on_circle = on_circle, np.unique(commonest[on_circle])
    return on_circle[commonest[on_circle] != on_circle]
