"""Cached features of a benchmark, computed elsewhere: read, checked, never trusted.

The layout is the one of the authors' released code: a file a split, named
`feature_<split>`, with arrays `features` (N, D) and `labels` or `label` (N,).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from replication.core.files import BadInput, first_line, write_arrays
from replication.data.listing import one_level_down
from replication.data.plausible import doubts_of, refuse_unwritten

_HEAD = "classifier"
_AUGMENTED = "train_augmented"
_FACTS = "about.json"  # of what is shipped
_NAMED = 5
_MOST_CLASSES = 10**6
_MOST = 1e15  # thousands of its squares add up in float32

Split = tuple[np.ndarray, np.ndarray]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ImportedFeatures:
    """Features of every split that a folder has.

    Fields: `files` that were read; `splits` split -> features (N, D) float32 and labels
    (N,) int64 in [0, C), with train and test always there; `augmented` the training
    samples under augmentation, each as often, or None; `num_classes` C; `head` weight
    (C, D) and bias (C,) float32 or None; `notes` a line for each thing that was
    changed, left or odd; `doubts`, those of them that make a number partial.
    """

    files: tuple[Path, ...]
    splits: Mapping[str, Split]
    augmented: Split | None
    num_classes: int
    head: Split | None
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def _file_names(val_is_test: bool) -> dict[str, str]:
    names = {"train": "feature_train", _AUGMENTED: "feature_train_augmented"}
    if val_is_test:
        return {**names, "test": "feature_val"}
    return {**names, "test": "feature_test", "val": "feature_val"}


def read_features(
    folder: Path, num_classes: int | None, val_is_test: bool
) -> ImportedFeatures:
    """Read a folder of cached features, refusing what cannot be trained on.

    Args:
        folder: with feature_train and feature_test, perhaps feature_val,
            feature_train_augmented and a `classifier` (arrays `weight` and `bias`);
            each .h5 (or .hdf5), .npz or .safetensors.
        num_classes: C of the benchmark; None takes it from the training labels.
        val_is_test: the benchmark is tested on its validation split and has no other
            (iNaturalist 2018): feature_val becomes test, and there is no val.

    Raises BadInput: a line for each thing wrong with the files; rows count from 0.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: expected a folder, found none")
    paths = _paths(folder, _file_names(val_is_test))
    head_path = paths.pop(_HEAD, None)
    notes: list[str] = []
    splits: dict[str, Split] = {}
    problems: list[str] = []
    for split, path in paths.items():
        try:
            splits[split] = _read_split(path, num_classes, notes)
        except BadInput as error:
            problems += error.problems
    _refuse_any(problems)
    features, labels = splits["train"]
    num_classes = num_classes or int(labels.max()) + 1
    _refuse_any(_across(folder, paths, splits, num_classes))
    odd, doubts = doubts_of(splits, num_classes)
    notes += [*odd, *doubts]
    augmented = splits.pop(_AUGMENTED, None)
    if augmented is not None:
        _check_looks(paths[_AUGMENTED], augmented[1], labels)
    head = None
    if head_path:
        head = _read_head(head_path, (num_classes, features.shape[1]), notes)
    untested = num_classes - len(np.unique(splits["test"][1]))
    if untested:
        notes.append(
            f"{untested} of {num_classes} classes have no test sample: no accuracy "
            "of a shot group counts them"
        )
    if not val_is_test and "val" not in splits:
        notes.append("no feature_val: there is no validation split")
    files = (*paths.values(), *([head_path] if head_path else []))
    unread = sorted(p.name for p in {*folder.iterdir()} - {*files, folder / _FACTS})
    if unread:
        notes.append(f"not read: {_listed(unread)}")
    said = (tuple(notes), tuple(doubts))
    return ImportedFeatures(files, splits, augmented, num_classes, head, *said)


def write_features(
    folder: Path,
    tables: Mapping[str, Split],
    head: Mapping[str, np.ndarray] | None,
    val_is_test: bool,
) -> None:
    """Write features as `read_features` reads them, in half precision; whole heads.

    `tables`: train, test and perhaps val and train_augmented -> features (N, D) and
    labels (N,); one without samples is left out. `head`: `weight` (C, D) and `bias`
    (C,), or None. Raises BadInput: a feature is beyond what half precision has.
    """
    for split, name in _file_names(val_is_test).items():
        features, labels = tables.get(split, (np.empty(0), np.empty(0)))
        if not len(features):
            continue
        with np.errstate(over="ignore"):  # what overflows is refused just below
            rounded = features.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise BadInput(
                f"{name}: expected features within half precision's ±65,504, got "
                f"{np.abs(features).max():g}"
            )
        arrays = {"features": rounded, "labels": labels.astype(np.int32)}
        write_arrays(folder / f"{name}.safetensors", arrays)
    if head is not None:
        write_arrays(folder / f"{_HEAD}.safetensors", head)


def _refuse_any(problems: list[str]) -> None:
    if problems:
        raise BadInput(problems)


def _paths(folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    """The file of each split that there is, and of the head."""
    paths: dict[str, Path] = {}
    problems = []
    for split, name in {**names, _HEAD: _HEAD}.items():
        files = [folder / f"{name}{ending}" for ending in _FORMATS]
        files = [file for file in files if file.is_file()]
        if len(files) > 1:
            got = " and ".join(path.name for path in files)
            problems.append(f"{folder}: expected one {name} file, found {got}")
        elif files:
            paths[split] = files[0]
        elif split in ("train", "test"):
            expected = f"{name}.h5, .npz or .safetensors"
            others = " and ".join(
                sorted(path.name for path in folder.glob(f"{name}.*"))
            )
            below = one_level_down(folder, lambda at, of=name: [*at.glob(f"{of}.*")])
            got = f"{others or 'none'}{below}"
            problems.append(f"{folder}: expected {expected}, found {got}")
    _refuse_any(problems)
    return paths


def _read_split(path: Path, num_classes: int | None, notes: list[str]) -> Split:
    """Features (N, D) float32 and labels (N,) int64 of one file."""
    arrays, names = _load(path, ("features", "labels", "label"))
    problems = []
    if "features" not in arrays:
        problems.append(f"{path}: expected an array features, got {_listed(names)}")
    if ("labels" in arrays) == ("label" in arrays):
        got = "both" if "labels" in arrays else _listed(names)
        problems.append(f"{path}: expected an array labels or label, got {got}")
    _refuse_any(problems)
    name = "labels" if "labels" in arrays else "label"
    features, labels = arrays["features"], arrays[name]
    samples_first = features.ndim == 2 and labels.shape == features.shape[:1]
    if not samples_first or not features.size:
        raise BadInput(
            f"{path}: features, {name}: expected (N, D) and (N,), got {features.shape} "
            f"and {labels.shape}"
        )
    _refuse_any(_bad_labels(f"{path}: {name}", labels, num_classes))
    if labels.dtype.kind == "f":
        notes.append(f"{path.name}: {name} cast from {labels.dtype.name} to int64")
    features = _float32(path, "features", features, notes)
    refuse_unwritten(f"{path}: features", features)
    return features, labels.astype(np.int64)


def _bad_labels(where: str, labels: np.ndarray, num_classes: int | None) -> list[str]:
    if labels.dtype.kind not in "fiu":
        return [f"{where}: expected whole numbers, got {labels.dtype.name}"]
    whole = np.isfinite(labels) & (labels == np.floor(labels))
    largest = (num_classes or _MOST_CLASSES) - 1
    return [
        f"{where}: expected {expected}, got {labels[bad.argmax()]} in {_rows(bad)}"
        for bad, expected in (
            (~whole, "whole numbers"),
            (whole & (labels < 0), "labels from 0"),
            (whole & (labels > largest), f"labels up to {largest}"),
        )
        if bad.any()
    ]


def _float32(path: Path, name: str, values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Any real array as float32; a row whose squares add up to none is refused."""
    kind = values.dtype.name
    if values.dtype.kind != "f":
        raise BadInput(f"{path}: {name}: expected floating-point numbers, got {kind}")
    with np.errstate(over="ignore"):  # what overflows is found just below
        values = np.ascontiguousarray(values, dtype=np.float32)
    rows = values.reshape(len(values), -1)
    bad = ~(np.maximum(rows.max(1), -rows.min(1)) < _MOST)  # also what is not a number
    if bad.any():
        raise BadInput(
            f"{path}: {name}: expected finite numbers below {_MOST:g}, got NaN, "
            f"infinity or more in {_rows(bad)}"
        )
    if not np.can_cast(kind, np.float32):  # of half precision every bit is kept
        notes.append(f"{path.name}: {name} cast from {kind} to float32")
    return values


def _read_head(path: Path, shape: tuple[int, int], notes: list[str]) -> Split:
    """The classifier's weight (C, D) and bias (C,), zeros where it has none."""
    expected = {"weight": shape, "bias": shape[:1]}
    arrays, names = _load(path, tuple(expected))
    if "weight" in arrays and "bias" not in arrays:
        notes.append(f"{path.name} has no bias: zeros are taken")
        arrays["bias"] = np.zeros(shape[:1], np.float32)
    for name, size in expected.items():
        if name not in arrays:
            raise BadInput(f"{path}: expected an array {name}, got {_listed(names)}")
        if arrays[name].shape != size:
            got = arrays[name].shape
            raise BadInput(f"{path}: {name}: expected {size}, got {got}")
    weight, bias = (_float32(path, name, arrays[name], notes) for name in expected)
    return weight, bias


def _across(
    folder: Path,
    paths: Mapping[str, Path],
    splits: Mapping[str, Split],
    num_classes: int,
) -> list[str]:
    """One dimension; every class is trained, those that are tested above all."""
    problems = []
    sizes = {split: features.shape[1] for split, (features, _) in splits.items()}
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{split} {size}" for split, size in sizes.items())
        problems.append(
            f"{folder}: expected one feature dimension in every split, got {got}"
        )
    trained = np.unique(splits["train"][1])
    for split, (_, labels) in splits.items():
        if len(never := np.setdiff1d(labels, trained)):
            problems.append(
                f"{paths[split]}: expected classes that the training split has, got "
                f"{_listed(never)}"
            )
    if len(missing := np.setdiff1d(np.arange(num_classes), trained)):
        problems.append(
            f"{paths['train']}: expected samples of all {num_classes} classes, got "
            f"none of {_listed(missing)}"
        )
    return problems


def _check_looks(path: Path, looks: np.ndarray, labels: np.ndarray) -> None:
    """Refuse augmented training samples that are not each class's, all as often."""
    counts, once = np.bincount(looks), np.bincount(labels)
    passes = len(looks) // len(labels)
    if passes == 0 or not np.array_equal(counts, once * passes):
        raise BadInput(
            f"{path}: expected the {len(labels)} training samples, all as often, got "
            f"{len(looks)} samples of other class counts"
        )


# ---- Formats ------------------------------------------------------------------------


def _load(path: Path, wanted: Sequence[str]) -> tuple[Arrays, list[str]]:
    """Those of the wanted arrays that a file has, and the names of all."""
    kind, read = _FORMATS[path.suffix]
    try:
        arrays, names = read(path, wanted)
    except BadInput:
        raise
    except Exception as error:  # the libraries raise a dozen kinds on a broken file
        reason = first_line(error)
        raise BadInput(f"{path}: expected a whole {kind} file, got {reason}") from None
    numbers = (np.ndarray, np.generic)  # else text, or nothing
    return {
        k: np.asarray(v) for k, v in arrays.items() if isinstance(v, numbers)
    }, names


def _from_h5(path: Path, wanted: Sequence[str]) -> tuple[Arrays, list[str]]:
    import h5py

    with h5py.File(path, "r") as file:
        arrays = {}
        for name in wanted:
            if isinstance(dataset := file.get(name), h5py.Dataset):
                _check_written(path, name, dataset)
                arrays[name] = dataset[()]
        return arrays, [*file]


def _check_written(path: Path, name: str, dataset: Any) -> None:
    """HDF5 gives zeros for what was never written, and other files' values unasked."""
    elsewhere = dataset.external or Path(dataset.file.filename) != path
    if elsewhere or dataset.is_virtual:
        raise BadInput(f"{path}: {name}: expected values here, got another file's")
    written, whole, unit = dataset.id.get_storage_size(), dataset.nbytes, "bytes"
    if dataset.chunks is not None:
        written, unit = dataset.id.get_num_chunks(), "chunks"
        sizes = zip(dataset.shape, dataset.chunks, strict=True)
        whole = math.prod(-(-size // chunk) for size, chunk in sizes)
    if written < whole:
        raise BadInput(
            f"{path}: {name}: expected all values, got {written} of {whole} {unit}: it "
            "was not written to its end"
        )


def _from_npz(path: Path, wanted: Sequence[str]) -> tuple[Arrays, list[str]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in wanted if name in file}, file.files


def _from_safetensors(path: Path, wanted: Sequence[str]) -> tuple[Arrays, list[str]]:
    import torch

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in wanted if name in names}
    arrays = {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for name, tensor in tensors.items()  # numpy has no bfloat16
    }
    return arrays, names


# Ending -> what the format is called, and its reader.
_FORMATS = {
    ".h5": ("HDF5", _from_h5),
    ".hdf5": ("HDF5", _from_h5),
    ".npz": ("npz", _from_npz),
    ".safetensors": ("safetensors", _from_safetensors),
}


# ---- Words --------------------------------------------------------------------------


def _rows(bad: np.ndarray) -> str:
    number, first = int(bad.sum()), int(bad.argmax())
    return f"{number} of {len(bad)} rows, first row {first}"


def _listed(names: Iterable[object]) -> str:
    words = [str(name) for name in names]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more or "nothing"
