"""Malformed input, made by hand: each case spoils one thing; test_fuzz damages files.

A case writes what a user might give into a folder. What reads it is the kind's reader.
"""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from safetensors.numpy import save_file

from replication.backbones.networks import build_network
from replication.core.files import read_yaml
from tests.graph import ROOT

NETWORK, CLASSES = "resnet8_cifar", 7
SHIPPED = ROOT / "params.yaml"
MARK = "executed"  # a folder that malicious input would make

Spoil = Callable[[Path], None]


class Case(NamedTuple):
    """What is spoilt; `named`: what the refusal must name."""

    kind: str
    name: str
    spoil: Spoil
    named: str = ""


class Malicious:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.mark = str(folder / MARK)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.mark,)


# ---- params.yaml --------------------------------------------------------------------

_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
# Instead of a line of the shipped file, or after it: what is malformed.
_TEXTS: Mapping[str, tuple[str, str]] = {
    "tab": ("seeds:", "\tseeds:"),
    "key twice": ("", "lambda_pure: 1\n"),
    "line breaks in a key": ("", '"a\\nb": 1\n'),
    "terminal codes in a key": ("", '"\\e[31m": 1\n'),
    "key of 5,000 letters": ("", f"{'k' * 5000}: 1\n"),
    "null as a key": ("", "null: 1\n"),
    "reserved sign": ("", "@x: 1\n"),
    "two documents": ("", "\n---\na: 1\n"),
    "unclosed list": ("", "zz: [1\n"),
    "500 lists deep": ("", f"zz: {'[' * 500}{']' * 500}\n"),
    "list in itself": ("", "zz: &z [*z]\n"),
    "alias of nothing": ("num_clusters:", "num_clusters: *nothing"),
    "10^12 values by alias as a number": (
        "num_clusters:",
        f"{_BOMB}num_clusters: *a11",
    ),
    "5,000 digits": ("num_clusters:", f"num_clusters: {'9' * 5000}"),
    "date": ("num_clusters:", "num_clusters: 2020-01-01"),
    "bytes": ("num_clusters:", "num_clusters: !!binary aGVsbG8="),
    "python object": (
        "num_clusters:",
        f"num_clusters: !!python/object/apply:os.mkdir [{MARK}]",
    ),
    "no such device": ("  device: auto", "  device: gpu"),
    "line break in a device": ("  device: auto", '  device: "cpu\\n"'),
    "no for false": ("  deterministic: false", "  deterministic: no"),
}
_PATHS: Mapping[str, str] = {
    "that is a file": "/proc/version",
    "that is too long": "a" * 5000,
    "with a zero byte": '"a\\0b"',
    "of half a letter": '"\\ud800"',
}
_WHOLE_FILES: Mapping[str, bytes] = {
    "empty": b"",
    "list": b"- a\n- b\n",
    "UTF-16": SHIPPED.read_text().encode("utf-16"),
    "Latin-1": SHIPPED.read_bytes() + "# \xe9\n".encode("latin-1"),
    "zero bytes": bytes(100),
    "JSON cut short": b'{"seeds": [0',
    "pickle": pickle.dumps({"seeds": [0]}),
}
# No setting takes any of these.
NEVER: Mapping[str, Any] = {
    "a mapping": {},
    "below 0": -7,
    "not a number": float("nan"),
    "list of mappings": [{}],
}


def settings_cases() -> Iterator[Case]:
    """params.yaml: files, lines, paths, lists, and a wrong value for every setting."""
    text = SHIPPED.read_text()
    for name, content in _WHOLE_FILES.items():
        yield Case("settings", name, partial(_write, "params.yaml", content), "params")
    for name, (old, new) in _TEXTS.items():
        assert old in text, name
        changed = text.replace(f"\n{old}", f"\n{new}", 1) if old else text + new
        yield Case("settings", name, partial(_write, "params.yaml", changed.encode()))
    for name, path in _PATHS.items():
        for door in ("images", "checkpoint", "features"):
            if name == "that is a file" and door == "checkpoint":
                continue
            changed = text.replace(
                "own: {images: null, checkpoint: null, features: null}",
                "own: {images: null, checkpoint: null, features: null}".replace(
                    f"{door}: null", f"{door}: {path}"
                ),
            )
            assert changed != text
            spoil = partial(_write, "params.yaml", changed.encode("utf-8"))
            yield Case("settings", f"{door} {name}", spoil, f"inputs.own.{door}")


@lru_cache
def shipped() -> dict[str, Any]:
    """The shipped settings; not to be changed."""
    return read_yaml(SHIPPED)


def leaves(params: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Dotted key of every setting but the inputs."""
    for name, value in params.items():
        if name == "inputs":
            continue
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _write(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


def all_wrong(value: Any, folder: Path) -> list[str]:
    """Give every setting one value; their dotted keys."""
    keys = list(leaves(shipped()))
    _changed(dict.fromkeys(keys, value), folder)
    return keys


def _changed(changes: Mapping[str, Any], folder: Path) -> None:
    """params.yaml as JSON, which is YAML, with dotted keys changed."""
    params = json.loads(json.dumps(shipped()))
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = params
        for section in sections:
            place = place[section]
        place[name] = value
    text = json.dumps(params).replace("NaN", ".nan")
    (folder / "params.yaml").write_text(text)


# ---- Feature and classifier files ---------------------------------------------------


def features(seed: int = 0) -> dict[str, np.ndarray]:
    """Six samples of three classes."""
    drawn = np.random.default_rng(seed).standard_normal((6, 4))
    return {"features": drawn.astype(np.float32), "labels": np.arange(6) % 3}


def classifier() -> dict[str, np.ndarray]:
    """A head of three classes on four dimensions."""
    return {"weight": np.ones((3, 4), np.float32), "bias": np.zeros(3, np.float32)}


def write_arrays_as(path: Path, arrays: Mapping[str, Any]) -> Path:
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


def write_features(folder: Path, ending: str) -> None:
    """A whole folder of features, with a classifier."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, split in enumerate(("train", "val", "test")):
        write_arrays_as(folder / f"feature_{split}.{ending}", features(seed))
    write_arrays_as(folder / f"classifier.{ending}", classifier())


def _spoilt(
    ending: str, file: str, write: Callable[[Path], None], folder: Path
) -> None:
    write_features(folder, ending)
    path = folder / f"{file}.{ending}"
    path.unlink()
    write(path)


_GOOD = features()
_X, _Y = _GOOD["features"], _GOOD["labels"]
# In every format: other arrays in feature_train.


def _in_h5(fill: Callable[[h5py.File], None], path: Path) -> None:
    with h5py.File(path, "w") as file:
        fill(file)


def _with_labels(name: str, fill: Callable[[h5py.File], Any]) -> tuple[str, Any]:
    def both(file: h5py.File) -> None:
        fill(file)
        file["labels"] = _Y

    return name, partial(_in_h5, both)


def _chunked(shape: tuple[int, ...], file: h5py.File) -> None:
    chunks = tuple(min(size, 1000) for size in shape)
    file.create_dataset("features", shape, "f4", chunks=chunks)


def _typed(dtype: Any, file: h5py.File) -> None:
    file.create_dataset("features", (6, 4), dtype)[...]


_H5: Mapping[str, Any] = dict(
    (
        _with_labels(
            "link to itself",
            lambda f: f.__setitem__("features", h5py.SoftLink("/features")),
        ),
        _with_labels(
            "link to nothing", lambda f: f.__setitem__("features", h5py.SoftLink("/x"))
        ),
        _with_labels("10^15 values", partial(_chunked, (10**12, 1000))),
        _with_labels("never written", partial(_chunked, (6, 4))),
        _with_labels("group", lambda f: f.create_group("features")),
        _with_labels(
            "no value", lambda f: f.create_dataset("features", data=h5py.Empty("f"))
        ),
        _with_labels("letters", partial(_typed, h5py.string_dtype())),
        _with_labels(
            "line break in a name", lambda f: f.__setitem__("a\nb\x1b[31m", _X)
        ),
    )
)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.encode().ljust(118)


def _zipped(parts: Mapping[str, bytes], path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        if "labels.npy" not in parts:
            archive.writestr("labels.npy", _npy(_Y))


def _shaped(shape: str, descr: str = "'<f4'") -> dict[str, bytes]:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    return {"features.npy": _header(text) + _X.tobytes()}


_NPZ: Mapping[str, Mapping[str, bytes]] = {
    "path out of the folder": {"../../features.npy": b"x"},
    "no array": {"features": b"hello"},
    "array cut short": {"features.npy": _npy(_X)[:-4]},
    "shape of 10^22": _shaped("(10000000000000, 4000000000)"),
    "negative shape": _shaped("(-6, 4)"),
    "shape with a call": _shaped("(__import__('os').mkdir('executed'), 4)"),
    "objects": _shaped("(6, 4)", "'|O'"),
    "letters": _shaped("(6, 4)", "'<U1'"),
    "header of 4 GB": {"features.npy": b"\x93NUMPY\x03\x00\xff\xff\xff\xff"},
}


def _tensors(described: Mapping[str, Any], body: int, path: Path) -> None:
    text = json.dumps(described).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))


def _described(dtype: str, shape: list[Any], end: int) -> dict[str, Any]:
    return {"features": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


_SAFETENSORS: Mapping[str, Callable[[Path], None]] = {
    "shape of 10^15": partial(_tensors, _described("F32", [10**15, 4], 96), 96),
    "shape beyond 2^64": partial(_tensors, _described("F32", [2**62, 8], 0), 0),
    "negative shape": partial(_tensors, _described("F32", [-6, 4], 96), 96),
    "no such type": partial(_tensors, _described("F33", [6, 4], 96), 96),
    "8 bits": partial(_tensors, _described("F8_E4M3", [6, 4], 24), 24),
    "body too short": partial(_tensors, _described("F32", [6, 4], 96), 50),
    "header of 2^63": lambda p: _write(p.name, struct.pack("<Q", 2**63), p.parent),
    "header of 100 MB": lambda p: _write(
        p.name, struct.pack("<Q", 10**8) + b"{", p.parent
    ),
}


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Malicious(path.parent)))


def _pickled_object(path: Path) -> None:
    array = np.array([Malicious(path.parent)] * 6, dtype=object)
    _zipped({"features.npy": _npy(array)}, path)


def features_cases() -> Iterator[Case]:
    """feature_train in every format, spoilt; and folders that are not complete."""
    of = partial(Case, "features")
    for ending in ("h5", "npz", "safetensors"):
        train = partial(_spoilt, ending, "feature_train")
        for name, content in (
            ("HTML", b"<!doctype html><title>404</title>"),
            ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\n"),
        ):
            write = partial(_bytes_to, content)
            yield of(f"{ending}: {name}", partial(train, write))
        yield of(f"{ending}: malicious pickle", partial(train, _pickled))
        yield of(f"{ending}: folder", partial(train, Path.mkdir))
    for name, write in _H5.items():
        yield of(f"h5: {name}", partial(_spoilt, "h5", "feature_train", write))
    for name, parts in _NPZ.items():
        write = partial(_zipped, parts)
        yield of(f"npz: {name}", partial(_spoilt, "npz", "feature_train", write))
    spoil = partial(_spoilt, "npz", "feature_train", _pickled_object)
    yield of("npz: malicious objects", spoil)
    for name, write in _SAFETENSORS.items():
        spoil = partial(_spoilt, "safetensors", "feature_train", write)
        yield of(f"safetensors: {name}", spoil)
    yield of("no file", lambda folder: None)
    yield of("one split in two formats", _twice)


def _bytes_to(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _twice(folder: Path) -> None:
    for ending in ("h5", "npz"):
        write_features(folder, ending)


# ---- Checkpoints --------------------------------------------------------------------


@lru_cache
def weights() -> dict[str, torch.Tensor]:
    """A whole state dict."""
    return dict(build_network(NETWORK, CLASSES, None, seed=0).state_dict())


def _one(value: torch.Tensor, name: str = "fc.weight", **more: Any) -> dict[str, Any]:
    return {**weights(), name: value, **more}


def _everywhere(value: float, shape: tuple[int, ...]) -> torch.Tensor:
    """One number that claims to be many."""
    return torch.full((1,), value).as_strided(shape, (0,) * len(shape))


@lru_cache
def _states() -> dict[str, Any]:
    head = weights()["fc.weight"]
    quantized = torch.quantize_per_tensor(head, 0.1, 0, torch.qint8)
    itself: dict[str, Any] = {}
    itself["state_dict"] = itself
    return {
        "nothing": {},
        "no weights": {"epoch": 3, "acc": 0.5},
        "wrapped null": {"state_dict": None},
        "wrapped twice": {"state_dict": {"state_dict": weights()}},
        "itself": itself,
        "20 keys more": {**weights(), **{f"x.{i}": head for i in range(20)}},
        "line break in a key": {**weights(), "a\nb\x1b[31m": head},
        "8 bits": _one(head.to(torch.float8_e4m3fn)),
        "quantized": _one(quantized),
        "of no device": _one(head.to("meta")),
        "10^13 columns in one number": _one(_everywhere(0, (CLASSES, 10**12))),
        "no column": _one(head[:, :0]),
        "scalars for the head": _one(
            torch.tensor(1.0),
            **{"fc.bias": torch.tensor(1.0)},
            scales=torch.tensor(1.0),
        ),
        "scales of two axes": {**weights(), "scales": torch.ones(CLASSES, 2)},
        "Decouple without features": {
            "state_dict_best": {"feat_model": {}, "classifier": None}
        },
        "PaCo of one key": {"state_dict": {"module.encoder_q.x": head}},
        "memory of nothing": _remembering({5: 2}, {**weights(), "x": head}),
    }


def _remembering(memory: Mapping[Any, Any], state: Mapping[str, Any]) -> OrderedDict:
    kept = OrderedDict(state)
    kept._metadata = memory  # type: ignore[attr-defined]
    return kept


def save(content: Any, legacy: bool, folder: Path) -> None:
    """Write weights.pth as torch writes it now, or as it did before 1.6."""
    with torch.no_grad():
        path = folder / "weights.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def _malicious(legacy: bool, folder: Path) -> None:
    save({**weights(), "x": Malicious(folder)}, legacy, folder)


def _whole_network(folder: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), folder / "weights.pth")


def _bomb(folder: Path) -> None:
    path = folder / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))


def checkpoint_cases() -> Iterator[Case]:
    """weights.pth, as torch writes it now and as it did, spoilt."""
    of = partial(Case, "checkpoint", named="weights.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that torch half supports
        states = _states()
    for name, content in states.items():
        yield of(name, partial(save, content, False))
    for legacy, how in ((False, "zip"), (True, "legacy")):
        yield of(f"{how}: malicious", partial(_malicious, legacy))
    yield of("a whole network", _whole_network)
    yield of("zip bomb", _bomb)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        spoil = partial(_bare_pickle, protocol)
        yield of(f"malicious pickle, protocol {protocol}", spoil)
    for name, content in (
        ("empty", b""),
        ("HTML", b"<!doctype html><title>404</title>"),
        ("PK alone", b"PK"),
        ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\n"),
        ("endless pickle", b"\x80\x02" + b"(" * 10**5),
        ("deep pickle", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."),
        ("pickle of a huge text", b"\x80\x04\x8d" + b"\xff" * 8),
        ("pickle that grows", b"\x80\x02]" + b"2" * 10**5 + b"."),
    ):
        yield of(name, partial(_write, "weights.pth", content))


def _bare_pickle(protocol: int, folder: Path) -> None:
    content = pickle.dumps(Malicious(folder), protocol=protocol)
    (folder / "weights.pth").write_bytes(content)


# ---- The command line ---------------------------------------------------------------

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "no benchmark": ("prepare",),
    "one argument too many": ("prepare", "own", "paco"),
    "unknown benchmark": ("prepare", "imagenet"),
    "benchmark outside": ("prepare", "../../etc"),
    "benchmark with a line break": ("prepare", "own\n"),
    "an option": ("prepare", "--help"),
    "no objective": ("backbone", "places_lt"),
    "objective before benchmark": ("heads", "ce", "places_lt"),
    "unknown variant": ("dlsa", "places_lt", "no_flow", "paco"),
    "two for none": ("report", "a", "b"),
}
NAMES = ("", ".", "..", "../x", "a/b", "/etc", "A", "a b", "a\n", "figures", "-x", "é")
