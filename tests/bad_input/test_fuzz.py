"""Damaged files of every format that is read: the same values, or a refusal.

A format with a checksum never gives another value. In one without (HDF5, safetensors,
weights from before torch 1.6) a flipped bit of a number is a number: there the reader
gives no other shape and nothing that is not finite. Of what stages write for each other
DVC holds the hashes.
`FUZZ=3000 pytest tests/bad_input/test_fuzz.py` tries more.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from replication.backbones.checkpoints import read_checkpoint
from replication.core.files import (
    BadInput,
    write_arrays,
)
from replication.core.settings import load
from replication.core.state import read_state, write_state
from replication.data.features import read_features
from tests.bad_input.cases import CLASSES, NETWORK, SHIPPED, weights, write_features

TRIES = int(os.environ.get("FUZZ", "50"))
SLOW = 10  # times as many tries of what takes milliseconds to read

Read = Callable[[Path], Mapping[str, Any]]


class Format(NamedTuple):
    """A whole file, its reader, and whether a checksum is in it."""

    write: Callable[[Path], Path]
    read: Read
    checked: bool


def _features(ending: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_features(folder, ending)
        return folder / f"feature_train.{ending}"

    return write


def _read_features(path: Path) -> dict[str, np.ndarray]:
    read = read_features(path.parent, 3, val_is_test=False)
    assert read.head is not None
    kept = dict(zip(("weight", "bias"), read.head, strict=True))
    for split, (found, labels) in read.splits.items():
        kept |= {f"{split} features": found, f"{split} labels": labels}
    return kept


def _read_weights(path: Path) -> dict[str, np.ndarray]:
    state = read_checkpoint(path, NETWORK, CLASSES).state
    # Copied: they may be the file itself, which is about to be another.
    return {name: value.numpy().copy() for name, value in state.items()}


def _state(path: Path) -> dict[str, Any]:
    state = read_state(path)
    model = {name: value.numpy().copy() for name, value in state["model"].items()}
    return model | {"history": state["history"]}


def _to(name: str, write: Callable[[Path], None]) -> Callable[[Path], Path]:
    def call(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return call


_ABOUT = {"network": NETWORK, "classes": CLASSES, "head": "ce"}
FORMATS: Mapping[str, Format] = {
    "HDF5 features": Format(_features("h5"), _read_features, False),
    "npz features": Format(_features("npz"), _read_features, True),
    "safetensors features": Format(_features("safetensors"), _read_features, False),
    "state.pt": Format(
        _to("s.pt", lambda p: write_state(p, {"model": weights(), "history": [{}]})),
        _state,
        True,
    ),
    "weights.pth": Format(
        _to("w.pth", lambda p: torch.save(weights(), p)), _read_weights, True
    ),
    "weights of torch 1.5": Format(
        _to(
            "w.pth",
            lambda p: torch.save(weights(), p, _use_new_zipfile_serialization=False),
        ),
        _read_weights,
        False,
    ),
    "weights.safetensors": Format(
        _to("w.safetensors", lambda p: save_file(weights(), p)), _read_weights, False
    ),
    "our weights.safetensors": Format(
        _to("w.safetensors", lambda p: write_arrays(p, weights(), _ABOUT)),
        _read_weights,
        False,
    ),
}


def damaged(whole: bytes, draw: random.Random) -> bytes:
    """Cut, flip, overwrite, insert or swap; half of it in the first kilobyte."""
    content = bytearray(whole)

    def place() -> int:
        near = draw.random() < 0.5
        return draw.randrange(min(len(whole), 1024) if near else len(whole))

    kind, start, size = draw.randrange(7), place(), draw.randint(1, 64)
    if kind == 0:
        return whole[:start]
    if kind in (1, 2):
        content[start] ^= 1 << draw.randrange(8)
    elif kind == 3:
        for _ in range(draw.randint(1, 8)):
            content[place()] = draw.randrange(256)
    elif kind == 4:
        content[start : start + size] = bytes(len(content[start : start + size]))
    elif kind == 5:
        content[start : start + size % 17] = draw.randbytes(draw.randint(0, 16))
    else:
        other = place()
        one, two = content[start : start + size], content[other : other + size]
        content[start : start + len(two)] = two
        content[other : other + len(one)] = one
    return bytes(content)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_file_is_refused_or_gives_what_was_written(tmp_path, name) -> None:
    written = FORMATS[name]
    path = written.write(tmp_path)
    whole, good = path.read_bytes(), written.read(path)
    ends: Counter[str] = Counter()
    for number in range(TRIES):
        path.write_bytes(damaged(whole, random.Random(f"{name} {number}")))
        try:
            found = written.read(path)
        except BadInput as error:
            ends["refused"] += 1
            assert all(line.strip() and line.isprintable() for line in error.problems)
        else:
            same = _equal(found, good)
            ends["same" if same else "another number"] += 1
            assert same or (not written.checked and _alike(found, good)), number
    assert ends["refused"] > 0
    print(f"{name}: {dict(ends)}")


def _equal(found: Mapping[str, Any], good: Mapping[str, Any]) -> bool:
    return found.keys() == good.keys() and all(
        np.array_equal(found[key], good[key])
        if isinstance(good[key], np.ndarray)
        else found[key] == good[key]
        for key in good
    )


def _alike(found: Mapping[str, Any], good: Mapping[str, Any]) -> bool:
    """Names, shapes and types as they should be, and every number finite."""
    return found.keys() == good.keys() and all(
        found[key].shape == good[key].shape
        and found[key].dtype == good[key].dtype
        and np.isfinite(found[key]).all()
        for key in good
    )


def test_damaged_settings_are_refused_or_are_settings(tmp_path) -> None:
    """A flipped digit is another setting; nothing but settings or a refusal comes."""
    path = tmp_path / "params.yaml"
    whole, refused = SHIPPED.read_bytes(), 0
    for number in range(max(TRIES // SLOW, 10)):
        path.write_bytes(damaged(whole, random.Random(number)))
        try:
            assert load(path).seeds()
        except BadInput as error:
            refused += 1
            assert all(line.strip() and line.isprintable() for line in error.problems)
    assert refused > 0
