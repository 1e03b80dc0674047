"""Run records: what lies behind a file, and what counts as another code."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from replication.core import record
from replication.core.files import write_json, write_text
from replication.core.record import (
    code_hash,
    read_records,
    record_of,
    records_behind,
)


def run(stage: str, inputs: list[str], outputs: list[str]) -> dict:
    return {"stage": stage, "inputs": dict.fromkeys(inputs, ""), "outputs": outputs}


def test_records_behind_a_file_are_those_of_all_that_led_to_it(tmp_path) -> None:
    """In the order of the graph, each once; an output may be a folder."""
    made = [
        run("table", ["o/dlsa/x.csv", "o/heads/w"], ["o/table.json"]),
        run("dlsa", ["o/features/train", "o/heads/w"], ["o/dlsa"]),
        run("heads", ["o/features/train"], ["o/heads"]),
        run("features", ["given.h5"], ["o/features"]),
        run("other", ["given.h5"], ["o/features2"]),
    ]
    for one in made:
        write_json(tmp_path / record_of(one["stage"]).name, one)
    records = read_records(tmp_path)
    assert set(records) == {one["stage"] for one in made}
    behind = records_behind(["o/table.json"], records)
    assert [one["stage"] for one in behind] == ["features", "heads", "dlsa", "table"]
    assert records_behind(["given.h5", "o/table"], records) == []


CODE = '"""A module."""\n\ndef f(x):\n    """Doc."""\n    return x + 1  # one\n'


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """A loaded module of a package that is made here."""
    package = tmp_path / "replication"
    write_text(package / "code.py", CODE)
    loaded = ModuleType("replication.code")
    loaded.__file__ = str(package / "code.py")
    monkeypatch.setattr(record, "PACKAGE", package)
    monkeypatch.setitem(sys.modules, "replication.code", loaded)
    return package / "code.py"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("  # one", "  # another comment", True),
        ("Doc.", "Another docstring, of\n    two lines.", True),
        ('    """Doc."""\n', "", True),
        ('"""A module."""', "# no docstring", True),
        ("x + 1", "(x +\n            1)", True),
        ("x + 1", "x + 2", False),
        ('"""Doc."""', 'y = """Doc."""', False),
    ],
)
def test_code_is_what_it_does_not_what_it_says(module, old, new, same) -> None:
    before = code_hash()
    module.write_text(CODE.replace(old, new))
    assert (code_hash() == before) is same
