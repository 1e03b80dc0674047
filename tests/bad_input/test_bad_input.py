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

from replication.backbones.checkpoints import read_checkpoint
from replication.core import stage as running
from replication.core.settings import load
from replication.data.features import import_features
from replication.stages import keep
from tests.bad_input.cases import (
    ARGUMENTS,
    CLASSES,
    MARK,
    NAMES,
    NETWORK,
    NEVER,
    SHIPPED,
    Case,
    all_wrong,
    checkpoint_cases,
    features_cases,
    save,
    settings_cases,
    weights,
    write_features,
)

_shipped = lru_cache(lambda: load(SHIPPED))
CASES = [*settings_cases(), *features_cases(), *checkpoint_cases()]
Answer = tuple[int | str | None, list[str]]


def _read_features(_: Any, __: str) -> None:
    settings = _shipped().data("own")
    import_features(Path("given"), settings.model_copy(update={"published_classes": 3}))


def _read_checkpoint(_: Any, __: str) -> None:
    read_checkpoint(Path("given/weights.pth"), NETWORK, CLASSES)


READERS: dict[str, Callable[[Any, str], None]] = {
    "settings": lambda _, __: None,
    "features": _read_features,
    "checkpoint": _read_checkpoint,
}


def _started(name: str, settings: Any) -> SimpleNamespace:
    """A stage that looks at neither code nor commit, which takes longest."""
    return SimpleNamespace(name=name, settings=settings)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with settings, and nothing that a stage says of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    settings = _shipped()
    monkeypatch.setattr(running, "Stage", _started)
    monkeypatch.setattr(running, "load", lambda: settings)
    return tmp_path


@pytest.fixture
def answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[[], None]], Answer]:
    """What a command answers: its code, and the lines on stderr."""

    def call(command: Callable[[], None]) -> Answer:
        capsys.readouterr()
        code: int | str | None = 0
        try:
            command()
        except SystemExit as exit_:
            code = exit_.code
        return code, capsys.readouterr().err.split("\n")[:-1]

    return call


def _stage(body: Callable[[Any, str], None]) -> None:
    sys.argv = ["prepare.py", "own"]
    running.run(body, lambda benchmark: f"prepare@{benchmark}")


def _check(answer: Answer, named: str = "") -> None:
    code, lines = answer
    assert code == 2
    assert lines and all(line.strip() for line in lines)
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    assert not any("Traceback" in line for line in lines)
    assert any(named in line for line in lines), (named, lines)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.kind}-{case.name}"[:90]
)
def test_malformed_input_is_refused_line_by_line(
    place, answered, monkeypatch, case: Case
) -> None:
    if case.kind == "settings":
        monkeypatch.setattr(running, "load", load)
        folder = place
    else:
        folder = place / "given"
        folder.mkdir()
    monkeypatch.setattr(sys, "argv", sys.argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of tensors that it half supports
        case.spoil(folder)
    before = _everything(place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it would be a line more for the user
        answer = answered(lambda: _stage(READERS[case.kind]))
    _check(answer, case.named)
    assert not list(place.rglob(MARK))
    made = _everything(place) - before
    assert all(f"{path}/".startswith(".resume/") for path in made)


@pytest.mark.parametrize("what", NEVER)
def test_every_wrong_setting_has_its_line(place, answered, monkeypatch, what) -> None:
    """All of them in one pass, each named by its dotted key."""
    monkeypatch.setattr(running, "load", load)
    keys = all_wrong(NEVER[what], place)
    code, lines = answered(lambda: _stage(READERS["settings"]))
    _check((code, lines))
    named = {line.split(": ")[1] for line in lines}
    assert all(key in named or f"{key}.0" in named for key in keys)


def _everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_malformed_arguments_are_refused_in_one_line(
    place, answered, monkeypatch, name
) -> None:
    """Before anything is written."""
    module, *arguments = ARGUMENTS[name]
    monkeypatch.setattr(sys, "argv", [f"{module}.py", *arguments])
    monkeypatch.delitem(sys.modules, f"replication.stages.{module}", raising=False)
    whole = f"replication.stages.{module}"
    answer = answered(lambda: runpy.run_module(whole, run_name="__main__") and None)
    _check(answer)
    assert len(answer[1]) == 1
    made = {path.split("/")[0] for path in _everything(place)}
    assert made <= {".resume"}


@pytest.mark.parametrize("name", NAMES)
def test_name_that_could_leave_the_folder_is_refused(place, answered, name) -> None:
    answer = answered(lambda: sys.exit(keep.main([name])))
    _check(answer, "keep")
    assert _everything(place) == set()


def test_what_the_cases_spoil_is_accepted(place, answered) -> None:
    """Else a case would be refused for another reason than its own."""
    given = place / "given"
    for ending in ("h5", "npz", "safetensors"):
        for file in given.glob("*"):
            file.unlink()
        write_features(given, ending)
        assert answered(lambda: _stage(READERS["features"])) == (0, [])
    for legacy in (False, True):
        save(weights(), legacy, given)
        assert answered(lambda: _stage(READERS["checkpoint"])) == (0, [])
