"""Files: whole or not at all, back as they went in, refused in one line."""

import math
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replication.core.files import (
    BadInput,
    content_hash,
    read_about,
    read_arrays,
    read_json,
    read_table,
    read_text,
    read_yaml,
    replacing,
    write_arrays,
    write_json,
    write_table,
    write_text,
)
from replication.core.state import read_state, write_state

# --- a write is whole or it is not


def test_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    child = os.fork()
    if child == 0:
        with replacing(path) as partial:
            partial.write_text("half of the ne")
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert read_text(path) == "old"
    assert {Path(name).suffix for name in os.listdir(tmp_path)} == {".txt", ".partial"}


# --- arrays

STEPS = np.arange(24.0).reshape(2, 3, 4)
ARRAYS = {
    **{kind: np.ones((3, 4), kind) for kind in ("bool", "u1", "i2", "i8", "f2", "f4")},
    "none": np.zeros((0, 3)),
    "scalar": np.array(2.5),
    "transposed": STEPS.T,
    "strided": STEPS[:, ::2, ::-1],
    "not finite": np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]),
}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    """Of every type, shape and memory layout; tensors as arrays."""
    tensors = {"tensor": torch.arange(3)}
    write_arrays(tmp_path / "a.safetensors", ARRAYS | tensors)
    back = read_arrays(tmp_path / "a.safetensors")
    for name, array in (ARRAYS | {"tensor": np.arange(3)}).items():
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
        assert back[name].tobytes() == array.tobytes()
    assert back.keys() == ARRAYS.keys() | tensors


def test_repeated_writes_are_identical_byte_for_byte(tmp_path: Path) -> None:
    arrays = {name: np.full(7, i, "f4") for i, name in enumerate("cabfed")}
    about = {"z": 1, "a": {"y": 2, "b": 3}}
    backwards = dict(reversed(arrays.items())), dict(reversed(about.items()))
    write_arrays(tmp_path / "1.safetensors", arrays, about)
    write_arrays(tmp_path / "2.safetensors", *backwards)
    first = (tmp_path / "1.safetensors").read_bytes()
    assert first == (tmp_path / "2.safetensors").read_bytes()


# --- tables

TEXTS = ["NA", "null", "", "a,b", 'say "x"', "Ä€", "nan", "None", "a b"]


def test_csv_keeps_a_missing_number_in_a_column_of_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [0.5, math.nan, 2.0], "t": ["NA", "", "b"]})
    write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    assert back["t"].tolist() == ["NA", "", "b"]
    np.testing.assert_array_equal(back["x"].to_numpy(dtype=float), [0.5, math.nan, 2.0])
    assert pd.api.types.is_numeric_dtype(back["x"])


def test_packed_table_comes_back(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "z": np.arange(len(TEXTS), dtype=np.int16),
            "text": TEXTS,
            "x": [math.nan, *np.linspace(0, 1, len(TEXTS) - 1)],
            "yes": [True, False, True, *[False] * (len(TEXTS) - 3)],
        }
    )
    write_table(tmp_path / "t.safetensors", table)
    back = read_table(tmp_path / "t.safetensors")
    assert list(back.columns) == list(table.columns)
    assert back["text"].astype(str).tolist() == TEXTS
    for name in ("z", "x", "yes"):
        assert back[name].dtype == table[name].dtype
        np.testing.assert_array_equal(back[name], table[name])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n1,2,3,4\n", 'a,b\n1,"2\n'])
def test_broken_csv_is_refused_in_one_line(tmp_path: Path, refused, text) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    (problem,) = refused(lambda: read_table(path))
    assert problem.startswith(f"{path}: expected a table, got ")


# --- JSON

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def finite(value: Any) -> Any:
    """What must come back: numbers that are not finite are null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN)
def test_json_comes_back_with_null_for_what_is_not_finite(
    tmp_path_factory, value
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_json(path, value)
    assert read_json(path) == finite(value)


# --- YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        (".nan", math.nan),
        ("no", "no"),
        ("010", 10),
        ("1:30", "1:30"),
        ("~", None),
    ],
)
def test_yaml_is_version_1_2(tmp_path: Path, text, value) -> None:
    (tmp_path / "a.yaml").write_text(f"a: {text}\n")
    back = read_yaml(tmp_path / "a.yaml")["a"]
    assert type(back) is type(value)
    assert back == value or (back != back and value != value)


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("a: 1\na: 2\n", "found duplicate key", "line 2, column 1"),
        ("a: 1\n\tb: 2\n", "found character", "line 2, column 1"),
        ("a: !!python/object:os.system x\n", "could not determine", "line 1, column 4"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(
    tmp_path: Path, refused, text, problem, where
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    (line,) = refused(lambda: read_yaml(path))
    assert line.startswith(f"{path}: expected YAML, got {problem}")
    assert line.endswith(f" at {where}")


def test_what_a_reader_changes_is_not_what_the_next_one_gets(tmp_path: Path) -> None:
    """The text is parsed once; the file's content now is what counts."""
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, {b: 2}]")
    first = read_yaml(path)
    first["a"][1]["b"] = first["c"] = 3
    assert read_yaml(path) == {"a": [1, {"b": 2}]}
    path.write_text("a: 4")
    assert read_yaml(path) == {"a": 4}


# --- states


def test_flipped_bit_of_a_state_is_refused(tmp_path: Path, refused) -> None:
    """`torch.load` would take it; hours of training would go on from it."""
    path = tmp_path / "outputs" / "s.pt"
    write_state(path, {"w": torch.arange(1000)})
    whole = path.read_bytes()
    place = whole.find(torch.arange(1000).numpy().tobytes())
    path.write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
    (problem,) = refused(lambda: read_state(path))
    assert "s.pt: expected a file of plain tensors, got " in problem
    assert "does not fit its checksum" in problem
    assert problem.endswith("; delete it and call again: it is made anew")


# --- refusals are lines


def test_line_breaks_and_terminal_codes_are_shown_as_escapes() -> None:
    error = BadInput(["a\nb", "\x1b[31mred", "x" * 5000])
    assert error.problems[:2] == ["a\\nb", "\\x1b[31mred"]
    assert len(error.problems[2]) < 1000
    assert len(str(error).splitlines()) == 3
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


# --- missing files

READERS = {
    "a.txt": read_text,
    "a.json": read_json,
    "a.yaml": read_yaml,
    "a.csv": read_table,
    "a.safetensors": read_arrays,
    "b.safetensors": read_about,
    "c.safetensors": read_table,
    "a.pt": read_state,
}


@pytest.mark.parametrize("name", READERS)
def test_missing_file_is_refused(tmp_path: Path, refused, name) -> None:
    path = tmp_path / name
    assert refused(lambda: READERS[name](path)) == [
        f"{path}: expected a file, found nothing"
    ]


# --- hashes


def test_hash_is_16_digits_and_depends_on_content_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    digest = content_hash(tmp_path / "a", {"x": 1, "y": [2.5]})
    assert digest == content_hash(tmp_path / "b", {"y": [2.5], "x": 1})
    assert len(digest) == 16 and int(digest, 16) >= 0
    (tmp_path / "b").write_bytes(b"others")
    assert digest != content_hash(tmp_path / "b", {"y": [2.5], "x": 1})
