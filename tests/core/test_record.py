"""Run records: what lies behind a file, and what counts as another code."""

import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from replication.core import record
from replication.core.files import write_json, write_text
from replication.core.record import (
    code_hash,
    commit,
    loaded_modules,
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


def test_a_module_that_is_gone_is_no_loaded_module(module) -> None:
    assert list(loaded_modules()) == ["replication/code.py"]
    module.unlink()
    assert loaded_modules() == {}


def test_commit_and_whether_the_code_is_as_committed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *who, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert commit() == {"commit": None, "clean": False}
    write_text("replication/code.py", "")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    write_text("params.yaml", "")
    assert commit() == {"commit": head, "clean": True}
    write_text("replication/code.py", "changed = True\n")
    assert commit() == {"commit": head, "clean": False}


def test_versions_name_no_machine() -> None:
    text = str(record.versions())
    assert platform.node() not in text and str(Path.home()) not in text
    assert record.versions()["libraries"]["torch"]
