"""Equal samples: between splits, under two labels, within a split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from replication.data.listing import Listing
from replication.data.repeats import Repeats, find_repeats, one_hash_up_to_rounding


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
        "1 of 3 different samples have more than one label, the first as train/0 and "
        "train/1.",
        "1 of 5 samples repeat an earlier one of their class and split, the first "
        "train/3.",
    )
    assert got.doubts == ()


# --- rows that differ by rounding


def rounded_to(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """To so many bits of the mantissa: half precision keeps 11, bfloat16 8."""

    def change(rows: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(rows)
        return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent)

    return change


@pytest.mark.parametrize(
    "change",
    [rounded_to(11), rounded_to(8), lambda rows: rows + 1e-6],
    ids=["half", "bfloat16", "1e-6"],
)
@pytest.mark.parametrize("columns", [4, 6, 200])
def test_rows_that_differ_by_rounding_have_one_hash(columns, change) -> None:
    """Also of a row that is there twice; what lies a twentieth apart stays two."""
    generator = np.random.default_rng(0)
    train = generator.standard_normal((300, columns)).astype(np.float32)
    test = generator.standard_normal((100, columns)).astype(np.float32)
    test[:40] = change(train[20:60])
    train[299] = train[20]
    apart = generator.standard_normal((20, columns))
    apart *= 0.05 * columns**0.5 / np.linalg.norm(apart, axis=1, keepdims=True)
    test[40:60] = train[60:80] + apart
    hashes = np.array([str(row.tobytes()) for row in (*train, *test)])
    alike = one_hash_up_to_rounding([train, test], hashes)
    assert alike[300:340].tolist() == alike[20:60].tolist()
    assert alike[299] == alike[300] == alike[20]
    assert len({*alike}) == 300 - 1 + 60


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_few_columns_lie_close_by_chance(columns) -> None:
    rows = np.random.default_rng(0).standard_normal((500, columns))
    hashes = np.arange(500).astype(str)
    assert (one_hash_up_to_rounding([rows], hashes) == hashes).all()
