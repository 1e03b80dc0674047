"""Equal samples: between splits, under two labels, within a split."""

from pathlib import Path

import numpy as np

from replication.data.listing import Listing
from replication.data.repeats import Repeats, find_repeats


def repeats(*samples: tuple[str, int, str]) -> Repeats:
    """Of samples as (split, label, content)."""
    splits, labels, contents = zip(*samples, strict=True)
    paths = [f"{split}/{row}" for row, split in enumerate(splits)]
    columns = map(np.array, (paths, labels, splits))
    return find_repeats(Listing(Path("."), *columns, ("a", "b")), np.array(contents))


def test_different_samples_give_nothing_to_say() -> None:
    got = repeats(("train", 0, "a"), ("val", 0, "b"), ("test", 0, "c"))
    assert got.notes == got.doubts == ()


def test_test_samples_that_are_trained_on_make_numbers_partial() -> None:
    """Validation samples that are trained on are said, and harm no test number."""
    train = ("train", 0, "a"), ("train", 1, "b")
    val = ("val", 0, "a"), ("val", 0, "d")
    got = repeats(*train, *val, ("test", 0, "c"), ("test", 0, "a"), ("test", 1, "b"))
    assert got.notes == (
        "2 of 3 test samples are training samples too, the first test/5 (train/0).",
        "1 of 3 test samples are validation samples too, the first test/5 (val/2).",
        "1 of 2 validation samples are training samples too, the first val/2 "
        "(train/0).",
    )
    assert got.doubts == (
        "2 of 3 test samples are training samples too",
        "1 of 3 test samples are validation samples too",
    )


def test_one_sample_under_two_labels_and_one_twice_are_counted() -> None:
    mixed = ("train", 0, "a"), ("train", 1, "a")
    got = repeats(*mixed, ("train", 0, "b"), ("train", 0, "b"), ("test", 0, "c"))
    assert got.notes == (
        "1 samples are there with more than one label, the first as train/0 and "
        "train/1.",
        "1 of 5 samples repeat an earlier one of their class and split, the first "
        "train/3.",
    )
    assert got.doubts == ()
