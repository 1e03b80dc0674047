"""Cached features: every format comes back, every fault is named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from replication.data.features import read_features
from tests.bad_input.cases import features as whole  # six samples of three classes
from tests.bad_input.cases import write_arrays_as

FORMATS = ("h5", "hdf5", "npz", "safetensors")
Arrays = Mapping[str, Any]


def rows(number: int = 6, dimension: int = 4, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((number, dimension)).astype(np.float32)


def make_folder(
    folder: Path, ending: str = "h5", **changes: Arrays | None
) -> dict[str, dict[str, np.ndarray]]:
    """Write train, test and val, with changes by split; None leaves the split out."""
    folder.mkdir(exist_ok=True, parents=True)
    splits = {split: whole(i) for i, split in enumerate(("train", "test", "val"))}
    for split, change in changes.items():
        if change is None:
            del splits[split]
        else:
            splits[split] = splits[split] | dict(change)
    for split, arrays in splits.items():
        write_arrays_as(folder / f"feature_{split}.{ending}", arrays)
    return splits


def assert_split(read: tuple[np.ndarray, np.ndarray], written: Arrays) -> None:
    features, labels = read
    assert features.dtype == np.float32 and features.flags.c_contiguous
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(features, written["features"])
    np.testing.assert_array_equal(labels, written["labels"])


# --- what comes back


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 2], [0, 1]])
def test_looks_that_are_not_each_class_as_often_are_refused(
    tmp_path: Path, refused, labels
) -> None:
    make_folder(tmp_path, "npz")
    path = tmp_path / "feature_train_augmented.npz"
    looks = rows(len(labels))
    write_arrays_as(path, {"features": looks, "labels": np.array(labels)})
    assert refused(lambda: read_features(tmp_path, 3, val_is_test=False)) == [
        f"{path}: expected the 6 training samples, all as often, got {len(labels)} "
        "samples of other class counts"
    ]


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_comes_back(tmp_path: Path, ending) -> None:
    written = make_folder(tmp_path, ending)
    head = {"weight": rows(3, 4, seed=5), "bias": rows(3, 1, seed=6)[:, 0]}
    write_arrays_as(tmp_path / f"classifier.{ending}", head)
    looks = {"features": rows(12, seed=8), "labels": np.repeat([0, 1, 2], 4)}
    write_arrays_as(tmp_path / f"feature_train_augmented.{ending}", looks)
    read = read_features(tmp_path, None, val_is_test=False)
    assert read.splits.keys() == {"train", "test", "val"}
    assert read.augmented is not None
    assert_split(read.augmented, looks)
    for split, arrays in written.items():
        assert_split(read.splits[split], arrays)
    assert read.num_classes == 3 and read.notes == ()
    assert read.head is not None
    for name, array in zip(("weight", "bias"), read.head, strict=True):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, head[name])


def test_inat_is_tested_on_its_validation_split(tmp_path: Path) -> None:
    written = make_folder(tmp_path, test=None)
    read = read_features(tmp_path, 3, val_is_test=True)
    assert read.splits.keys() == {"train", "test"}
    assert_split(read.splits["test"], written["val"])
    assert read.notes == ()


@pytest.mark.parametrize("ending", FORMATS)
def test_what_is_cast_or_not_there_is_noted(tmp_path: Path, ending) -> None:
    """The authors' layout: label in the singular, no val, other files beside."""
    features = rows(seed=7).astype(np.float64)
    train = {"features": features, "label": whole()["labels"].astype(np.float32)}
    write_arrays_as(tmp_path / f"feature_train.{ending}", train)
    test = {"features": rows(), "label": np.zeros(6, np.uint8)}
    write_arrays_as(tmp_path / f"feature_test.{ending}", test)
    (tmp_path / "final_model_checkpoint.pth").touch()
    read = read_features(tmp_path, 3, val_is_test=False)
    assert_split(read.splits["train"], whole() | {"features": features.astype("f4")})
    assert read.notes == (
        f"feature_train.{ending}: label cast from float32 to int64",
        f"feature_train.{ending}: features cast from float64 to float32",
        "2 of 3 classes have no test sample: no accuracy of a shot group counts them",
        "no feature_val: there is no validation split",
        "not read: final_model_checkpoint.pth",
    )


# --- refusals


def problems(folder: Path, refused, num_classes: int | None = 3) -> list[str]:
    return refused(lambda: read_features(folder, num_classes, val_is_test=False))


def test_missing_folder_and_files_are_refused(tmp_path: Path, refused) -> None:
    none = tmp_path / "none"
    assert problems(none, refused) == [f"{none}: expected a folder, found none"]
    write_arrays_as(tmp_path / "feature_test.h5", whole())
    write_arrays_as(tmp_path / "feature_test.npz", whole())
    (tmp_path / "feature_train.pt").touch()
    assert problems(tmp_path, refused) == [
        f"{tmp_path}: expected feature_train.h5, .npz or .safetensors, found "
        "feature_train.pt",
        f"{tmp_path}: expected one feature_test file, found feature_test.h5 and "
        "feature_test.npz",
    ]
    make_folder(tmp_path / "none/paco")
    assert problems(none, refused) == [
        f"{none}: expected feature_{split}.h5, .npz or .safetensors, found none; such "
        f"lie in {none}/paco: give that"
        for split in ("train", "test")
    ]


FINITE = "features: expected finite numbers below 1e+15, got NaN, infinity or more"
SHAPES = "features, labels: expected (N, D) and (N,), got"
TEST: list[tuple[Arrays, list[str]]] = [
    ({"features": np.full((6, 4), "x")}, ["features: expected floating-point numbers, "
     "got str32"]),
    ({"features": np.zeros((6, 4), complex)}, ["features: expected floating-point "
     "numbers, got complex128"]),
    ({"features": rows() * np.float32(np.nan)}, [f"{FINITE} in 6 of 6 rows, first row "
     "0"]),
    ({"features": np.full((6, 4), 1e300)}, [f"{FINITE} in 6 of 6 rows, first row 0"]),
    ({"features": rows() * np.float32(-1e20)}, [f"{FINITE} in 6 of 6 rows, first row "
     "0"]),
    ({"features": np.zeros(6)}, [f"{SHAPES} (6,) and (6,)"]),
    ({"features": rows(0), "labels": np.arange(0)}, [f"{SHAPES} (0, 4) and (0,)"]),
    ({"features": rows().T}, [f"{SHAPES} (4, 6) and (6,)"]),
    ({"label": np.zeros(6)}, ["expected an array labels or label, got both"]),
    ({"labels": np.zeros((6, 1))}, [f"{SHAPES} (6, 4) and (6, 1)"]),
    ({"labels": np.zeros(6) > 0}, ["labels: expected whole numbers, got bool"]),
    ({"labels": np.array([0, 1.5, 2, np.nan, -1, 3])}, [
        "labels: expected whole numbers, got 1.5 in 2 of 6 rows, first row 1",
        "labels: expected labels from 0, got -1.0 in 1 of 6 rows, first row 4",
        "labels: expected labels up to 2, got 3.0 in 1 of 6 rows, first row 5",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "lines"), TEST)
def test_arrays_that_cannot_be_used_are_refused(
    tmp_path: Path, refused, change, lines
) -> None:
    make_folder(tmp_path, "npz", test=change)
    path = tmp_path / "feature_test.npz"
    assert problems(tmp_path, refused) == [f"{path}: {line}" for line in lines]


def test_every_file_is_read_before_any_is_refused(tmp_path: Path, refused) -> None:
    make_folder(tmp_path)
    train = write_arrays_as(
        tmp_path / "feature_train.h5", {"feats": rows(), "labels_": rows()}
    )
    test = write_arrays_as(tmp_path / "feature_test.h5", {"features": rows()})
    assert problems(tmp_path, refused) == [
        f"{train}: expected an array features, got feats, labels_",
        f"{train}: expected an array labels or label, got feats, labels_",
        f"{test}: expected an array labels or label, got features",
    ]


def test_splits_that_do_not_fit_one_another_are_refused(tmp_path, refused) -> None:
    test = {"features": rows(6, 5), "labels": np.array([0, 1, 2, 3, 1, 3])}
    make_folder(tmp_path, test=test)
    assert problems(tmp_path, refused, 1000) == [
        f"{tmp_path}: expected one feature dimension in every split, got train 4, "
        "test 5, val 4",
        f"{tmp_path}/feature_test.h5: expected classes that the training split has, "
        "got 3",
        f"{tmp_path}/feature_train.h5: expected samples of all 1000 classes, got none "
        "of 3, 4, 5, 6, 7 and 992 more",
    ]


def test_an_absurd_label_makes_no_absurd_number_of_classes(tmp_path, refused) -> None:
    make_folder(tmp_path, train={"labels": np.array([0, 1, 2, 0, 1, 1e30])})
    (line,) = problems(tmp_path, refused, None)
    assert "expected labels up to 999999, got 1e+30 in 1 of 6 rows" in line


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ({"fc.weight": rows()}, "expected an array weight, got fc.weight"),
        ({"weight": rows(4, 3)}, "weight: expected (3, 4), got (4, 3)"),
        (
            {"weight": rows(3, 4), "bias": rows(3, 1)},
            "bias: expected (3,), got (3, 1)",
        ),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused(
    tmp_path: Path, refused, head, line
) -> None:
    make_folder(tmp_path)
    path = write_arrays_as(tmp_path / "classifier.npz", head)
    assert problems(tmp_path, refused) == [f"{path}: {line}"]


def test_a_classifier_without_bias_has_one_of_zeros(tmp_path: Path) -> None:
    make_folder(tmp_path)
    write_arrays_as(tmp_path / "classifier.npz", {"weight": rows(3, 4)})
    read = read_features(tmp_path, None, val_is_test=False)
    assert np.array_equal(read.head[0], rows(3, 4)) and not read.head[1].any()
    assert "classifier.npz has no bias: zeros are taken" in read.notes


def test_an_array_that_was_half_written_is_refused(tmp_path: Path, refused) -> None:
    """HDF5 would give zeros for the rest."""
    make_folder(tmp_path, test=None)
    path = tmp_path / "feature_test.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("features", (6, 4), np.float32, chunks=(2, 4))
        made[:3] = whole()["features"][:3]
        file.create_dataset("labels", (6,), np.int64)
    assert problems(tmp_path, refused) == [
        f"{path}: features: expected all values, got 2 of 3 chunks: it was not "
        "written to its end"
    ]
    with h5py.File(path, "a") as file:
        file["features"][3:] = whole()["features"][3:]
    assert problems(tmp_path, refused) == [
        f"{path}: labels: expected all values, got 0 of 48 bytes: it was not written "
        "to its end"
    ]


def test_values_of_another_file_are_refused(tmp_path: Path, refused) -> None:
    """They would enter no run record."""
    make_folder(tmp_path, test=None)
    write_arrays_as(tmp_path / "other.h5", whole())
    path = tmp_path / "feature_test.h5"
    with h5py.File(path, "w") as file:
        file["features"] = h5py.ExternalLink("other.h5", "/features")
        file["labels"] = whole()["labels"]
    assert problems(tmp_path, refused) == [
        f"{path}: features: expected values here, got another file's"
    ]
