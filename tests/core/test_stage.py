"""What every stage shares: its lock, artefacts' facts, resume folder, refusals."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from replication.core import stage as stages
from replication.core.device import set_arithmetic
from replication.core.files import (
    BadInput,
    read_json,
    write_json,
    write_text,
)
from replication.core.settings import Settings, load
from replication.core.stage import Stage, only_one, run

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path("outputs/records/prepare@own.json")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@lru_cache
def shipped() -> Settings:
    return load(ROOT / "params.yaml")


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """An empty checkout: params.yaml in the current directory."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stage(checkout) -> Stage:
    write_text("input.txt", "an input")
    started = Stage("prepare@own", shipped())
    started.reads(Path("input.txt"))
    return started


# --- the lock

HOLDER = """
import os, sys, time
from replication.core.stage import only_one
with only_one(sys.argv[1]):
    print(os.getpid(), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(checkout) -> Iterator[subprocess.Popen]:
    """A process that holds the lock of stage `held`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "held"],
        env=ENVIRONMENT,
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(process.pid)
        yield process
    finally:
        process.kill()
        process.communicate()


def enter(name: str) -> None:
    with only_one(name):
        pass


def test_second_run_is_told_who_has_the_lock_until_that_is_killed(
    holder, refused, monkeypatch
) -> None:
    monkeypatch.setattr(stages, "_UNTIL_FREE", 0.2)
    monkeypatch.setattr(stages, "_UNTIL_SAID", 0.1)
    line = (
        f"held: expected no other run of this stage, process {holder.pid} is at it; "
        f"wait for it or stop it: kill {holder.pid}"
    )
    assert refused(lambda: enter("held")) == [line]
    enter("another")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    enter("held")


# --- the command line


@pytest.fixture
def run_with(checkout, monkeypatch, capsys) -> Callable[..., tuple[int, list[str]]]:
    """Run a stage's body as from the command line: exit code, lines on stderr."""

    def call(body: Callable[..., None], *arguments: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["/where/it/is/prepare.py", *arguments])
        with pytest.raises(SystemExit) as exit_:
            run(body, lambda benchmark: f"prepare@{benchmark}")
        return exit_.value.code, capsys.readouterr().err.splitlines()

    return call


def raising(error: BaseException) -> Callable[..., None]:
    def body(_: Stage, benchmark: str) -> None:
        raise error

    return body


PLACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "outputs/x")


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (BadInput(["first", "second"]), 2, ["first", "second"]),
        (
            PLACE,
            2,
            [f"prepare@own: outputs/x: cannot be written: {os.strerror(errno.ENOSPC)}"],
        ),
        (
            KeyboardInterrupt(),
            130,
            ["prepare@own: interrupted; run it again and it goes on"],
        ),
    ],
)
def test_what_a_user_can_mend_is_lines_on_stderr(run_with, error, code, lines) -> None:
    assert run_with(raising(error), "own") == (code, lines)


@pytest.mark.parametrize("error", [FileNotFoundError, RuntimeError, ZeroDivisionError])
def test_a_defect_of_ours_keeps_its_traceback(checkout, monkeypatch, error) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    with pytest.raises(error):
        run(raising(error("ours")), lambda benchmark: f"prepare@{benchmark}")


def test_no_stage_of_a_run_gets_other_settings_than_the_first(
    checkout, run_with, monkeypatch
) -> None:
    """As where a second terminal's `dvc exp run -S` wrote params.yaml meanwhile."""
    done: list[str] = []

    def body(_: Stage, benchmark: str) -> None:
        done.append(benchmark)
        sys.exit(0)

    over, locks = subprocess.Popen("true"), checkout / ".resume" / "locks"
    over.wait()
    write_json(locks / f"dvc-{over.pid}-1.json", {})
    monkeypatch.setattr(stages, "runner", lambda: "dvc-1-2")
    assert run_with(body, "own")[0] == 0
    assert [file.stem for file in locks.glob("*.json")] == ["dvc-1-2"]
    params = (checkout / "params.yaml").read_text()
    other = params.replace("\nlambda_pure:", "\nlambda_pure: 0.3")
    (checkout / "params.yaml").write_text(f"# A comment is no setting.\n{params}")
    assert run_with(body, "own")[0] == 0
    (checkout / "params.yaml").write_text(other)
    assert run_with(body, "own") == (
        2,
        [
            "prepare@own: expected params.yaml as it was when this run began, got "
            "other values of lambda_pure, perhaps another terminal's -S; set them back "
            "and run it again"
        ],
    )
    for run_of in ("dvc-3-4", None):
        monkeypatch.setattr(stages, "runner", lambda run_of=run_of: run_of)
        assert run_with(body, "own")[0] == 0
    assert done == ["own"] * 4


BUS = "DataLoader worker (pid 7) is killed by signal: Bus error. It is"
TOO_MANY = OSError(errno.EMFILE, os.strerror(errno.EMFILE), "outputs/x")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(f"{BUS}\nand more"), "lower, to"),
        (RuntimeError("unable to open shared memory object </torch_7>"), "shm"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
            "batch sizes",
        ),
        (MemoryError("Unable to allocate 3 TiB for an array"), "batch sizes"),
        (MemoryError(), "batch sizes"),
        (TOO_MANY, "ulimit -n"),
    ],
)
def test_what_the_machine_lacks_is_one_line(run_with, error, words) -> None:
    code, (line,) = run_with(raising(error), "own")
    assert code == 2 and line.startswith("prepare@own: ")
    assert str(error).partition("\n")[0] in line
    assert words in line


def test_operation_that_cannot_repeat_is_named(run_with, monkeypatch) -> None:
    """As PyTorch refuses it; `put_` has no such form on any device."""
    monkeypatch.setattr(Settings, "deterministic", lambda _: True)

    def body(stage: Stage, _: str) -> None:
        values = torch.zeros(3, device=stage.uses(torch.device("cpu")))
        values.put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

    try:
        assert run_with(body, "own") == (
            2,
            [
                "prepare@own: machine.deterministic: expected operations that compute "
                "the same each time, got put_, which has no such form on this device; "
                "set it to false or take another network"
            ],
        )
    finally:
        set_arithmetic(False)


def test_of_several_processes_one_does_what_needs_no_other(
    checkout, monkeypatch
) -> None:
    """As where torchrun or srun starts a stage that is not made for several."""
    done: list[str] = []
    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        run(lambda *_, rank=rank: done.append(rank), lambda benchmark: benchmark)
    assert done == ["0"]


# --- facts of artefacts


def test_an_artefact_states_what_stands_behind_it(stage, monkeypatch) -> None:
    """Facts add up; so do the settings behind it, and whose they are."""
    nothing: dict[str, list[str]] = {"notes": [], "doubts": []}
    a = {"source": "trained here", "departures": ["lambda_mle"], "notes": ["Of a."]}
    trained = {"paco.lr": "published", "paco.epochs": "guess"}
    write_json("a/about.json", nothing | a | {"origins": trained})
    b = {"start": "own_head", "departures": ["eta"], "doubts": ["of b"]}
    fitted = {"head.lr": "guess"}
    write_json("b/about.json", nothing | b | {"origins": fitted})
    monkeypatch.setattr(Settings, "departures", lambda _: ["sigma", "eta"])
    own = {"filter.sigma": "scaled", "filter.eta": "overridden"}
    stage.settings.origins |= own
    stage.states(
        Path("c"), Path("a"), Path("b"), start="balanced_softmax", notes=["Of c."]
    )
    assert read_json("c/about.json") == {
        "source": "trained here",
        "start": "balanced_softmax",
        "departures": ["eta", "lambda_mle", "sigma"],
        "notes": ["Of a.", "Of c."],
        "doubts": ["of b"],
        "origins": trained | fitted | own,
        "guesses": {"count": 3, "of": 5},
    }
    stage.finish()
    assert {"a/about.json", "b/about.json"} <= set(read_json(RECORD)["inputs"])


# --- the end of a run


def test_change_of_what_was_read_is_refused_at_the_end(stage, refused) -> None:
    stage.settings.get("data.seed")
    write_text("input.txt", "later")
    params = Path("params.yaml").read_text()
    before, data, after = params.partition("\ndata:")
    after = after.replace("  seed: 0 ", "  seed: 7 ", 1)
    write_text("params.yaml", before + data + after)
    assert refused(stage.finish) == [
        "prepare@own: expected nothing to change while it ran, got changes in "
        "input.txt, params.yaml: data.seed; run it again"
    ]
    assert not RECORD.exists()


def test_change_of_what_was_not_read_loses_no_work(stage) -> None:
    write_text("params.yaml", Path("params.yaml").read_text() + "\n# later\n")
    stage.finish()
    assert RECORD.exists()


def test_change_of_code_under_the_run_is_recorded_and_loses_no_work(
    stage, monkeypatch
) -> None:
    """A module that is edited, and one that goes, such as by a checkout."""
    first, second, *_ = stages.loaded_modules()
    now = {**stages.loaded_modules(), first: "another"}
    del now[second]
    monkeypatch.setattr(stages, "loaded_modules", lambda: now)
    stage.finish()
    assert read_json(RECORD)["edited_while_running"] == [first, second]


# --- the resume folder


def test_resume_folder_is_of_settings_inputs_code_and_arithmetic(
    stage, monkeypatch
) -> None:
    """The same again is taken up; anything else has a new one, and the old stays."""
    monkeypatch.setattr(stages, "code_hash", lambda: "code")  # read once is enough
    settings = stage.settings.head("places_lt")
    folder = stage.resume_folder(settings, 1)
    assert stage.resume_folder(settings, 1) == folder
    assert folder.is_relative_to(".resume/prepare@own")
    folders = [folder, stage.resume_folder(settings.model_copy(update={"lr": 9}), 1)]
    folders.append(stage.resume_folder(settings, 2))
    assert folder.exists()
    monkeypatch.setattr(stages, "code_hash", lambda: "another")
    folders.append(stage.resume_folder(settings, 2))
    write_text("input.txt", "another input")
    stage.reads(Path("input.txt"))
    folders.append(stage.resume_folder(settings, 2))
    for name in ("deterministic", "tf32"):
        monkeypatch.setattr(Settings, name, lambda _: True)
        folders.append(stage.resume_folder(settings, 2))
    assert len(set(folders)) == len(folders) == 7
