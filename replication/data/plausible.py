"""What cached features say of themselves: unwritten, unlike, of other labels."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

from replication.core.files import BadInput
from replication.samples.numbering import swapped_classes

_ALIKE = 1.5  # ratio of two splits' scales that draws of one network's features stay in
_APART = 0.5  # of train's spread; splits of one network lie 0.02 to 0.25 apart
_ENOUGH = 100  # samples of which a scale, or a share beside chance, says something
_NOTHING = 1e-6  # of the largest number: what a sample has more of
_REPEATED, _FEW = 0.1, 10  # share, and number, of equal rows that are samples still
_BY_CHANCE = 1e-9  # so rarely do labels end in as many zeros
_TRIED, _AT_ONCE = 20_000, 512


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
            f"them, in {_rows(nothing)}, beside {size.max():.3g} in row "
            f"{size.argmax()}: leave out what was not written"
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
    reasons why a number is partial, labels that were perhaps never written, splits on
    unlike scales or apart, and labels that the features know nothing of.
    """
    notes, doubts = [], []
    for split, (features, labels) in splits.items():
        if len(zero := np.flatnonzero(~features.any(1))):
            notes.append(f"row {zero[0]} of {split} is all zero")
        if same := int((features.min(0) == features.max(0)).sum()):
            columns = features.shape[1]
            notes.append(f"{same:,} of {columns:,} columns are one number in {split}")
        written = len(np.trim_zeros(labels, "b"))
        share = (labels[:written] == 0).mean() if written else 0
        if share and share ** (len(labels) - written) < _BY_CHANCE:
            doubts.append(
                f"labels of {split} are 0 from row {written} to the end, and some of "
                "them before: the rest may never have been written"
            )
    scale = {
        split: float(np.linalg.norm(features) / features.size**0.5)
        for split, (features, _) in splits.items()
        if len(features) >= _ENOUGH
    }
    if max(scale.values(), default=0) > _ALIKE * min(scale.values(), default=0):
        words = ", ".join(f"{split} {value:.3g}" for split, value in scale.items())
        doubts.append(f"features are on unlike scales (root mean square {words})")
    train, means = splits["train"][0], _class_means(*splits["train"], num_classes)
    spread = np.linalg.norm(_some(train).std(0))
    for split in (split for split in scale if split != "train"):
        features, labels = splits[split]
        expected = np.bincount(labels, minlength=num_classes) @ means / len(labels)
        apart = np.linalg.norm(features.mean(0) - expected) / spread
        if apart > _APART:
            doubts.append(
                f"{split} samples lie {apart:.1f} times train's spread beside their "
                "classes' means: they may be centred or cut off otherwise"
            )
        if words := _misnumbered(features, labels, means):
            doubts.append(
                f"{split} samples {words}: their labels may be numbered in another "
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


def _misnumbered(
    features: np.ndarray, labels: np.ndarray, means: np.ndarray
) -> str | None:
    """In words, to which classes' means samples lie nearest, if not to their own's."""
    features, labels = _some(features), _some(labels)
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
    if right <= chance + 2 * error:
        return (
            "lie nearest to their own class's mean no more often than by chance "
            f"({100 * right:.1f} % and {100 * chance:.1f} %)"
        )
    swapped = swapped_classes(nearest, labels)
    if len(swapped):
        of = f"of {len(swapped):,} classes, the first class {swapped[0]},"
        return f"{of} lie nearest to one another's mean"
    return None


def _some(rows: np.ndarray) -> np.ndarray:
    """Rows evenly spread, as many as are looked at."""
    return rows[:: -(-len(rows) // _TRIED)]
