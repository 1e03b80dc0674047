"""Malformed input, made by hand: each case spoils one thing; test_fuzz damages files.

What a library alone refuses has a case or two: the reader is one for all it raises.
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
from typing import Any

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
# Instead of how a line of the shipped file begins, or after it: what is malformed.
_LINES: Mapping[str, tuple[str, str]] = {
    "tab": ("seeds:", "\tseeds:"),
    "key twice": ("", "lambda_pure: 1\n"),
    "line breaks in a key": ("", '"a\\nb": 1\n'),
    "terminal codes in a key": ("", '"\\e[31m": 1\n'),
    "key of 5,000 letters": ("", f"{'k' * 5000}: 1\n"),
    "null as a key": ("", "null: 1\n"),
    "two documents": ("", "\n---\na: 1\n"),
    "500 lists deep": ("", f"zz: {'[' * 500}{']' * 500}\n"),
    "list in itself": ("", "zz: &z [*z]\n"),
    "alias of nothing": ("num_clusters:", "num_clusters: *nothing"),
    "10^12 values by alias": ("num_clusters:", f"{_BOMB}num_clusters: *a11"),
    "5,000 digits": ("num_clusters:", f"num_clusters: {'9' * 5000}"),
    "date": ("num_clusters:", "num_clusters: 2020-01-01"),
    "bytes": ("num_clusters:", "num_clusters: !!binary aGVsbG8="),
    "python object": (
        "num_clusters:",
        f"num_clusters: !!python/object/apply:os.mkdir [{MARK}]",
    ),
    "line break in a device": ("  device: auto", '  device: "cpu\\n"'),
    "no for false": ("  deterministic: false", "  deterministic: no"),
}
_DOORS = "own: {images: null, checkpoint: null, features: null}"
_PATHS = {"too long": "a" * 5000, "zero byte": '"a\\0b"', "half": '"\\ud800"'}
_FILES: Mapping[str, bytes] = {
    "empty": b"",
    "list": b"- a\n- b\n",
    "UTF-16": SHIPPED.read_text().encode("utf-16"),
    "zero bytes": bytes(100),
    "JSON cut short": b'{"seeds": [0',
}
# No setting takes any of these.
NEVER: Mapping[str, Any] = {
    "a mapping": {},
    "below 0": -7,
    "not a number": float("nan"),
    "list of mappings": [{}],
}


def settings_cases() -> Iterator[tuple[str, bytes, str]]:
    """Name, params.yaml, and what the refusal must name."""
    text = SHIPPED.read_text()
    for name, content in _FILES.items():
        yield name, content, "params"
    for name, (old, new) in _LINES.items():
        assert old in text, name
        spoilt = text.replace(f"\n{old}", f"\n{new}", 1) if old else text + new
        yield name, spoilt.encode(), ""
    for name, path in {**_PATHS, "a file": "/proc/version"}.items():
        for door in ("images", "checkpoint", "features"):
            if (name, door) != ("a file", "checkpoint"):
                doors = _DOORS.replace(f"{door}: null", f"{door}: {path}")
                spoilt = text.replace(_DOORS, doors)
                assert spoilt != text
                yield f"{door} {name}", spoilt.encode(), f"inputs.own.{door}"


def all_wrong(value: Any) -> tuple[bytes, list[str]]:
    """params.yaml, as JSON, with one value for every setting; their dotted keys."""
    keys: list[str] = []

    def spoilt(settings: Mapping[str, Any], above: str) -> dict[str, Any]:
        changed = {}
        for name, old in settings.items():
            if name == "inputs":
                changed[name] = old
            elif isinstance(old, dict):
                changed[name] = spoilt(old, f"{above}{name}.")
            else:
                keys.append(f"{above}{name}")
                changed[name] = value
        return changed

    params = json.dumps(spoilt(read_yaml(SHIPPED), ""))
    return params.replace("NaN", ".nan").encode(), keys


# ---- Feature and classifier files ---------------------------------------------------


def features(seed: int = 0) -> dict[str, np.ndarray]:
    """Six samples of three classes."""
    drawn = np.random.default_rng(seed).standard_normal((6, 4))
    return {"features": drawn.astype(np.float32), "labels": np.arange(6) % 3}


def write_arrays_as(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays in the format that the ending names."""
    if path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file[name] = value
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)
    return path


def write_features(folder: Path, ending: str) -> Path:
    """A whole folder of features, with a classifier; the training samples' file."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, split in enumerate(("train", "val", "test")):
        write_arrays_as(folder / f"feature_{split}.{ending}", features(seed))
    head = {"weight": np.ones((3, 4), np.float32), "bias": np.zeros(3, np.float32)}
    write_arrays_as(folder / f"classifier.{ending}", head)
    return folder / f"feature_train.{ending}"


_X, _Y = features().values()


def _h5(fill: Callable[[h5py.File], Any], path: Path) -> None:
    with h5py.File(path, "w") as file:
        fill(file)
        file["labels"] = _Y


def _npz(name: str, content: bytes, path: Path) -> None:
    labels = io.BytesIO()
    np.save(labels, _Y)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("labels.npy", labels.getvalue())


def _npy(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.encode().ljust(118)
    return head + _X.tobytes()


def _objects(path: Path) -> None:
    buffer = io.BytesIO()
    malicious = np.array([Malicious(path.parent)] * 6, dtype=object)
    np.lib.format.write_array(buffer, malicious, allow_pickle=True)
    _npz("features.npy", buffer.getvalue(), path)


def _safetensors(dtype: str, shape: list[int], end: int, path: Path) -> None:
    described = {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}
    text = json.dumps({"features": described}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def _holding(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


_LINK, _FAR = h5py.SoftLink("/features"), h5py.SoftLink("/x")
_TALL = {"shape": (10**12, 1000), "dtype": "f4", "chunks": (1000, 1000)}
_WORD, _NAME = h5py.string_dtype(), "line\nbreak\x1b[31m"
# Ending, and what is odd about it -> what writes feature_train.<ending>.
FEATURES: Mapping[str, Callable[[Path], object]] = {
    "h5: link to itself": partial(_h5, lambda f: f.update(features=_LINK)),
    "h5: link to nothing": partial(_h5, lambda f: f.update(features=_FAR)),
    "h5: 10^15 values": partial(_h5, lambda f: f.create_dataset("features", **_TALL)),
    "h5: group": partial(_h5, lambda f: f.create_group("features")),
    "h5: no value": partial(_h5, lambda f: f.update(features=h5py.Empty("f"))),
    "h5: letters": partial(_h5, lambda f: f.create_dataset("features", (6, 4), _WORD)),
    "h5: codes in a name": partial(_h5, lambda f: f.update({_NAME: _X})),
    "npz: no array": partial(_npz, "features", b"hello"),
    "npz: out of the folder": partial(_npz, "../../features.npy", b"x"),
    "npz: shape of 10^22": partial(
        _npz, "features.npy", _npy("(10000000000000, 4000000000)")
    ),
    "npz: shape with a call": partial(
        _npz, "features.npy", _npy("(__import__('os').mkdir('executed'), 4)")
    ),
    "npz: letters": partial(_npz, "features.npy", _npy("(6, 4)", "'<U1'")),
    "npz: malicious objects": _objects,
    "safetensors: shape of 10^15": partial(_safetensors, "F32", [10**15, 4], 96),
    "safetensors: 8 bits": partial(_safetensors, "F8_E4M3", [6, 4], 24),
    "safetensors: header of 2^63": _holding(struct.pack("<Q", 2**63)),
    **{
        f"{ending}: {name}": write
        for ending in ("h5", "npz", "safetensors")
        for name, write in {
            "HTML": _holding(b"<!doctype html><title>404</title>"),
            "malicious": lambda p: p.write_bytes(pickle.dumps(Malicious(p.parent))),
            "folder": Path.mkdir,
        }.items()
    },
}

# ---- Checkpoints --------------------------------------------------------------------


@lru_cache
def weights() -> dict[str, torch.Tensor]:
    """A whole state dict."""
    return dict(build_network(NETWORK, CLASSES, None, seed=0).state_dict())


def checkpoints() -> dict[str, Any]:
    """Odd contents of weights.pth; bytes are the whole file."""
    whole, head, one = weights(), weights()["fc.weight"], torch.tensor(1.0)
    repeated = torch.zeros(1).as_strided((CLASSES, 10**12), (0, 0))
    itself: dict[str, Any] = {}
    itself["state_dict"] = itself
    remembering = OrderedDict({**whole, "x": head})
    remembering._metadata = {5: 2}  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that torch half supports
        quantized = torch.quantize_per_tensor(head, 0.1, 0, torch.qint8)
    return {
        "no weights": {"epoch": 3, "acc": 0.5},
        "wrapped null": {"state_dict": None},
        "itself": itself,
        "20 keys more": {**whole, **{f"x.{i}": head for i in range(20)}},
        "line break in a key": {**whole, "a\nb\x1b[31m": head},
        "8 bits": {**whole, "fc.weight": head.to(torch.float8_e4m3fn)},
        "quantized": {**whole, "fc.weight": quantized},
        "of no device": {**whole, "fc.weight": head.to("meta")},
        "10^13 columns in one number": {**whole, "fc.weight": repeated},
        "no column": {**whole, "fc.weight": head[:, :0]},
        "scalars": {**whole, "fc.weight": one, "fc.bias": one, "scales": one},
        "scales of two axes": {**whole, "scales": torch.ones(CLASSES, 2)},
        "Decouple of nothing": {"state_dict_best": {"feat_model": {}}},
        "PaCo of one key": {"state_dict": {"module.encoder_q.x": head}},
        "memory of nothing": remembering,
        "a whole network": torch.nn.Linear(2, 2),
        "empty": b"",
        "PK alone": b"PK",
        "endless pickle": b"\x80\x02" + b"(" * 10**5,
        "deep pickle": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
        "pickle of a huge text": b"\x80\x04\x8d" + b"\xff" * 8,
        "pickle that grows": b"\x80\x02]" + b"2" * 10**5 + b".",
        "zip bomb": _zip_bomb(),
    }


def _zip_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    return packed.getvalue()


# ---- The command line ---------------------------------------------------------------

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "no benchmark": ("prepare",),
    "one argument too many": ("prepare", "own", "paco"),
    "benchmark outside": ("prepare", "../../etc"),
    "benchmark with a line break": ("prepare", "own\n"),
    "an option": ("prepare", "--help"),
    "objective before benchmark": ("heads", "ce", "places_lt"),
    "unknown variant": ("dlsa", "places_lt", "no_flow", "paco"),
    "two for none": ("report", "a", "b"),
}
NAMES = ("", ".", "..", "../x", "a/b", "/etc", "A", "a b", "a\n", "figures", "-x", "é")
