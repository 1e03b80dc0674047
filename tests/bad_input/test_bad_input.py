"""Malformed input: one line a problem, a code that is not 0, nothing executed."""

import runpy
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from replication.backbones.checkpoints import read_checkpoint
from replication.core import stage as running
from replication.core.settings import load
from replication.data.features import read_features
from replication.stages.keep import keep
from tests.bad_input.cases import (
    ARGUMENTS,
    CLASSES,
    FEATURES,
    MARK,
    NAMES,
    NETWORK,
    NEVER,
    SHIPPED,
    all_wrong,
    checkpoints,
    settings_cases,
    weights,
    write_features,
)

_shipped = lru_cache(lambda: load(SHIPPED))
_checkpoints = lru_cache(checkpoints)
SETTINGS = {name: more for name, *more in settings_cases()}
Answer = Callable[[Callable[[], Any]], list[str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with settings, whose stages look at neither code nor commit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    monkeypatch.setattr(
        running, "Stage", lambda name, of: SimpleNamespace(name=name, settings=of)
    )
    monkeypatch.setattr(running, "load", _shipped)
    return tmp_path


@pytest.fixture
def answered(place: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Have a command refuse its input; its lines, and nothing else has come of it."""

    def call(command: Callable[[], Any]) -> list[str]:
        before = _everything(place)
        with pytest.raises(SystemExit) as exit_, warnings.catch_warnings():
            warnings.simplefilter("error")  # it would be a line more for the user
            command()
        lines = capsys.readouterr().err.split("\n")[:-1]
        assert exit_.value.code == 2
        assert lines and all(line.strip() and line.isprintable() for line in lines)
        assert not any(len(line) > 1000 or "Traceback" in line for line in lines)
        assert not list(place.rglob(MARK))
        made = _everything(place) - before
        assert all(f"{path}/".startswith(".resume/") for path in made)
        return lines

    return call


def _everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _stage(body: Callable[[], Any] = lambda: None) -> None:
    running.run(lambda *_: body(), lambda benchmark: f"prepare@{benchmark}")


def _features() -> None:
    read_features(Path("given"), 3, val_is_test=False)


def _checkpoint() -> None:
    read_checkpoint(Path("given/weights.pth"), NETWORK, CLASSES)


@pytest.mark.parametrize("name", SETTINGS)
def test_malformed_settings(place, answered, monkeypatch, name) -> None:
    content, named = SETTINGS[name]
    (place / "params.yaml").write_bytes(content)
    monkeypatch.setattr(running, "load", load)
    assert any(named in line for line in answered(_stage))


@pytest.mark.parametrize("what", NEVER)
def test_every_wrong_setting_has_its_line(place, answered, monkeypatch, what) -> None:
    """All of them in one pass, each named by its dotted key."""
    content, keys = all_wrong(NEVER[what])
    (place / "params.yaml").write_bytes(content)
    monkeypatch.setattr(running, "load", load)
    named = {line.split(": ")[1] for line in answered(_stage)}
    assert all(key in named or f"{key}.0" in named for key in keys)


@pytest.mark.parametrize("name", FEATURES)
def test_malformed_features(place, answered, name) -> None:
    path = write_features(place / "given", name.split(":")[0])
    path.unlink()
    FEATURES[name](path)
    answered(lambda: _stage(_features))


@pytest.mark.parametrize("name", _checkpoints())
def test_malformed_checkpoint(place, answered, name) -> None:
    content, path = _checkpoints()[name], place / "given" / "weights.pth"
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    lines = answered(lambda: _stage(_checkpoint))
    assert any("weights.pth" in line for line in lines)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_malformed_arguments_are_refused_in_one_line(
    answered, monkeypatch, name
) -> None:
    module, *arguments = ARGUMENTS[name]
    monkeypatch.setattr(sys, "argv", [f"{module}.py", *arguments])
    whole = f"replication.stages.{module}"
    monkeypatch.delitem(sys.modules, whole, raising=False)
    assert len(answered(lambda: runpy.run_module(whole, run_name="__main__"))) == 1


@pytest.mark.parametrize("name", NAMES)
def test_name_that_could_leave_the_folder_is_refused(answered, name) -> None:
    lines = answered(lambda: _stage(lambda: keep(name)))
    assert any("keep" in line for line in lines)


@pytest.mark.parametrize("ending", ["h5", "npz", "safetensors"])
def test_what_the_cases_spoil_is_accepted(place, capsys, ending) -> None:
    """Else a case would be refused for another reason than its own."""
    write_features(place / "given", ending)
    torch.save(weights(), place / "given" / "weights.pth")
    _stage(_features)
    _stage(_checkpoint)
    assert capsys.readouterr().err == ""
