"""Cached features that say of themselves that something is wrong, each by its value."""

from collections.abc import Callable

import numpy as np
import pytest

from replication.data.plausible import doubts_of, refuse_unwritten

CLASSES, COLUMNS, LOOKS = 5, 8, "train_augmented"
Splits = dict[str, tuple[np.ndarray, np.ndarray]]
EMPTY = "a sample in every row, got only zeros, or next to them, in"
AGAIN = "samples that differ, got one again and again, in"
NEAR = "samples lie nearest to their own class's mean no more often than by chance"


def made() -> Splits:
    """Five classes five apart and unit noise, so that the nearest mean is the own."""
    generator = np.random.default_rng(0)
    centres = 5 * np.eye(CLASSES, COLUMNS)
    splits = {}
    for split, each in (("train", 40), ("test", 30), ("val", 24), (LOOKS, 40)):
        labels = generator.permutation(np.repeat(np.arange(CLASSES), each))
        noise = generator.standard_normal((len(labels), COLUMNS))
        splits[split] = ((centres[labels] + noise).astype(np.float32), labels)
    return splits


def change(split: str, of: Callable[[np.ndarray, np.ndarray], tuple]) -> Splits:
    splits = made()
    return splits | {split: of(*splits[split])}


def put(place: object, value: object) -> Callable[[np.ndarray, np.ndarray], tuple]:
    def spoil(features: np.ndarray, labels: np.ndarray) -> tuple:
        features[place] = value
        return features, labels

    return spoil


def test_what_is_whole_is_taken_without_a_word() -> None:
    splits = made()
    assert doubts_of(splits, CLASSES) == ([], [])
    for features, _ in splits.values():
        refuse_unwritten("x", features)


def test_oddities_are_notes() -> None:
    columns = np.s_[:, [2, 5]], (0, 0.25)
    for split, spoil, note in (
        ("train", put(*columns), "2 of 8 columns are one number in train"),
        ("val", put(3, 0), "row 3 of val is all zero"),
    ):
        assert doubts_of(change(split, spoil), CLASSES) == ([note], [])


@pytest.mark.parametrize("split", ["test", "val", LOOKS])
@pytest.mark.parametrize(
    "of",
    [
        lambda features, labels: (features, (labels + 1) % CLASSES),
        lambda features, labels: (features[::-1], labels),
    ],
    ids=["numbered otherwise", "of other rows"],
)
def test_labels_that_the_features_know_nothing_of_are_doubted(split, of) -> None:
    notes, (doubt,) = doubts_of(change(split, of), CLASSES)
    assert notes == [] and doubt.startswith(f"{split} {NEAR} (")


@pytest.mark.parametrize("split", ["test", "val", LOOKS])
def test_two_classes_that_have_changed_places_are_doubted(split) -> None:
    """Three classes of five are right: no sign of it is in the mean."""

    def swapped(features: np.ndarray, labels: np.ndarray) -> tuple:
        return features, np.array([0, 3, 2, 1, 4])[labels]

    notes, (doubt,) = doubts_of(change(split, swapped), CLASSES)
    assert notes == [] and doubt.startswith(
        f"{split} samples of 2 classes, the first class 1, lie nearest to one another's"
    )


@pytest.mark.parametrize("split", ["train", "test", LOOKS])
def test_labels_that_were_not_written_to_their_end_are_doubted(split) -> None:
    """A fifth of those before are 0 too: 20 in a row are no chance; sorted ones are."""
    row = len(made()[split][1]) - 20
    spoilt = change(split, lambda features, labels: (features, put_zeros(labels)))
    _, doubts = doubts_of(spoilt, CLASSES)
    assert doubts[0] == (
        f"labels of {split} are 0 from row {row} to the end, and some of them before: "
        "the rest may never have been written"
    )
    order = np.argsort(-made()[split][1])
    ordered = change(split, lambda features, labels: (features[order], labels[order]))
    assert doubts_of(ordered, CLASSES) == ([], [])


def put_zeros(labels: np.ndarray) -> np.ndarray:
    return np.append(labels[:-21], [1] + [0] * 20)


def test_samples_beside_their_classes_are_doubted() -> None:
    """Centres spread by sqrt(20), noise by sqrt(8): 1.2 a column is 3.4 of 5.3."""
    splits = change("test", lambda features, labels: (features + 1.2, labels))
    notes, (doubt,) = doubts_of(splits, CLASSES)
    assert notes == []
    assert doubt.startswith("test samples lie 0.6 times train's spread beside their")
    splits = change("test", lambda features, labels: (features + 0.6, labels))
    assert doubts_of(splits, CLASSES) == ([], [])


def test_few_classes_right_are_still_more_than_chance() -> None:
    """Half of the labels drawn: 60 % lie nearest to their own, 20 % would by chance."""

    def half(features: np.ndarray, labels: np.ndarray) -> tuple:
        drawn = np.random.default_rng(1).permutation(labels)
        return features, np.where(np.arange(len(labels)) % 2, labels, drawn)

    assert doubts_of(change("test", half), CLASSES) == ([], [])


def test_splits_on_unlike_scales_are_doubted() -> None:
    """Normalised rows have length 1: a root mean square of 1 / sqrt(8) = 0.354."""

    def normalised(features: np.ndarray, labels: np.ndarray) -> tuple:
        return features / np.linalg.norm(features, axis=1, keepdims=True), labels

    notes, doubts = doubts_of(change("test", normalised), CLASSES)
    assert notes == [] and doubts[0].startswith(
        "features are on unlike scales (root mean square train 2."
    )
    assert ", test 0.354, val 2." in doubts[0]


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (np.s_[148:], 0, f"{EMPTY} 2 of 150 rows, first row 148"),
        (np.s_[:], 0, f"{EMPTY} 150 of 150 rows, first row 0"),
        (np.s_[100:], 1e-30, f"{EMPTY} 50 of 150 rows, first row 100"),
        (
            np.s_[:99],
            1e30,
            f"{EMPTY} 51 of 150 rows, first row 99, beside 1e+30 in row 0: ",
        ),
        (np.s_[:], 3, f"{AGAIN} 150 of 150 rows, first row 0"),
        (np.s_[:30], 0.5, f"{AGAIN} 30 of 150 rows, first row 0"),
    ],
)
def test_rows_that_no_sample_can_be_meant_by_are_refused(
    refused, place, value, problem
) -> None:
    """Not written, or memory as it was found; or a batch's last row up to the end."""
    features, _ = change("test", put(place, value))["test"]
    (line,) = refused(lambda: refuse_unwritten("x.npz: features", features))
    assert line.startswith(f"x.npz: features: expected {problem}")


def test_few_samples_may_be_there_again() -> None:
    features, _ = change("test", put(np.s_[:20], 0.5))["test"]
    refuse_unwritten("x", features)
    refuse_unwritten("x", features[:1])
