"""Disturbed stages: the bytes of an undisturbed run, or one line and then those bytes.

Stages run in processes forked from one that has imported everything: a start then costs
milliseconds, and what is killed is a real process with real files. That a setting or an
input that changed has a resume folder of its own, and that a second run is told of the
first, is tests/core/test_stage's.
"""

import multiprocessing
import os
import random
import resource
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.made import write_params
from tests.test_whole import SMALL

PACO, CE = ("places_lt", "paco"), ("places_lt", "ce")
# Module and arguments; with two threads the last four run side by side.
STAGES = {
    "prepare": ("prepare", "places_lt"),
    "backbone paco": ("backbone", *PACO),
    "features": ("features", *PACO),
    "heads": ("heads", *PACO),
    "backbone ce": ("backbone", *CE),
    "features ce": ("features", *CE),
    "decoupling": ("decoupling", "places_lt"),
    "dlsa": ("dlsa", "places_lt", "full", "paco"),
    "sigma": ("section", "sigma", "places_lt"),
    "estimator": ("section", "estimator", "places_lt"),
    "separation": ("section", "separation", "places_lt"),
}
SIDE_BY_SIDE = ("dlsa", "sigma", "estimator", "separation")
SMALLER = {
    "machine": {"workers": 0, "device": "cpu"},
    "num_clusters": 8,
    "filter.batch_size": 64,
    "estimator": {"draws": 20, "clusters": 4},
    "data": {"num_classes": 6, "num_images": 300, "test_per_class": 5},
    "view": {"image_size": 16, "resize": 16},
    "ce.epochs": 3,
    "paco.epochs": 3,
}
FORK = multiprocessing.get_context("forkserver")
Answer = tuple[int | None, list[str]]


def _run(folder: Path, name: str, largest: int | None) -> None:
    module, *arguments = STAGES[name]
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    torch.set_num_threads(2 if name in SIDE_BY_SIDE else 1)
    sys.argv = [f"{module}.py", *arguments]
    sys.modules.pop(f"replication.stages.{module}", None)
    runpy.run_module(f"replication.stages.{module}", run_name="__main__")


def run(
    folder: Path,
    name: str,
    largest: int | None = None,
    disturb: Callable[[Any], object] = lambda process: None,
) -> Answer:
    """Run a stage, and disturb it; its exit code and its lines on stderr.

    `largest` is the file in bytes that it may write: a disk without room.
    """
    process = FORK.Process(target=_run, args=(folder, name, largest))
    process.start()
    disturb(process)
    process.join(120)
    return process.exitcode, (folder / "stderr").read_text().splitlines()


class Project:
    """A project whose every stage has run once: what each made, in what time."""

    def __init__(self, folder: Path) -> None:
        modules = {f"replication.stages.{module}" for module, *_ in STAGES.values()}
        sections = {f"replication.sections.{s}.measure" for s in SIDE_BY_SIDE[1:]}
        FORK.set_forkserver_preload(sorted(modules | sections))
        self.folder = folder
        self.made: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}
        folder.mkdir()
        write_params(folder, SMALL)
        write_params(folder, SMALLER)
        for name in STAGES:
            before, since = self._files(), time.monotonic()
            assert run(folder, name) == (0, []), name
            self.made[name] = self._files() - before
            self.seconds[name] = time.monotonic() - since
        shutil.rmtree(folder / ".resume")

    def _files(self) -> set[str]:
        files = (self.folder / "outputs").rglob("*")
        return {f.relative_to(self.folder).as_posix() for f in files if f.is_file()}

    def without(self, name: str, folder: Path) -> Path:
        """A copy in which one stage has not run: what DVC leaves before it runs it."""
        shutil.copytree(self.folder, folder, copy_function=os.link)
        for path in (*self.made[name], folder / "stderr"):
            (folder / path).unlink()
        return folder

    def others(self, name: str, folder: Path) -> set[str]:
        """Files of a stage that are not the undisturbed run's; times may differ."""
        wrong = set()
        for path in self.made[name]:
            timed = {"records", "live"} & {*Path(path).parts}
            there = folder / path
            expected = (self.folder / path).read_bytes()
            if not timed and not (there.is_file() and there.read_bytes() == expected):
                wrong.add(path)
        return wrong


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("faults") / "project")


def check_refused(project: Project, name: str, folder: Path, answer: Answer) -> str:
    """One line, and nothing half; returns the line."""
    code, (line,) = answer
    assert code in (2, 130)
    assert not [p for p in project.others(name, folder) if (folder / p).is_file()]
    return line


def check_ends_equal(project: Project, name: str, folder: Path) -> None:
    assert run(folder, name)[0] == 0
    assert project.others(name, folder) == set()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *((name, signal.SIGKILL) for name in STAGES if name != "features ce"),
        *(("dlsa", signal.SIGINT), ("heads", signal.SIGINT)),
    ],
)
def test_stopped_stage_goes_on_to_the_same_bytes(
    project, tmp_path, name, number
) -> None:
    """At a moment that may come before its first state, or after its end."""
    folder = project.without(name, tmp_path / "copy")
    share = random.Random(name).random()

    def stop(process: Any) -> None:
        while not (folder / ".resume").is_dir() and process.is_alive():
            time.sleep(0.001)  # before the stage begins there is nothing to disturb
        time.sleep(share * project.seconds[name])
        if process.is_alive():
            os.kill(process.pid, number)

    answer = run(folder, name, disturb=stop)
    if answer[0] not in (0, -signal.SIGKILL):
        check_refused(project, name, folder, answer)
    check_ends_equal(project, name, folder)


@pytest.mark.parametrize(
    ("name", "largest"),
    [("features", 1000), ("backbone ce", 4000), ("decoupling", 2000)],
)
def test_full_disk(project, tmp_path, name, largest) -> None:
    folder = project.without(name, tmp_path / "copy")
    answer = run(folder, name, largest)
    assert "cannot be written" in check_refused(project, name, folder, answer)
    check_ends_equal(project, name, folder)


@pytest.mark.parametrize("place", ["outputs/places_lt/paco/heads", ".resume"])
def test_file_where_the_stage_needs_a_folder(project, tmp_path, place) -> None:
    folder = project.without("heads", tmp_path / "copy")
    shutil.rmtree(folder / place, ignore_errors=True)
    (folder / place).write_text("in the way")
    answer = run(folder, "heads")
    assert Path(place).name in check_refused(project, "heads", folder, answer)
    (folder / place).unlink()
    check_ends_equal(project, "heads", folder)


@pytest.mark.parametrize("name", ["features", "heads"])
def test_input_whose_end_is_missing(project, tmp_path, name) -> None:
    before = {"features": "backbone paco", "heads": "features"}[name]
    folder = project.without(name, tmp_path / "copy")
    path = next(p for p in sorted(project.made[before]) if p.endswith(".safetensors"))
    whole = (folder / path).read_bytes()
    (folder / path).unlink()  # the undisturbed project's own stays whole
    (folder / path).write_bytes(whole[: len(whole) // 2])
    assert path in check_refused(project, name, folder, run(folder, name))
    (folder / path).write_bytes(whole)
    check_ends_equal(project, name, folder)


@pytest.mark.parametrize("name", ["backbone ce", "dlsa", "estimator"])
def test_state_whose_end_is_missing(project, tmp_path, name) -> None:
    """Killed once there is a state; what is told to be deleted is made anew."""
    folder = project.without(name, tmp_path / "copy")

    def states() -> list[Path]:
        files = (folder / ".resume").rglob("[!.]*.*")
        return [p for p in files if p.suffix in (".pt", ".json", ".safetensors")]

    def stop(process: Any) -> None:
        while not states() and process.is_alive():
            time.sleep(0.002)
        process.kill()

    run(folder, name, disturb=stop)
    assert states()
    for state in states():
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    answer = run(folder, name)
    if answer[0] == 0:  # where what was cut is not what it goes on from
        assert project.others(name, folder) == set()
    else:
        assert "delete it" in check_refused(project, name, folder, answer)
    for state in states():
        state.unlink()
    check_ends_equal(project, name, folder)
