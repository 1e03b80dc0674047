"""Cached features: every format comes back, every fault is named."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from replication.data.features import read_features

FORMATS = ("h5", "npz", "safetensors")
Arrays = Mapping[str, Any]


def write(path: Path, arrays: Arrays) -> Path:
    """Write arrays in the format that the ending names."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file[name] = value
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)
    return path


def rows(number: int = 6, dimension: int = 4, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((number, dimension)).astype(np.float32)


def whole(seed: int = 0) -> dict[str, np.ndarray]:
    """Six samples of three classes."""
    return {"features": rows(seed=seed), "labels": np.array([0, 1, 2, 0, 1, 2])}


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
        write(folder / f"feature_{split}.{ending}", arrays)
    return splits


def assert_split(read: tuple[np.ndarray, np.ndarray], written: Arrays) -> None:
    features, labels = read
    assert features.dtype == np.float32 and features.flags.c_contiguous
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(features, written["features"])
    np.testing.assert_array_equal(labels, written["labels"])


# --- every format


@pytest.mark.parametrize("num_classes", [3, None])
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_comes_back(tmp_path: Path, ending, num_classes) -> None:
    written = make_folder(tmp_path, ending)
    read = read_features(tmp_path, num_classes, val_is_test=False)
    assert read.splits.keys() == {"train", "test", "val"}
    for split, arrays in written.items():
        assert_split(read.splits[split], arrays)
    assert read.num_classes == 3
    assert read.head is None and read.notes == ()


@pytest.mark.parametrize("ending", FORMATS)
def test_labels_may_be_named_in_the_singular(tmp_path: Path, ending) -> None:
    for i, split in enumerate(("train", "test", "val")):
        arrays = whole(i)
        arrays["label"] = arrays.pop("labels")
        write(tmp_path / f"feature_{split}.{ending}", arrays)
    read = read_features(tmp_path, 3, val_is_test=False)
    assert_split(read.splits["val"], whole(2))


def test_inat_is_tested_on_its_validation_split(tmp_path: Path) -> None:
    written = make_folder(tmp_path, test=None)
    read = read_features(tmp_path, 3, val_is_test=True)
    assert read.splits.keys() == {"train", "test"}
    assert_split(read.splits["test"], written["val"])
    assert read.notes == ()


def test_the_authors_layout_has_no_validation_split(tmp_path: Path) -> None:
    make_folder(tmp_path, val=None)
    (tmp_path / "final_model_checkpoint.pth").touch()
    read = read_features(tmp_path, 3, val_is_test=False)
    assert read.splits.keys() == {"train", "test"}
    assert read.notes == (
        "no feature_val: there is no validation split",
        "not read: final_model_checkpoint.pth",
    )


@pytest.mark.parametrize("head_ending", FORMATS)
def test_a_classifier_comes_with_them(tmp_path: Path, head_ending) -> None:
    make_folder(tmp_path)
    head = {"weight": rows(3, 4, seed=5), "bias": rows(3, 1, seed=6)[:, 0]}
    write(tmp_path / f"classifier.{head_ending}", head)
    read = read_features(tmp_path, None, val_is_test=False)
    assert read.head is not None and read.notes == ()
    for name, array in zip(("weight", "bias"), read.head, strict=True):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, head[name])


# --- types


@pytest.mark.parametrize(
    ("ending", "dtype"),
    [
        *product(FORMATS, ["float16", "float64"]),
        *product(["h5", "npz"], [">f4", ">f8"]),  # safetensors are little-endian
    ],
)
def test_other_precisions_become_float32_and_say_so(
    tmp_path: Path, ending, dtype
) -> None:
    features = rows(seed=7).astype(dtype)
    make_folder(tmp_path, ending, test={"features": features})
    read = read_features(tmp_path, 3, val_is_test=False)
    np.testing.assert_array_equal(
        read.splits["test"][0], features.astype(np.float32), strict=True
    )
    name = np.dtype(dtype).name
    cast = (f"feature_test.{ending}: features cast from {name} to float32",)
    assert read.notes == (() if name == "float32" else cast)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64", "float32"])
@pytest.mark.parametrize("ending", FORMATS)
def test_labels_of_any_type_become_int64(tmp_path: Path, ending, dtype) -> None:
    labels = np.array([2, 1, 0, 2, 1, 0]).astype(dtype)
    make_folder(tmp_path, ending, train={"labels": labels})
    read = read_features(tmp_path, 3, val_is_test=False)
    assert read.splits["train"][1].dtype == np.int64
    assert read.splits["train"][1].tolist() == [2, 1, 0, 2, 1, 0]
    cast = (f"feature_train.{ending}: labels cast from float32 to int64",)
    assert read.notes == (cast if dtype == "float32" else ())


def test_compressed_files_come_back(tmp_path: Path) -> None:
    make_folder(tmp_path, "npz", train=None, test=None)
    np.savez_compressed(tmp_path / "feature_train.npz", **whole(0))
    with h5py.File(tmp_path / "feature_test.h5", "w") as file:
        for name, value in whole(1).items():
            file.create_dataset(name, data=value, compression="gzip", shuffle=True)
    read = read_features(tmp_path, 3, val_is_test=False)
    assert_split(read.splits["train"], whole(0))
    assert_split(read.splits["test"], whole(1))


# --- refusals


def one(folder: Path, refused, num_classes: int | None = 3) -> list[str]:
    return refused(lambda: read_features(folder, num_classes, val_is_test=False))


def test_missing_folder_is_refused(tmp_path: Path, refused) -> None:
    folder = tmp_path / "none"
    assert one(folder, refused) == [f"{folder}: expected a folder, found none"]


@pytest.mark.parametrize(
    ("val_is_test", "missing"),
    [
        (False, ("feature_train", "feature_test")),
        (True, ("feature_train", "feature_val")),
    ],
)
def test_missing_splits_are_refused(
    tmp_path: Path, refused, val_is_test, missing
) -> None:
    assert refused(lambda: read_features(tmp_path, 3, val_is_test)) == [
        f"{tmp_path}: expected {name}.h5, .npz or .safetensors, found none"
        for name in missing
    ]


def test_one_split_in_two_formats_is_refused(tmp_path: Path, refused) -> None:
    make_folder(tmp_path, "h5")
    write(tmp_path / "feature_train.npz", whole())
    assert one(tmp_path, refused) == [
        f"{tmp_path}: expected one feature_train file, found feature_train.h5 and "
        "feature_train.npz"
    ]


@pytest.mark.parametrize("ending", FORMATS)
def test_missing_arrays_are_refused(tmp_path: Path, refused, ending) -> None:
    make_folder(tmp_path, ending)
    train = write(
        tmp_path / f"feature_train.{ending}", {"feats": rows(), "labels_": rows()}
    )
    test = write(tmp_path / f"feature_test.{ending}", {"features": rows()})
    assert one(tmp_path, refused) == [
        f"{train}: expected an array features, got feats, labels_",
        f"{train}: expected an array labels or label, got feats, labels_",
        f"{test}: expected an array labels or label, got features",
    ]


def test_two_arrays_of_labels_are_refused(tmp_path: Path, refused) -> None:
    make_folder(tmp_path, test={"label": np.zeros(6, int)})
    assert one(tmp_path, refused) == [
        f"{tmp_path}/feature_test.h5: expected an array labels or label, got both"
    ]


@pytest.mark.parametrize("shape", [(), (6,), (6, 4, 1, 1), (6, 0)])
@pytest.mark.parametrize("ending", FORMATS)
def test_features_of_another_shape_are_refused(
    tmp_path: Path, refused, ending, shape
) -> None:
    make_folder(tmp_path, ending)
    path = tmp_path / f"feature_test.{ending}"
    stored = {"features": np.zeros(shape, np.float32), "labels": whole()["labels"]}
    if shape == () and ending == "safetensors":
        save_tensors({k: torch.from_numpy(v) for k, v in stored.items()}, path)
    else:
        write(path, stored)
    assert one(tmp_path, refused) == [f"{path}: features: expected (N, D), got {shape}"]


def test_features_that_are_not_real_are_refused(tmp_path: Path, refused) -> None:
    for split, values in (
        ("train", np.zeros((6, 4), np.int64)),
        ("test", np.zeros((6, 4), complex)),
        ("val", np.full((6, 4), "x")),
    ):
        write(tmp_path / f"feature_{split}.npz", whole() | {"features": values})
    assert one(tmp_path, refused) == [
        f"{tmp_path}/feature_{split}.npz: features: expected floating-point numbers, "
        f"got {kind}"
        for split, kind in (
            ("train", "int64"),
            ("test", "complex128"),
            ("val", "str32"),
        )
    ]


@pytest.mark.parametrize("ending", FORMATS)
def test_rows_that_are_not_finite_are_counted(tmp_path: Path, refused, ending) -> None:
    many, single = rows(), rows()
    many[2, 1], many[2, 3], many[5, 0] = np.nan, np.inf, -np.inf
    single[0, 3] = np.nan
    make_folder(tmp_path, ending, train={"features": many}, test={"features": single})
    expected = "features: expected numbers that are finite in float32, got NaN or"
    assert one(tmp_path, refused) == [
        f"{tmp_path}/feature_train.{ending}: {expected} infinity in 2 of 6 rows, first "
        "row 2",
        f"{tmp_path}/feature_test.{ending}: {expected} infinity in 1 of 6 rows, row 0",
    ]


@pytest.mark.parametrize("ending", FORMATS)
def test_labels_that_no_class_has_are_refused(tmp_path: Path, refused, ending) -> None:
    make_folder(
        tmp_path,
        ending,
        train={"labels": np.array([0, 1.5, 2, np.nan, -1, 3])},
        test={"labels": np.array([0, -7, 2, -7, 3, 2])},
        val={"labels": np.array([0, 1, 2, 3, 4, 5], np.uint8)},
    )
    train, test, val = (
        f"{tmp_path}/feature_{split}.{ending}: labels: expected"
        for split in ("train", "test", "val")
    )
    assert one(tmp_path, refused) == [
        f"{train} whole numbers, got 1.5 in 2 of 6 rows, first row 1",
        f"{train} labels from 0, got -1.0 in 1 of 6 rows, row 4",
        f"{train} labels up to 2, got 3.0 in 1 of 6 rows, row 5",
        f"{test} labels from 0, got -7 in 2 of 6 rows, first row 1",
        f"{test} labels up to 2, got 3 in 1 of 6 rows, row 4",
        f"{val} labels up to 2, got 3 in 3 of 6 rows, first row 3",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"features": rows(0)}, "features: expected samples, got none"),
        (
            {"labels": np.arange(5) % 3},
            "labels: expected (6,), one for each sample, got (5,)",
        ),
        (
            {"labels": np.zeros((6, 1), int)},
            "labels: expected (6,), one for each sample, got (6, 1)",
        ),
        ({"labels": np.zeros(6) > 0}, "labels: expected whole numbers, got bool"),
        (
            {"labels": np.array([0, 1, 2, 0, 1, 1e30])},
            "labels: expected labels up to 999999, got 1e+30 in 1 of 6 rows, row 5",
        ),
    ],
)
def test_arrays_that_do_not_fit_one_another_are_refused(
    tmp_path: Path, refused, change, problem
) -> None:
    make_folder(tmp_path, test=change)
    path = tmp_path / "feature_test.h5"
    assert one(tmp_path, refused, None) == [f"{path}: {problem}"]


def test_splits_of_different_dimensions_are_refused(tmp_path: Path, refused) -> None:
    make_folder(tmp_path, test={"features": rows(6, 5)})
    assert one(tmp_path, refused) == [
        f"{tmp_path}: expected one feature dimension in every split, got train 4, "
        "test 5, val 4"
    ]


def test_a_tested_class_that_is_never_trained_is_refused(
    tmp_path: Path, refused
) -> None:
    make_folder(
        tmp_path,
        test={"labels": np.array([0, 1, 2, 3, 1, 3])},
        val={"labels": np.array([3, 3, 3, 3, 3, 3])},
    )
    assert one(tmp_path, refused, None) == [
        f"{tmp_path}/feature_{split}.h5: expected classes that the training split has, "
        "got class 3"
        for split in ("test", "val")
    ]


def test_every_class_of_the_benchmark_must_be_trained(tmp_path: Path, refused) -> None:
    make_folder(tmp_path)
    assert one(tmp_path, refused, 1000) == [
        f"{tmp_path}/feature_train.h5: expected samples of all 1000 classes, got none "
        "of classes 3, 4, 5, 6, 7 and 992 more"
    ]


def test_classes_without_a_test_sample_are_noted(tmp_path: Path) -> None:
    make_folder(tmp_path, test={"labels": np.array([0, 0, 0, 0, 0, 0])})
    assert read_features(tmp_path, 3, val_is_test=False).notes == (
        "2 of 3 classes have no test sample: no accuracy of a shot group counts them",
    )


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        ({"weight": rows(3, 5)}, ["weight: expected (3, 4), got (3, 5)"]),
        ({"weight": rows(4, 3)}, ["weight: expected (3, 4), got (4, 3)"]),
        ({"bias": rows(1, 4)[0]}, ["bias: expected (3,), got (4,)"]),
        ({"bias": rows(3, 1)}, ["bias: expected (3,), got (3, 1)"]),
        (
            {"weight": rows(3, 4) * np.float32(np.nan)},
            [
                "weight: expected numbers that are finite in float32, got NaN or "
                "infinity in 3 of 3 rows, first row 0"
            ],
        ),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused(
    tmp_path: Path, refused, head, lines
) -> None:
    make_folder(tmp_path)
    fits = {"weight": rows(3, 4), "bias": rows(1, 3)[0]}
    path = write(tmp_path / "classifier.npz", fits | head)
    assert one(tmp_path, refused) == [f"{path}: {line}" for line in lines]


def test_a_classifier_without_its_arrays_is_refused(tmp_path: Path, refused) -> None:
    make_folder(tmp_path)
    path = write(tmp_path / "classifier.h5", {"fc.weight": rows(3, 4)})
    assert one(tmp_path, refused) == [
        f"{path}: expected an array weight, got fc.weight"
    ]


WORDS = {"h5": "HDF5", "npz": "npz", "safetensors": "safetensors"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_truncated_file_is_refused(tmp_path: Path, refused, ending, share) -> None:
    make_folder(tmp_path, ending)
    path = tmp_path / f"feature_val.{ending}"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    (problem,) = one(tmp_path, refused)
    assert problem.startswith(f"{path}: expected a whole {WORDS[ending]} file, got ")


@pytest.mark.parametrize("place", [0.2, 0.5])
def test_a_damaged_npz_is_refused(tmp_path: Path, refused, place) -> None:
    """The checksum tells; HDF5 and safetensors have none."""
    make_folder(tmp_path, "npz", test={"features": rows(6, 400)}, val=None)
    path = tmp_path / "feature_test.npz"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0xFF
    path.write_bytes(content)
    problem = one(tmp_path, refused)[0]
    assert problem == (
        f"{path}: expected a whole npz file, got Bad CRC-32 for file 'features.npy'"
    )


def test_an_array_that_was_half_written_is_refused(tmp_path: Path, refused) -> None:
    """HDF5 would give zeros for the rest."""
    make_folder(tmp_path, test=None)
    path = tmp_path / "feature_test.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("features", (6, 4), np.float32, chunks=(2, 4))
        made[:3] = whole()["features"][:3]
        file.create_dataset("labels", (6,), np.int64)
    assert one(tmp_path, refused) == [
        f"{path}: features: expected all values, got 2 of 3 chunks: it was not "
        "written to its end"
    ]
    with h5py.File(path, "a") as file:
        file["features"][3:] = whole()["features"][3:]
    assert one(tmp_path, refused) == [
        f"{path}: labels: expected all values, got 0 of 48 bytes: it was not written "
        "to its end"
    ]


def test_values_of_another_file_are_refused(tmp_path: Path, refused) -> None:
    """They would enter no run record."""
    make_folder(tmp_path, test=None)
    write(tmp_path / "other.h5", whole())
    path = tmp_path / "feature_test.h5"
    with h5py.File(path, "w") as file:
        file["features"] = h5py.ExternalLink("other.h5", "/features")
        file["labels"] = whole()["labels"]
    assert one(tmp_path, refused) == [
        f"{path}: features: expected values here, got another file's"
    ]
