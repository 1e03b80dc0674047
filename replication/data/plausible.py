"""What cached features say of themselves: unwritten, unlike, of other labels."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

from replication.core.files import BadInput

_ALIKE = 1.5  # ratio of two splits' scales that draws of one network's features stay in
_ENOUGH = 100  # samples of which a scale, or a share beside chance, says something
_NOTHING = 1e-6  # of the largest number: what a sample has more of
_REPEATED, _FEW = 0.1, 10  # share, and number, of equal rows that are samples still
_TRIED, _AT_ONCE = 5000, 512


def refuse_unwritten(where: str, features: np.ndarray) -> None:
    """Refuse features (N, D) that no samples can be meant by.

    Raises BadInput: two rows or more are nothing beside the others, as memory is that
    was never written; or one row is there again and again.
    """
    size = np.maximum(features.max(1), -features.min(1))
    nothing = size <= _NOTHING * size.max()
    if nothing.sum() > 1:
        raise BadInput(
            f"{where}: expected a sample in every row, got only zeros, or next to "
            f"them, in {_rows(nothing)}: they were not written; leave them out"
        )
    sums = features.sum(1)
    value, times = np.unique(sums, return_counts=True)
    again = sums == value[times.argmax()]
    many = again.sum() > min(_REPEATED * len(again) + _FEW, max(len(again) - 1, 1))
    if many and (features[again] == features[again.argmax()]).all():
        raise BadInput(
            f"{where}: expected samples that differ, got one again and again, in "
            f"{_rows(again)}"
        )


def _rows(of: np.ndarray) -> str:
    return f"{of.sum():,} of {len(of):,} rows, first row {of.argmax()}"


def doubts_of(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]], num_classes: int
) -> tuple[list[str], list[str]]:
    """What a reader is told of features and labels by split, and what of it is doubt.

    Returns a sentence's words each: a row of zeros, columns of one number; and, as
    reasons why a number is partial, splits on unlike scales, and labels that the
    features know nothing of.
    """
    notes, doubts = [], []
    for split, (features, _) in splits.items():
        if len(zero := np.flatnonzero(~features.any(1))):
            notes.append(f"row {zero[0]} of {split} is all zero")
        if same := int((features.min(0) == features.max(0)).sum()):
            columns = features.shape[1]
            notes.append(f"{same:,} of {columns:,} columns are one number in {split}")
    scale = {
        split: float(np.linalg.norm(features) / features.size**0.5)
        for split, (features, _) in splits.items()
        if len(features) >= _ENOUGH
    }
    if max(scale.values(), default=0) > _ALIKE * min(scale.values(), default=0):
        words = ", ".join(f"{split} {value:.3g}" for split, value in scale.items())
        doubts.append(f"features are on unlike scales (root mean square {words})")
    means = _class_means(*splits["train"], num_classes)
    for split in (split for split in ("test", "val") if split in splits):
        if words := _by_chance(*splits[split], means):
            doubts.append(
                f"{split} samples lie nearest to their own class's mean no more often "
                f"than by chance ({words}): their labels may be numbered in another "
                "order than train's, or be of other rows"
            )
    return notes, doubts


def _class_means(
    features: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """(C, D) means of each class's features."""
    counts = np.bincount(labels, minlength=num_classes)
    share = (1 / counts[labels]).astype(np.float32)
    of_class = (share, (labels, np.arange(len(labels))))
    return csr_array(of_class, shape=(num_classes, len(labels))) @ features


def _by_chance(
    features: np.ndarray, labels: np.ndarray, means: np.ndarray
) -> str | None:
    """In words, how often the nearest mean is right; None where that says something."""
    if len(labels) < _ENOUGH:
        return None
    tried = slice(None, None, -(-len(labels) // _TRIED))
    features, labels = features[tried], labels[tried]
    half = (means**2).sum(1) / 2
    nearest = np.concatenate(
        [
            (features[i : i + _AT_ONCE] @ means.T - half).argmax(1)
            for i in range(0, len(features), _AT_ONCE)
        ]
    )
    counts = [np.bincount(of, minlength=len(means)) for of in (nearest, labels)]
    chance = float(counts[0] @ counts[1]) / len(labels) ** 2
    right, error = (nearest == labels).mean(), (chance / len(labels)) ** 0.5
    if right > chance + 2 * error:
        return None
    return f"{100 * right:.1f} % and {100 * chance:.1f} %"
