"""Damaged files of every format that is read: the same values, or a refusal.

A format with a checksum never gives another value. In one without (HDF5, safetensors,
weights from before torch 1.6) a flipped bit of a number is a number: there the reader
gives no other shape and nothing that is not finite. Of what stages write for each other
DVC holds the hashes. `FUZZ=3000 pytest tests/bad_input/test_fuzz.py` tries more.
"""

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from replication.backbones.checkpoints import read_checkpoint
from replication.core.files import BadInput
from replication.core.settings import load
from replication.core.state import read_state, write_state
from replication.data.features import read_features
from tests.bad_input.cases import CLASSES, NETWORK, SHIPPED, weights, write_features

TRIES = int(os.environ.get("FUZZ", "50"))
Arrays = dict[str, np.ndarray]


def _features(path: Path) -> Arrays:
    read = read_features(path.parent, 3, val_is_test=False)
    assert read.head is not None
    parts = {**read.splits, "head": read.head}
    return {f"{k} {i}": part[i] for k, part in parts.items() for i in (0, 1)}


def _weights(path: Path) -> Arrays:
    return _copied(read_checkpoint(path, NETWORK, CLASSES).state)


def _copied(state: Mapping[str, torch.Tensor]) -> Arrays:
    """They may be the file itself, which is about to be another."""
    return {name: value.numpy().copy() for name, value in state.items()}


def _legacy(path: Path) -> None:
    torch.save(weights(), path, _use_new_zipfile_serialization=False)


# File name -> its writer, its reader, and whether a checksum is in it.
FORMATS: Mapping[str, tuple[Callable, Callable[[Path], Arrays], bool]] = {
    **{
        f"feature_train.{ending}": (
            lambda path: write_features(path.parent, path.suffix[1:]),
            _features,
            ending == "npz",
        )
        for ending in ("h5", "npz", "safetensors")
    },
    "state.pt": (
        lambda path: write_state(path, weights()),
        lambda path: _copied(read_state(path)),
        True,
    ),
    "weights.pth": (lambda path: torch.save(weights(), path), _weights, True),
    "legacy.pth": (_legacy, _weights, False),
    "weights.safetensors": (lambda path: save_file(weights(), path), _weights, False),
}


def damaged(whole: bytes, draw: random.Random) -> bytes:
    """Cut, flip, overwrite, insert or swap; half of it in the first kilobyte."""
    content = bytearray(whole)

    def place() -> int:
        near = draw.random() < 0.5
        return draw.randrange(min(len(whole), 1024) if near else len(whole))

    kind, start, size = draw.randrange(6), place(), draw.randint(1, 64)
    if kind == 0:
        return whole[:start]
    if kind == 1:
        content[start] ^= 1 << draw.randrange(8)
    elif kind == 2:
        for _ in range(draw.randint(1, 8)):
            content[place()] = draw.randrange(256)
    elif kind == 3:
        content[start : start + size] = bytes(len(content[start : start + size]))
    elif kind == 4:
        content[start : start + size % 17] = draw.randbytes(draw.randint(0, 16))
    else:
        other = place()
        one, two = content[start : start + size], content[other : other + size]
        content[start : start + len(two)] = two
        content[other : other + len(one)] = one
    return bytes(content)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_file_is_refused_or_gives_what_was_written(tmp_path, name) -> None:
    write, read, checked = FORMATS[name]
    path = tmp_path / name
    write(path)
    whole, good, refused = path.read_bytes(), read(path), 0
    for number in range(TRIES):
        path.write_bytes(damaged(whole, random.Random(f"{name} {number}")))
        try:
            got = read(path)
        except BadInput as error:
            refused += 1
            assert all(line.strip() and line.isprintable() for line in error.problems)
            continue
        assert got.keys() == good.keys()
        for key, values in got.items():
            assert (values.shape, values.dtype) == (good[key].shape, good[key].dtype)
            assert np.isfinite(values).all(), number
            assert not checked or np.array_equal(values, good[key]), number
    assert refused > 0


def test_damaged_settings_are_refused_or_are_settings(tmp_path) -> None:
    """A flipped digit is another setting; nothing but settings or a refusal comes."""
    path, refused = tmp_path / "params.yaml", 0
    for number in range(max(TRIES // 10, 10)):
        path.write_bytes(damaged(SHIPPED.read_bytes(), random.Random(number)))
        try:
            assert load(path).seeds()
        except BadInput as error:
            refused += 1
            assert all(line.strip() and line.isprintable() for line in error.problems)
    assert refused > 0
