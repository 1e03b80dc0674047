"""Long-tailed class counts: shot groups, thinning, held-out images."""

from collections.abc import Mapping

import numpy as np

MANY_ABOVE = 100
FEW_BELOW = 20
SHOT_GROUPS = ("many", "medium", "few")


def class_counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Samples of each class, (C,), from labels (N,) in [0, C)."""
    return np.bincount(labels, minlength=num_classes)


def shot_groups(counts: np.ndarray) -> Mapping[str, np.ndarray]:
    """Group name -> (C,) bool, from the training images of each class.

    Implements: Sect. 6, 7: Many (> 100), Medium (20..100), Few (< 20).
    """
    many, few = counts > MANY_ABOVE, counts < FEW_BELOW
    return {"many": many, "medium": ~many & ~few, "few": few}


def exponential_counts(
    largest: int, imbalance_factor: float, num_classes: int
) -> np.ndarray:
    """Class counts that fall exponentially with the class index.

    The field's CIFAR-LT profile, n_i = int(n_max * IF^(-i / (C - 1))), at least 1,
    where n_max is the largest class and IF = n_max / n_min >= 1.

    Returns (C,) int64.
    """
    exponent = -np.arange(num_classes) / max(num_classes - 1, 1)
    return np.maximum((largest * imbalance_factor**exponent).astype(np.int64), 1)


def thin(
    labels: np.ndarray,
    counts: np.ndarray,
    validation_per_class: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a long-tailed training set, and held-out images from what it leaves over.

    CIFAR-LT has no validation split; taking it from what the long tail leaves out costs
    the training set nothing.

    Args:
        labels: (N,) labels of all images at hand.
        counts: (C,) images of each class to train on; where a class has fewer, all.
        validation_per_class: images of each class to hold out, fewer where fewer are
            left (the largest class usually has none left).
        generator: draws the order within each class.

    Returns indices of the training images, and of the held-out ones; both ascending and
    disjoint.
    """
    train, held_out = [], []
    for label, count in enumerate(counts):
        members = generator.permutation(np.flatnonzero(labels == label))
        train.append(members[:count])
        held_out.append(members[count : count + validation_per_class])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(held_out))
