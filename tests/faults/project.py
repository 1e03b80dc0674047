"""A very small project whose stages are run, disturbed and compared, each in a second.

Stages run in processes forked from one that has imported everything: a start then costs
milliseconds, and what is killed is a real process with real files.
"""

import multiprocessing
import os
import resource
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from replication.core.files import read_json
from replication.core.stage import record_of
from tests.made import write_params

Stage = tuple[str, ...]
PACO, CE = ("places_lt", "paco"), ("places_lt", "ce")
# Name in dvc.yaml, module, arguments.
PREPARE: Stage = ("prepare@places_lt", "prepare", "places_lt")
STAGES: Mapping[str, Stage] = {
    "backbone paco": ("backbone_paco@places_lt", "backbone", *PACO),
    "features": ("features_paco@places_lt", "features", *PACO),
    "heads": ("heads_paco@places_lt", "heads", *PACO),
    "backbone ce": ("backbone_ce@places_lt", "backbone", *CE),
    "features ce": ("features_ce@places_lt", "features", *CE),
    "decoupling": ("decoupling@places_lt", "decoupling", "places_lt"),
    "dlsa": ("dlsa@places_lt-full", "dlsa", "places_lt", "full", "paco"),
    "sigma": ("sigma@places_lt", "section", "sigma", "places_lt"),
    "estimator": ("estimator@places_lt", "section", "estimator", "places_lt"),
    "separation": ("separation@places_lt", "section", "separation", "places_lt"),
}
LONG = tuple(name for name in STAGES if name != "features ce")
SMALL: Mapping[str, Any] = {
    "benchmarks": ["places_lt"],
    "comparison": ["places_lt"],
    "ablation": ["places_lt"],
    "confusion": ["places_lt"],
    "selection": ["places_lt"],
    "separation": ["places_lt"],
    "seeds": [0, 1],
    "machine": {"workers": 0, "device": "cpu"},
    "num_clusters": 8,
    "filter": {"epochs": 2, "batch_size": 64},
    "cascade": {"depth": 2},
    "classifier": {"epochs": 3},
    "head": {"epochs": 3},
    "decoupling": {"crt_epochs": 3, "lws_epochs": 2},
    "sweep": {"sigmas": [0.5], "draws": 20},
    "estimator": {"draws": 20, "steps": [1, 5], "probes": 3, "clusters": 4},
    "fig2": {
        "linear_epochs": 3,
        "boundaries": ["half_classes"],
        "epochs": 1,
        "probabilities": [0.5, 1.0],
    },
    "data": {
        "num_classes": 6,
        "num_images": 300,
        "validation_per_class": 3,
        "test_per_class": 5,
    },
    "view": {"image_size": 16, "resize": 16},
    "ce": {"epochs": 3},
    "paco": {"epochs": 3},
}
# With two threads their pieces run side by side, in processes of their own; others have
# one: two that wait for each other are slow where a machine has other work.
SIDE_BY_SIDE = ("dlsa", "sigma", "estimator", "separation")
# What says when and how fast something ran differs from run to run.
_TIMED = ("records", "live")


@dataclass(frozen=True)
class Ended:
    """How a run of a stage ended: exit code (minus the signal), lines on stderr."""

    code: int
    lines: tuple[str, ...]
    seconds: float

    def is_clear(self) -> bool:
        """One line that says what is wrong, and a code that says that something is."""
        return self.code in (2, 130) and len(self.lines) == 1


@dataclass(frozen=True)
class Project:
    """An undisturbed project: what each stage read and wrote, and how long it took.

    Fields: `made` stage -> its files, below the project; `seconds` stage -> wall time.
    """

    folder: Path
    made: Mapping[str, tuple[str, ...]]
    seconds: Mapping[str, float]

    def without(self, name: str, folder: Path) -> Path:
        """A copy in which one stage has not run: what DVC leaves before it runs it."""
        shutil.copytree(self.folder, folder, copy_function=os.link)
        for path in self.made[name]:
            (folder / path).unlink()
        return folder

    def differences(self, name: str, folder: Path) -> list[str]:
        """Files of a stage that are not those of the undisturbed run."""
        return [
            path
            for path in self.made[name]
            if not set(Path(path).parts) & set(_TIMED)
            and (
                not (folder / path).is_file()
                or (folder / path).read_bytes() != (self.folder / path).read_bytes()
            )
        ]

    def inputs(self, name: str) -> list[str]:
        """Arrays of the project that a stage read, by its own record.

        Of other files DVC compares the hashes before it runs a stage.
        """
        inputs = read_json(self.folder / record_of(STAGES[name][0]))["inputs"]
        arrays = (path for path in inputs if path.endswith(".safetensors"))
        return sorted(path for path in arrays if (self.folder / path).is_file())


def start_server() -> None:
    """Import everything once; later processes are forked from there."""
    context = multiprocessing.get_context("forkserver")
    stages = {f"replication.stages.{stage[1]}" for stage in STAGES.values()}
    sections = {
        f"replication.sections.{stage[2]}.measure"
        for stage in STAGES.values()
        if stage[1] == "section"
    }
    context.set_forkserver_preload(sorted(stages | sections))


def started(
    folder: Path, stage: Stage, log: Path, largest: int | None = None
) -> ForkServerProcess:
    """Start a stage in a project, its standard error in a log.

    `largest` is the file in bytes that it may write: a disk without room.
    """
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_run, args=(folder, stage, log, largest))
    process.start()
    return process


def ended(process: ForkServerProcess, log: Path, since: float) -> Ended:
    """Wait for a started stage."""
    process.join(120)
    assert process.exitcode is not None, f"{log}: still running"
    lines = tuple(log.read_text().splitlines()) if log.is_file() else ()
    return Ended(process.exitcode, lines, time.monotonic() - since)


def run(folder: Path, stage: Stage, largest: int | None = None) -> Ended:
    """Run a stage to its end."""
    log, since = folder.parent / f"{folder.name}.log", time.monotonic()
    return ended(started(folder, stage, log, largest), log, since)


def _run(folder: Path, stage: Stage, log: Path, largest: int | None) -> None:
    _, module, *arguments = stage
    with log.open("w") as errors, Path(os.devnull).open("w") as nothing:
        os.dup2(errors.fileno(), 2)
        os.dup2(nothing.fileno(), 1)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    torch.set_num_threads(2 if stage[0].split("@")[0] in SIDE_BY_SIDE else 1)
    sys.argv = [f"{module}.py", *arguments]
    sys.modules.pop(f"replication.stages.{module}", None)
    runpy.run_module(f"replication.stages.{module}", run_name="__main__")


def undisturbed(folder: Path) -> Project:
    """Run every stage once."""
    start_server()
    folder.mkdir(parents=True)
    write_params(folder, SMALL)
    made: dict[str, tuple[str, ...]] = {}
    seconds: dict[str, float] = {}
    for name, stage in {"prepare": PREPARE, **STAGES}.items():
        before = _files(folder)
        done = run(folder, stage)
        assert done.code == 0, (name, done.lines)
        made[name] = tuple(sorted(_files(folder) - before))
        seconds[name] = done.seconds
    shutil.rmtree(folder / ".resume")
    return Project(folder, made, seconds)


def _files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in (folder / "outputs").rglob("*")
        if path.is_file()
    }


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Damage a file of a copy; the undisturbed project's own stays whole."""
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)
