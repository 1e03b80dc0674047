"""Several processes of one stage, by every launcher: who speaks, and how they end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from replication.backbones.extraction import extract_features
from replication.backbones.networks import build_network
from replication.core.files import read_arrays, read_json, read_table, write_text
from replication.core.settings import load
from replication.core.stage import record_of
from replication.images.batches import read_split
from tests.test_whole import SMALL, checkout

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if "SLURM" not in key},
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "GLOO_SOCKET_IFNAME": "lo",
}

# A stage of two processes that meet, one of which then does as it was told. Forked from
# one that has imported everything: a case costs a fraction of a second.
TOY = """
import json, os, signal, socket, sys, time, traceback
from pathlib import Path
import torch
from replication.core.ranks import find_rank
from replication.backbones.training import make_fabric
from replication.core.files import BadInput
from replication.core.settings import MachineSettings
from replication.core import together

torch.set_num_threads(1)
MACHINE = MachineSettings(device="cpu", devices=1, precision="32-true", workers=0)

def body(stage, benchmark, told):
    rank = find_rank(os.environ).rank
    if told == "refused by both":
        raise BadInput(["what: expected a, got b", "where: expected c, got d"])
    fabric = make_fabric(MACHINE)
    fabric.barrier()
    what, _, who = told.partition(" by ")
    if who == str(rank):
        if what == "refused":
            raise BadInput(["what: expected a, got b", "where: expected c, got d"])
        if what == "failed":
            raise ZeroDivisionError("of rank " + who)
        if what == "interrupted":
            raise KeyboardInterrupt
        if what in ("killed", "stopped"):
            os.kill(os.getpid(), signal.SIGKILL if what == "killed" else signal.SIGSTOP)
        time.sleep(0.5)
    fabric.barrier()
    if rank == 0:
        Path("written").write_text(stage.name)

def stage():
    together._LOST = 16  # 8 s: on a busy machine a process can be silent for 2
    together.run_together(
        body, lambda benchmark, told: f"toy@{benchmark}", lambda *_: 1
    )

def task(folder, rank, port, arguments):
    os.chdir(folder)
    for number in (1, 2):
        file = os.open(f"{rank}.{number}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    # Two machines of a task each, as srun tells them.
    os.environ.update(
        SLURM_PROCID=str(rank), SLURM_LOCALID="0", SLURM_STEP_NUM_TASKS="2",
        SLURM_STEP_NUM_NODES="2", SLURM_STEP_NODELIST="localhost,elsewhere",
        SLURM_JOB_ID="1", MASTER_PORT=str(port),
    )
    sys.argv = ["toy.py", *arguments]
    code = 0
    try:
        stage()
    except SystemExit as exit_:
        code = exit_.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

def end_of(pid, last):
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > last:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.05)

def ends_of(pids, told):
    stopped = int(told[-1]) if told.startswith("stopped") else None
    order = sorted(range(len(pids)), key=lambda rank: rank == stopped)
    codes = {rank: end_of(pids[rank], last if rank != stopped else 0) for rank in order}
    return [codes[rank] for rank in range(len(pids))]

if sys.argv[1] == "cases":
    children = {}
    for folder, arguments in json.loads(sys.argv[2]).items():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for rank in (0, 1):
            pid = os.fork()
            if pid == 0:
                task(folder, rank, port, arguments)
            children.setdefault(folder, []).append(pid)
    last = time.monotonic() + 90
    codes = {folder: ends_of(pids, Path(folder).name)
             for folder, pids in children.items()}
    print("CODES", json.dumps(codes))
else:
    stage()
"""

WHAT = ["what: expected a, got b", "where: expected c, got d"]
LOST = (
    "toy@places_lt: expected 2 processes to the end, process {} was lost: killed, "
    "perhaps for want of memory, or its machine is gone; run it again and it goes on"
)
AGAIN = "toy@places_lt: interrupted; run it again and it goes on"
BAD = "params.yaml: devices: expected a number of at least 1, got 0"
# What one of two processes does; their exit codes; the lines of the first, or, where
# that is gone, of the second. None: it has to be killed in the end.
CASES: dict[str, tuple[list[int | None], list[str]]] = {
    "fine": ([0, 0], []),
    "late by 0": ([0, 0], []),
    "late by 1": ([0, 0], []),
    "refused by 0": ([2, 2], WHAT),
    "refused by 1": ([2, 2], WHAT),
    "refused by both": ([2, 2], WHAT),
    "refused before it began": ([2, 2], [BAD]),
    "interrupted by 0": ([130, 130], [AGAIN]),
    "interrupted by 1": ([130, 130], [AGAIN]),
    "failed by 1": (
        [1, 1],
        ["toy@places_lt: process 1 failed; its error stands above"],
    ),
    "killed by 0": ([-signal.SIGKILL, 2], [LOST.format(0)]),
    "killed by 1": ([2, -signal.SIGKILL], [LOST.format(1)]),
    "stopped by 0": ([None, 2], [LOST.format(0)]),
    "stopped by 1": ([2, None], [LOST.format(1)]),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    script = tmp_path_factory.mktemp("toy") / "toy.py"
    script.write_text(TOY)
    return script


def fill(folder: Path, **changes: int) -> Path:
    """An empty checkout."""
    folder.mkdir()
    text = (ROOT / "params.yaml").read_text()
    for name, value in changes.items():
        text = text.replace(f"\n{name}: 1 ", f"\n{name}: {value} ")
    write_text(folder / "params.yaml", text)
    return folder


@pytest.fixture(scope="module")
def cases(toy: Path, tmp_path_factory) -> Callable[[str], tuple[list, Path]]:
    """Exit codes of the two processes of a case, and the folder of what they said."""
    place = tmp_path_factory.mktemp("cases")
    told = {}
    for case in CASES:
        changes = {"devices": 0} if case == "refused before it began" else {}
        told[str(fill(place / case, **changes))] = ["places_lt", case]
    told[str(fill(place / "too few"))] = ["places_lt"]
    done = subprocess.run(
        [sys.executable, str(toy), "cases", json.dumps(told)],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("CODES ")]
    codes = json.loads(line.removeprefix("CODES "))
    return lambda case: (codes[str(place / case)], place / case)


THEIRS = (
    "Initializing distributed",
    "distributed_backend",
    "All distributed",
    "--",
    "Exception raised",
    "frame #",
    "<omitting",
)


def said(folder: Path, rank: int) -> list[str]:
    """What a process wrote to stderr, but for what the libraries say of themselves."""
    lines = (folder / f"{rank}.2").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith(THEIRS)]
    return [line for line in lines if "[c10d]" not in line]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_together_and_say_why_once(cases, case) -> None:
    codes, folder = cases(case)
    assert codes == CASES[case][0]
    last = 1 if case.endswith("by 0") and LOST.format(0) in CASES[case][1] else 0
    assert said(folder, last) == CASES[case][1]
    if case == "failed by 1":
        assert said(folder, 1)[-1] == "ZeroDivisionError: of rank 1"
    elif last == 0:
        assert said(folder, 1) == []
    assert (folder / "written").exists() == (codes == [0, 0])


def test_arguments_that_are_missing_are_missed_once(cases) -> None:
    codes, folder = cases("too few")
    assert codes == [2, 2]
    (line,) = said(folder, 0)
    assert line == "toy: expected arguments (benchmark, told), got ['places_lt']"
    assert said(folder, 1) == []


def test_torchrun_shows_a_refusal_once(toy: Path, tmp_path) -> None:
    """Its own report of which process failed stands beside it."""
    folder = fill(tmp_path / "here")
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *command, str(toy), "places_lt", "refused by 1"],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert [line for line in lines if line in WHAT] == WHAT


# --- the real stage

EPOCHS = 5
NETWORK = (
    "test_convnext"  # without batch-norm, which two processes have each for itself
)
TINY = {
    **SMALL,
    "device": "cpu",
    "devices": 2,
    "stand_in": SMALL["stand_in"]
    | {"network": NETWORK, "epochs": EPOCHS, "num_images": 400},
}


def stage_in(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """A stage in a checkout, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", f"replication.stages.{arguments[0]}", *arguments[1:]],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code and both outputs; nothing of the process's session stays."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        else:
            process.communicate()
    return process.returncode, out, err


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A checkout whose images are prepared."""
    folder = checkout(tmp_path_factory.mktemp("prepared") / "project", TINY)
    code, _, err = finished(stage_in(folder, "prepare", "places_lt"))
    assert code == 0, err
    return folder


@pytest.fixture
def project(prepared: Path, tmp_path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(prepared, folder)
    return folder


def on_one(folder: Path) -> None:
    """From now on one device, where no launcher says otherwise."""
    params = folder / "params.yaml"
    text = params.read_text()
    assert text.count("\ndevices: 2 ") == 1
    write_text(params, text.replace("\ndevices: 2 ", "\ndevices: 1 "))


def features(folder: Path) -> np.ndarray:
    """Of the training images, by the weights that a run left."""
    made = folder / "outputs" / "places_lt"
    settings = load(folder / "params.yaml").images("places_lt")
    state = read_arrays(made / "ce" / "backbone" / "weights.safetensors")
    network = build_network(NETWORK, 8, None, seed=0)
    network.load_state_dict({key: torch.from_numpy(v) for key, v in state.items()})
    split = read_split(made / "data", "train", None)
    return extract_features(network, split, settings, torch.device("cpu"), 0)


def record(folder: Path) -> dict:
    return read_json(folder / record_of("backbone_ce@places_lt"))


@pytest.fixture(scope="module")
def by_two_machines(prepared: Path, tmp_path_factory) -> Path:
    """The stage as srun starts it: two machines of one process each."""
    folder = tmp_path_factory.mktemp("srun") / "project"
    shutil.copytree(prepared, folder)
    on_one(folder)  # the launcher's number counts
    step = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "localhost,elsewhere",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_LOCALID": "0",
    }
    tasks = [
        stage_in(folder, "backbone", "places_lt", "ce", SLURM_PROCID=str(rank), **step)
        for rank in (0, 1)
    ]
    ends = [finished(task) for task in tasks]
    assert [code for code, *_ in ends] == [0, 0], ends
    assert f"{EPOCHS}/{EPOCHS}" in ends[0][1] and ends[1][1] == ""
    return folder


def test_stage_by_srun_writes_everything_once(by_two_machines: Path) -> None:
    made = by_two_machines / "outputs" / "places_lt" / "ce"
    curves = read_table(made / "training" / "training.csv")
    assert curves["epoch"].tolist() == list(range(1, EPOCHS + 1))
    assert curves["devices"].tolist() == [2] * EPOCHS
    lines = (made / "training/live/plots/metrics/train_loss.tsv").read_text()
    assert len(lines.splitlines()) == 1 + EPOCHS
    about = record(by_two_machines)
    assert about["devices"] == 2 and about["params"]["devices"] == 1
    assert not (by_two_machines / ".resume" / "backbone_ce@places_lt").exists()


def test_killed_process_ends_the_stage_and_one_device_takes_it_up(
    project: Path, by_two_machines: Path
) -> None:
    """`devices: 2` starts two; the second is killed; then the machine has one.

    What comes out is what two would have made, to the order of the sums.
    """
    process = stage_in(project, "backbone", "places_lt", "ce")
    wait_for(lambda: list(project.rglob("state.pt")), process)
    os.kill(second(process), signal.SIGKILL)
    code, _, err = finished(process)
    assert code == 2
    assert err.splitlines()[-1] == LOST.format(1).replace("toy", "backbone_ce")
    assert not (project / record_of("backbone_ce@places_lt")).exists()
    on_one(project)
    code, _, err = finished(stage_in(project, "backbone", "places_lt", "ce"))
    assert code == 0, err
    devices = record(project)["history"]["devices"]
    assert len(devices) == EPOCHS and devices[0] == 2 and devices[-1] == 1
    losses = [
        record(one)["history"]["train_loss"] for one in (project, by_two_machines)
    ]
    np.testing.assert_allclose(*losses, atol=1e-5)
    apart = np.abs(features(project) - features(by_two_machines)).max()
    assert apart < 1e-4 * np.abs(features(by_two_machines)).max()


def second(process: subprocess.Popen) -> int:
    """The process that a stage started as its second."""

    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for child in task.read_text().split():
        if (
            b"replication.stages.backbone"
            in Path(f"/proc/{child}/cmdline").read_bytes()
        ):
            return int(child)
    raise AssertionError(f"{process.pid} has not started a second process")


def wait_for(what: Callable[[], object], process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not what():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
