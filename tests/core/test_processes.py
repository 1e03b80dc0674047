"""Several processes of one stage: who speaks, how they end, and how they go on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from replication.core.files import read_json, read_table
from replication.core.processes import is_first, launched
from replication.core.record import record_of
from replication.core.settings import load
from replication.core.stage import Stage
from replication.stages import backbone, prepare
from tests.made import ENVIRONMENT, is_alive, write_params

ROOT = Path(__file__).resolve().parents[2]

# What SLURM tells a process: of a batch script, of a shell, of each of srun's tasks.
BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
SHELL = {**BATCH, "SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_NAME": "bash"}
TASK = {**BATCH, "SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_NAME": "python"}
PTY = {**TASK, "SLURM_JOB_NAME": "mine", "SLURM_PTY_PORT": "4", "SLURM_TASK_PID": "1"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "SLURM_PROCID": "1"}


@pytest.fixture
def told(monkeypatch) -> Callable[[Mapping[str, str]], None]:
    """Be a process that its launcher told so."""
    for name in (*PTY, *TORCHRUN):
        monkeypatch.delenv(name, raising=False)

    def call(environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return call


@pytest.mark.parametrize(
    ("environment", "several", "first"),
    [
        ({}, False, True),
        (BATCH, False, True),
        ({**BATCH, "SLURM_STEP_NUM_TASKS": ""}, False, True),
        (SHELL, False, True),
        ({**SHELL, "SLURM_PROCID": "2"}, False, True),
        ({**SHELL, "SLURM_JOB_NAME": "zsh"}, False, True),
        (PTY, False, True),
        ({**PTY, "SLURM_TASK_PID": str(os.getpid())}, True, True),
        ({**SHELL, "SLURM_TASK_PID": str(os.getpid())}, True, True),
        (TASK, True, True),
        ({**TASK, "SLURM_PROCID": "2"}, True, False),
        (TORCHRUN, True, True),
        ({**TORCHRUN, "RANK": "1"}, True, False),
    ],
)
def test_who_is_one_of_several_and_who_speaks(
    told, environment, several, first
) -> None:
    told(environment)
    assert (launched(), is_first()) == (several, first)


# --- how they end: a stage of two processes, one of which does as it is told

TOY = """
import os, signal, sys, time
from replication.core import stage
from replication.core.files import BadInput

def body(stage, told):
    what, _, who = told.partition(" by ")
    if who in ("both", os.environ["RANK"]):
        if what == "refused":
            raise BadInput(["what: expected a, got b", "where: expected c, got d"])
        os.kill(os.getpid(), signal.SIGKILL)
    open("begun" + os.environ["RANK"], "w").close()
    time.sleep(60)

# However busy the machine: where both refuse, the second has time until it is ended.
stage._UNTIL_ENDED = 200.0 if sys.argv[1].endswith("both") else 0.0
stage.run(body, lambda told: "toy", lambda settings, told: 2)
"""
WHAT = ["what: expected a, got b", "where: expected c, got d"]
CASES: dict[str, tuple[int, list[str]]] = {
    "refused by 1": (2, WHAT),
    "refused by both": (2, WHAT),
    "killed by 1": (
        2,
        [
            "toy: expected 2 processes to the end, process 1 was ended by SIGKILL, "
            "perhaps for want of memory; run it again and it goes on"
        ],
    ),
    "interrupted": (130, ["toy: interrupted; run it again and it goes on"]),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> dict[str, tuple[int, list[str]]]:
    """Exit code and lines on stderr of each case, all run at once."""
    place = tmp_path_factory.mktemp("toy")
    (place / "toy.py").write_text(TOY)
    running = {}
    for case in CASES:
        (place / case).mkdir()
        shutil.copy(ROOT / "params.yaml", place / case)
        running[case] = started(
            ["toy", case],
            place / case,
            PYTHONPATH=f"{ROOT}:{place}",
            OMP_NUM_THREADS="2,1",  # as OpenMP takes it, a number a level
        )
    begun = [place / "interrupted" / f"begun{rank}" for rank in (0, 1)]
    wait_for(lambda: all(path.exists() for path in begun), running["interrupted"])
    running["interrupted"].send_signal(signal.SIGINT)
    return {case: finished(process) for case, process in running.items()}


@pytest.mark.parametrize("case", CASES)
def test_processes_end_together_and_say_why_once(ends, case) -> None:
    assert ends[case] == CASES[case]


def started(module: list[str], folder: Path, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen) -> tuple[int, list[str]]:
    try:
        _, err = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, err.splitlines()


def wait_for(what: Callable[[], object], process: subprocess.Popen) -> None:
    end = time.monotonic() + 240
    while not what():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


# --- a stage and the DVC that started it

WAITS = """
import os, time
from pathlib import Path
from replication.core import stage

def body(stage):
    Path("pid").write_text(str(os.getpid()))
    time.sleep(600)

stage.run(body, lambda: "waits")
"""
STARTS = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[2]])"


@pytest.mark.parametrize(
    ("parent", "runs", "outlives"),
    [
        ("dvc", "repro", False),
        ("dvc", "exec-run", False),
        ("script", "repro", True),
    ],
)
def test_a_stage_outlives_who_started_it_unless_that_is_dvc(
    tmp_path: Path, parent: str, runs: str, outlives: bool
) -> None:
    """Else it would go on beside the next `dvc repro`; what nohup started goes on."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / parent).write_text(STARTS)
    process = subprocess.Popen(
        [sys.executable, parent, runs, WAITS],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )
    place = tmp_path / "pid"
    wait_for(lambda: place.is_file() and place.read_text(), process)
    stage = int(place.read_text())
    process.kill()
    process.wait()
    end = time.monotonic() + (0.2 if outlives else 60)
    while is_alive(stage) and time.monotonic() < end:
        time.sleep(0.01)
    if lives := is_alive(stage):
        os.kill(stage, signal.SIGKILL)
    assert lives == outlives


# --- the real stage

EPOCHS = 5
SMALL = {
    "machine": {"device": "cpu", "devices": 2, "workers": 0},
    "backbone": {"network": "resnet8_cifar"},
    "data": {
        "num_classes": 8,
        "num_images": 400,
        "validation_per_class": 4,
        "test_per_class": 4,
    },
    "ce": {"epochs": EPOCHS},
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A checkout whose images are prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    write_params(folder, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.main(Stage("prepare@places_lt", load()), "places_lt")
    return folder


@pytest.fixture
def project(prepared: Path, tmp_path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "project"))


STAGE = ["replication.stages.backbone", "places_lt", "ce"]
MADE = Path("outputs") / "places_lt" / "ce"


@pytest.fixture(scope="module")
def by_srun(prepared: Path, tmp_path_factory) -> Path:
    """The stage as srun starts it: two machines of one task each."""
    folder = tmp_path_factory.mktemp("srun") / "project"
    shutil.copytree(prepared, folder)
    write_params(folder, {"machine": {"devices": 1}})  # the launcher's number counts
    job = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2",
        "SLURM_NODELIST": "localhost,elsewhere",
        "SLURM_LOCALID": "0",
    }
    tasks = [
        started(STAGE, folder, **job, SLURM_PROCID=rank, SLURM_NODEID=rank)
        for rank in ("0", "1")
    ]
    results = [finished(task) for task in tasks]
    assert [code for code, _ in results] == [0, 0], results
    return folder


def test_stage_by_srun_writes_everything_once(by_srun: Path) -> None:
    curves = read_table(by_srun / MADE / "training" / "training.csv")
    assert curves["epoch"].tolist() == list(range(1, EPOCHS + 1))
    assert curves["devices"].tolist() == [2] * EPOCHS
    live = by_srun / MADE / "training/live/plots/metrics/train_loss.tsv"
    assert len(live.read_text().splitlines()) == 1 + EPOCHS
    assert read_json(by_srun / record_of("backbone_ce@places_lt"))["devices"] == 2


def test_killed_process_ends_the_stage_which_goes_on_when_called_again(
    project: Path, by_srun: Path
) -> None:
    """To the same bytes as if nobody had been killed, whoever started the two."""
    process = started(STAGE, project)
    wait_for(lambda: list(project.rglob("state.pt")), process)
    os.kill(second(process), signal.SIGKILL)
    code, lines = finished(process)
    assert code == 2
    assert lines[-1] == (
        "backbone_ce@places_lt: expected 2 processes to the end, process 1 was ended "
        "by SIGKILL, perhaps for want of memory; run it again and it goes on"
    )
    assert not (project / record_of("backbone_ce@places_lt")).exists()
    assert list(project.rglob("state.pt"))
    code, lines = finished(started(STAGE, project))
    assert code == 0, lines
    for name in ("backbone/weights.safetensors", "training/training.csv"):
        both = [(folder / MADE / name).read_bytes() for folder in (project, by_srun)]
        assert both[0] == both[1]
    live = project / MADE / "training/live/plots/metrics/train_loss.tsv"
    epochs_again = len(live.read_text().splitlines()) - 1
    assert epochs_again < EPOCHS
    assert not (project / ".resume" / "backbone_ce@places_lt").exists()


def second(process: subprocess.Popen) -> int:
    """The process that torchrun started as its second."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    for child in children.split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError(f"{process.pid} has not started a second process")


@pytest.mark.parametrize("environment", [BATCH, SHELL, TASK], ids=str)
def test_nothing_to_train_waits_for_nobody(
    project: Path, monkeypatch, told, environment
) -> None:
    """Whatever SLURM told; of several tasks, the others leave without a word."""
    (project / "given").mkdir()
    features = {"features": str(project / "given")}
    write_params(project, {"inputs": {"places_lt": features}})
    monkeypatch.chdir(project)
    assert backbone.processes(load(), "places_lt", "ce") == 1
    about = MADE / "backbone" / "about.json"
    if environment is TASK:
        told({**TASK, "SLURM_PROCID": "3"})
        backbone.main(Stage("backbone_ce@places_lt", load()), "places_lt", "ce")
        assert not about.exists()
    told(environment)
    backbone.main(Stage("backbone_ce@places_lt", load()), "places_lt", "ce")
    assert read_json(about)["source"] == "none: features are imported"
