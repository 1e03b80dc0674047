"""Cached features of a benchmark, computed elsewhere: read, checked, never trusted.

The layout is the one of the authors' released code: a file a split, named
`feature_<split>`, with arrays `features` (N, D) and `labels` or `label` (N,).
"""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors import SafetensorError, safe_open

from replication.core.files import BadInput
from replication.core.settings import DataSettings

_FORMATS = {".h5": "HDF5", ".npz": "npz", ".safetensors": "safetensors"}
_HEAD = "classifier"
_BLOCK_BYTES = 2**24
_NAMED = 5
_LARGEST_LABEL = 2**31 - 1
_REAL = frozenset({"float16", "bfloat16", "float32", "float64"})
_WHOLE = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_SAFETENSORS_KINDS = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
# What h5py, zipfile, numpy's header and safetensors raise on a file that is not whole,
# and what claiming absurd shapes leads to.
_BROKEN = (
    OSError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SafetensorError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

_WANTED = frozenset({"features", "labels", "label", "weight", "bias"})
_MEMORY = Path("/proc/meminfo")

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ImportedFeatures:
    """Features of every split that a folder has.

    Fields: `splits` split -> features (N, D) float32 and labels (N,) int64 in [0, C),
    with train and test always there; `num_classes` C; `head` weight (C, D) and bias
    (C,) float32 or None; `notes` a line for each thing that was changed or left.
    """

    splits: Mapping[str, Split]
    num_classes: int
    head: Split | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Stored:
    """An array in a file, not yet read.

    Fields: `kind` a type name such as float16; `blocks` yields the index and the values
    of one part after the other, none much larger than a block.
    """

    shape: tuple[int, ...]
    kind: str
    blocks: Callable[[], Iterator[tuple[Any, np.ndarray]]]


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_features(folder: Path, settings: DataSettings) -> ImportedFeatures:
    """Read a benchmark's cached features by that benchmark's rules.

    Implements: not in the paper: iNaturalist 2018 is tested on its validation split.

    Args:
        folder: of the features.
        settings: of the benchmark, whose number of classes is known in advance.
    """
    return read_features(
        folder, settings.published_classes, val_is_test=_val_is_test(settings)
    )


def files_of_features(folder: Path, settings: DataSettings) -> list[Path]:
    """Those files of a folder that `import_features` reads samples from."""
    names = _file_names(_val_is_test(settings)).values()
    return [path for name in names for path in _named(folder, name)]


def file_of_head(folder: Path) -> list[Path]:
    """The file that `import_features` reads a head from; none where there is none."""
    return _named(folder, _HEAD)


def _val_is_test(settings: DataSettings) -> bool:
    return settings.benchmark == "inat18"


def _file_names(val_is_test: bool) -> dict[str, str]:
    if val_is_test:
        return {"train": "feature_train", "test": "feature_val"}
    return {"train": "feature_train", "test": "feature_test", "val": "feature_val"}


def _named(folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}{ending}" for ending in _FORMATS]
    return [path for path in paths if path.is_file()]


def read_features(
    folder: Path, num_classes: int | None, val_is_test: bool
) -> ImportedFeatures:
    """Read a folder of cached features, refusing what cannot be trained on.

    Implements: not in the paper: the file layout of the released code. Memory: the
    features in float32 and one block.

    Args:
        folder: with feature_train and feature_test, perhaps feature_val and a
            `classifier` (arrays `weight` and `bias`); each .h5, .npz or .safetensors.
        num_classes: C of the benchmark; None takes it from the training labels.
        val_is_test: the benchmark is tested on its validation split and has no other
            (iNaturalist 2018): feature_val becomes test, and there is no val.

    Raises:
        BadInput: a line for each thing wrong with the files, all of them at once; rows
            count from 0.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"{folder}: expected a folder, found none")
    findings = _Findings()
    names = _file_names(val_is_test)
    paths = {
        split: _find(folder, name, findings, needed=split != "val")
        for split, name in names.items()
    }
    classifier = _find(folder, _HEAD, findings, needed=False)
    splits = {
        split: _read_split(path, num_classes, findings)
        for split, path in paths.items()
        if path is not None
    }
    _check_dimensions(folder, splits, findings)
    labels = {split: read[1] for split, read in splits.items() if read[1] is not None}
    if num_classes is None and "train" in labels:
        num_classes = int(labels["train"].max()) + 1
    if num_classes is not None and "train" in labels:
        _check_classes(paths, labels, num_classes, findings)
    dimension = next((f.shape[1] for f, _ in splits.values() if f is not None), None)
    head = None
    if classifier is not None:
        head = _read_head(classifier, num_classes, dimension, findings)
    if findings.problems:
        raise BadInput(findings.problems)
    if "val" in names and paths["val"] is None:
        findings.notes.append("no feature_val: there is no validation split")
    used = {path.name for path in (*paths.values(), classifier) if path is not None}
    unread = sorted(entry.name for entry in folder.iterdir() if entry.name not in used)
    if unread:
        findings.notes.append(f"not read: {_listed(unread)}")
    assert num_classes is not None
    whole = {
        split: (features, labels)
        for split, (features, labels) in splits.items()
        if features is not None and labels is not None
    }
    return ImportedFeatures(whole, num_classes, head, tuple(findings.notes))


def _find(folder: Path, name: str, findings: _Findings, needed: bool) -> Path | None:
    found = _named(folder, name)
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        findings.problems.append(f"{folder}: expected one {name} file, found {names}")
    elif not found and needed:
        findings.problems.append(
            f"{folder}: expected {name}.h5, .npz or .safetensors, found none"
        )
    return found[0] if len(found) == 1 else None


# ---- One file -----------------------------------------------------------------------


def _read_split(
    path: Path, num_classes: int | None, findings: _Findings
) -> tuple[np.ndarray | None, np.ndarray | None]:
    features = labels = None
    try:
        with _opened(path) as arrays:
            features = _read_matrix(path, arrays, findings)
            names = [name for name in ("labels", "label") if name in arrays]
            if len(names) != 1:
                got = "both" if names else _listed(sorted(arrays)) or "nothing"
                findings.problems.append(
                    f"{path}: expected an array labels or label, got {got}"
                )
            else:
                samples = arrays["features"].shape[:1] if "features" in arrays else ()
                labels = _read_labels(
                    path, names[0], arrays[names[0]], samples, num_classes, findings
                )
    except BadInput as error:
        findings.problems += error.problems
    return features, labels


def _read_matrix(
    path: Path, arrays: Mapping[str, _Stored], findings: _Findings
) -> np.ndarray | None:
    stored = arrays.get("features")
    if stored is None:
        got = _listed(sorted(arrays)) or "nothing"
        findings.problems.append(f"{path}: expected an array features, got {got}")
        return None
    where = f"{path}: features"
    if len(stored.shape) != 2 or stored.shape[1] == 0:
        findings.problems.append(f"{where}: expected (N, D), got {stored.shape}")
        return None
    if stored.shape[0] == 0:
        findings.problems.append(f"{where}: expected samples, got none")
        return None
    return _read_real(path, "features", stored, findings)


def _read_real(
    path: Path, name: str, stored: _Stored, findings: _Findings
) -> np.ndarray | None:
    """Any real array as float32; a row that is not finite there is a problem."""
    if stored.kind not in _REAL:
        findings.problems.append(
            f"{path}: {name}: expected floating-point numbers, got {stored.kind}"
        )
        return None
    values = _room(path, name, stored.shape, np.float32)
    with np.errstate(over="ignore"):  # what overflows is found just below
        for where, block in stored.blocks():
            values[where] = block
    bad = np.zeros(len(values), bool)
    for rows in _parts(values.shape, values.itemsize):
        finite = np.isfinite(values[rows])
        bad[rows] = ~finite.reshape(len(finite), -1).all(1)
    if bad.any():
        findings.problems.append(
            f"{path}: {name}: expected numbers that are finite in float32, got NaN or "
            f"infinity in {_which(bad)}"
        )
    elif stored.kind != "float32":
        findings.notes.append(f"{path.name}: {name} cast from {stored.kind} to float32")
    return values


def _room(path: Path, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An empty array; a few bytes of a file can claim any shape.

    Raises:
        BadInput: the machine has less memory left.
    """
    wanted, free = math.prod(shape) * np.dtype(dtype).itemsize, _free_bytes()
    if free is not None and wanted > free:
        raise BadInput(
            f"{path}: {name}: expected an array that fits into {free / 2**30:.1f} GiB "
            f"of free memory, got {shape}: {wanted / 2**30:.1f} GiB"
        )
    return np.empty(shape, dtype)


def _free_bytes() -> int | None:
    """Memory that is free or can be freed; None where the system does not say."""
    if not _MEMORY.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    available = lines.get("MemAvailable")
    return None if available is None else int(available.split()[0]) * 1024


def _read_labels(
    path: Path,
    name: str,
    stored: _Stored,
    samples: tuple[int, ...],
    num_classes: int | None,
    findings: _Findings,
) -> np.ndarray | None:
    where, before = f"{path}: {name}", len(findings.problems)
    if len(stored.shape) != 1:
        findings.problems.append(f"{where}: expected (N,), got {stored.shape}")
        return None
    if samples and stored.shape != samples:
        findings.problems.append(
            f"{where}: expected one for each of {samples[0]} samples, got "
            f"{stored.shape[0]}"
        )
    if stored.shape[0] == 0:
        return None
    if stored.kind not in _REAL | _WHOLE:
        findings.problems.append(f"{where}: expected whole numbers, got {stored.kind}")
        return None
    is_real = stored.kind in _REAL
    labels = _room(path, name, stored.shape, np.float64 if is_real else np.int64)
    for rows, block in stored.blocks():
        labels[rows] = block
    whole = np.isfinite(labels) & (labels == np.floor(labels))
    largest = _LARGEST_LABEL if num_classes is None else num_classes - 1
    for bad, expected in (
        (~whole, "whole numbers"),
        (whole & (labels < 0), "labels from 0"),
        (whole & (labels > largest), f"labels up to {largest}"),
    ):
        if bad.any():
            findings.problems.append(
                f"{where}: expected {expected}, got {labels[bad.argmax()].item()} in "
                f"{_which(bad)}"
            )
    if len(findings.problems) > before:
        return None
    if is_real:
        findings.notes.append(f"{path.name}: {name} cast from {stored.kind} to int64")
    return labels.astype(np.int64, copy=False)


def _read_head(
    path: Path, num_classes: int | None, dimension: int | None, findings: _Findings
) -> Split | None:
    """The classifier, held against C and D as far as those are known."""
    read: dict[str, np.ndarray | None] = {}
    shapes = {
        "weight": (num_classes or "C", dimension or "D"),
        "bias": (num_classes or "C",),
    }
    try:
        with _opened(path) as arrays:
            for name, shape in shapes.items():
                if name not in arrays:
                    got = _listed(sorted(arrays)) or "nothing"
                    findings.problems.append(
                        f"{path}: expected an array {name}, got {got}"
                    )
                elif not _agrees(arrays[name].shape, shape):
                    want = str(shape).replace("'", "")
                    findings.problems.append(
                        f"{path}: {name}: expected {want}, got {arrays[name].shape}"
                    )
                else:
                    read[name] = _read_real(path, name, arrays[name], findings)
    except BadInput as error:
        findings.problems += error.problems
    weight, bias = read.get("weight"), read.get("bias")
    return None if weight is None or bias is None else (weight, bias)


def _agrees(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        isinstance(want, str) or size == want
        for size, want in zip(shape, wanted, strict=True)
    )


# ---- Across files -------------------------------------------------------------------


def _check_dimensions(
    folder: Path,
    splits: Mapping[str, tuple[np.ndarray | None, np.ndarray | None]],
    findings: _Findings,
) -> None:
    sizes = {split: f.shape[1] for split, (f, _) in splits.items() if f is not None}
    if len(set(sizes.values())) > 1:
        got = ", ".join(f"{split} {size}" for split, size in sizes.items())
        findings.problems.append(
            f"{folder}: expected one feature dimension in every split, got {got}"
        )


def _check_classes(
    paths: Mapping[str, Path | None],
    labels: Mapping[str, np.ndarray],
    num_classes: int,
    findings: _Findings,
) -> None:
    """Every class must be trained; one that is tested but not trained is said so."""
    present = {split: np.unique(values) for split, values in labels.items()}
    trained = present.pop("train")
    said = trained
    for split, classes in present.items():
        never = np.setdiff1d(classes, trained)
        if len(never):
            findings.problems.append(
                f"{paths[split]}: expected classes that the training split has, got "
                f"{_classes(never)}"
            )
        said = np.union1d(said, never)
    # Labels can be in the billions; the first absent ones lie right behind the present.
    first = np.setdiff1d(np.arange(min(num_classes, len(said) + _NAMED)), said)
    number = num_classes - len(said[said < num_classes])
    if number:
        findings.problems.append(
            f"{paths['train']}: expected samples of all {num_classes} classes, got "
            f"none of {_classes(first, number)}"
        )
    untested = num_classes - len(present["test"]) if "test" in present else 0
    if untested > 0:
        findings.notes.append(
            f"{untested} of {num_classes} classes have no test sample: no accuracy "
            "of a shot group counts them"
        )


# ---- Formats ------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, _Stored]]:
    """Yield the arrays of a file by name, unread."""
    try:
        if path.suffix == ".h5":
            with h5py.File(path, "r") as file:
                yield {
                    name: _h5_array(path, item, name)
                    for name, item in file.items()
                    if isinstance(item, h5py.Dataset) and isinstance(name, str)
                }
        elif path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield {
                    member.removesuffix(".npy"): _npz_array(archive, member)
                    for member in archive.namelist()
                }
        else:
            with safe_open(str(path), framework="pt") as opened:
                yield {name: _safetensors_array(opened, name) for name in opened.keys()}  # noqa: SIM118
    except _BROKEN as error:
        text = str(error).strip().splitlines()
        raise BadInput(
            f"{path}: expected a whole {_FORMATS[path.suffix]} file, got "
            f"{text[0] if text else type(error).__name__}"
        ) from None


def _h5_array(path: Path, dataset: h5py.Dataset, name: str) -> _Stored:
    """A dataset that is all in this file; HDF5 takes what is not there for zeros.

    Raises:
        BadInput: a wanted one lies elsewhere, or was never written to its end.
    """
    shape = tuple(dataset.shape or ())
    if name in _WANTED:
        elsewhere = dataset.external or Path(dataset.file.filename) != path
        if elsewhere or dataset.is_virtual:
            raise BadInput(f"{path}: {name}: expected values here, got another file's")
        written, whole = _h5_written(dataset, shape)
        if written < whole:
            raise BadInput(
                f"{path}: {name}: expected all values, got {written} of {whole} "
                f"{'bytes' if dataset.chunks is None else 'chunks'}: it was not "
                "written to its end"
            )

    def blocks() -> Iterator[tuple[Any, np.ndarray]]:
        for part in _parts(shape, dataset.dtype.itemsize):
            yield part, dataset[part]

    return _Stored(shape, dataset.dtype.name, blocks)


def _h5_written(dataset: h5py.Dataset, shape: tuple[int, ...]) -> tuple[int, int]:
    """How much of a dataset is in its file, and how much that should be."""
    if dataset.chunks is None:
        return dataset.id.get_storage_size(), math.prod(shape) * dataset.dtype.itemsize
    chunks = (-(-size // of) for size, of in zip(shape, dataset.chunks, strict=True))
    return dataset.id.get_num_chunks(), math.prod(chunks)


def _npz_array(archive: zipfile.ZipFile, member: str) -> _Stored:
    with archive.open(member) as stream:
        shape, by_column, dtype = _npy_header(stream)
    stored = shape[::-1] if by_column else shape

    def blocks() -> Iterator[tuple[Any, np.ndarray]]:
        with archive.open(member) as stream:
            _npy_header(stream)
            for part in _parts(stored, dtype.itemsize):
                size = (part.stop - part.start, *stored[1:])
                raw = stream.read(int(np.prod(size)) * dtype.itemsize)
                block = np.frombuffer(raw, dtype).reshape(size)
                yield ((..., part), block.T) if by_column else (part, block)
            if stream.read(1):  # at its end zipfile holds the whole against its CRC
                raise ValueError(f"{member} is longer than its shape")

    return _Stored(shape, dtype.name, blocks)


def _npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type; the stream then is at the values."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _safetensors_array(opened: Any, name: str) -> _Stored:
    stored = opened.get_slice(name)
    shape = tuple(stored.get_shape())
    letters = stored.get_dtype().rstrip("0123456789")
    bits = stored.get_dtype().removeprefix(letters)
    kind = f"{_SAFETENSORS_KINDS.get(letters, letters)}{bits}"

    def blocks() -> Iterator[tuple[Any, np.ndarray]]:
        for part in _parts(shape, int(bits) // 8):
            values = stored[part]
            yield part, (values.float() if kind == "bfloat16" else values).numpy()

    return _Stored(shape, kind, blocks)


def _parts(shape: Sequence[int], item_bytes: int) -> Iterator[slice]:
    """Consecutive rows of at most a block together, or of one row if that is larger."""
    row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * item_bytes
    step = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


# ---- Words --------------------------------------------------------------------------


def _which(bad: np.ndarray) -> str:
    number, first = int(bad.sum()), int(bad.argmax())
    if number == 1:
        return f"1 of {len(bad)} rows, row {first}"
    return f"{number} of {len(bad)} rows, first row {first}"


def _classes(classes: np.ndarray, number: int | None = None) -> str:
    number = len(classes) if number is None else number
    named = ", ".join(str(label) for label in classes[:_NAMED])
    more = f" and {number - _NAMED} more" if number > _NAMED else ""
    return f"{'class' if number == 1 else 'classes'} {named}{more}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
