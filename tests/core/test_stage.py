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
from pydantic import BaseModel

from replication.core import stage as stages
from replication.core.device import set_deterministic
from replication.core.files import (
    BadInput,
    content_hash,
    read_json,
    write_json,
    write_text,
)
from replication.core.settings import Settings, load
from replication.core.stage import RESUME, Stage, only_one, run

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
    line = (
        f"held: expected no other run of this stage, process {holder.pid} is at it; "
        f"wait for it or stop it: kill {holder.pid}"
    )
    assert refused(lambda: enter("held")) == [line]
    enter("another")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    enter("held")


def test_lock_is_free_after_the_block_however_it_ends(checkout) -> None:
    with pytest.raises(ZeroDivisionError), only_one("a"):
        raise ZeroDivisionError
    enter("a")


def test_other_processes_of_one_stage_need_no_lock(checkout, monkeypatch) -> None:
    with only_one("a"):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
        monkeypatch.setenv("RANK", "1")
        enter("a")


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


def test_run_gives_the_stage_and_its_arguments_under_its_lock(
    checkout, monkeypatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    monkeypatch.setattr(stages, "_UNTIL_FREE", 0.1)
    got = []

    def body(*given: object) -> None:
        with pytest.raises(BadInput, match="no other run of this stage"):
            enter("prepare@own")
        got.append(given)

    run(body, lambda benchmark: f"prepare@{benchmark}")
    ((started, benchmark),) = got
    assert (started.name, benchmark) == ("prepare@own", "own")


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


@pytest.mark.parametrize("arguments", [(), ("own", "ce")])
def test_wrong_number_of_arguments_is_refused(run_with, arguments) -> None:
    assert run_with(lambda *_: None, *arguments) == (
        2,
        [f"prepare: expected arguments (benchmark), got {list(arguments)}"],
    )


def test_unknown_benchmark_is_refused(run_with) -> None:
    assert run_with(lambda *_: None, "imagenet") == (
        2,
        [
            "prepare@imagenet: expected one of imagenet_lt, places_lt, inat18, "
            "cifar100_lt, own, got 'imagenet'"
        ],
    )


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
        set_deterministic(False)


def test_stage_module_refuses_from_the_shell(checkout) -> None:
    (checkout / "params.yaml").write_text("a: [\n")
    done = subprocess.run(
        [sys.executable, "-m", "replication.stages.prepare", "places_lt"],
        env=ENVIRONMENT,
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("params.yaml: expected YAML, got ")


# --- facts of artefacts


def test_an_artefact_states_what_stands_behind_it(stage, monkeypatch) -> None:
    """Facts add up; so do the settings that differ from the recipe's."""
    write_json("a/about.json", {"source": "trained here", "departures": ["lambda_mle"]})
    write_json("b/about.json", {"start": "own_head", "departures": ["eta"]})
    monkeypatch.setattr(Settings, "departures", lambda _: ["sigma", "eta"])
    stage.states(Path("c"), Path("a"), Path("b"), start="balanced_softmax")
    assert read_json("c/about.json") == {
        "source": "trained here",
        "start": "balanced_softmax",
        "departures": ["eta", "lambda_mle", "sigma"],
    }
    stage.finish()
    assert {"a/about.json", "b/about.json"} <= set(read_json(RECORD)["inputs"])


def test_missing_input_is_refused(stage, refused) -> None:
    for action in (lambda: stage.reads(Path("none.txt")), lambda: stage.about(Path())):
        (problem,) = refused(action)
        assert problem.endswith(": expected a file, found nothing; run: dvc repro")


# --- the end of a run


@pytest.mark.parametrize("path", ["input.txt", "params.yaml"])
def test_change_of_an_input_under_the_run_is_refused(stage, refused, path) -> None:
    write_text(path, Path(path).read_text() + "\n# later\n")
    assert refused(stage.finish) == [
        "prepare@own: expected nothing to change while it ran, got changes in "
        f"{path}; run it again"
    ]
    assert not RECORD.exists()


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


def test_finished_stage_leaves_no_state_and_others_keep_theirs(stage) -> None:
    other = Stage("prepare@inat18", shipped()).resume_folder("settings")
    folder = stage.resume_folder("settings")
    stage.finish()
    assert not folder.exists() and other.is_dir()
    assert read_json(RECORD)["edited_while_running"] == []


# --- the resume folder


class Plain(BaseModel):
    """Stands for a section of the settings."""

    lr: float


def test_resume_folder_is_kept_for_the_same_settings(stage) -> None:
    folder = stage.resume_folder(Plain(lr=0.1), "32-true", 1)
    write_text(folder / "state.pt", "state")
    assert stage.resume_folder(Plain(lr=0.1), "32-true", 1) == folder
    assert (folder / "state.pt").read_text() == "state"
    assert folder.is_relative_to(RESUME / "prepare@own")


def test_other_settings_have_another_resume_folder_and_clear_the_first(stage) -> None:
    folder = stage.resume_folder(Plain(lr=0.1), 1)
    for other in [(Plain(lr=0.2), 1), (Plain(lr=0.1), 2), (Plain(lr=0.1),)]:
        changed = stage.resume_folder(*other)
        assert changed != folder and changed.is_dir() and not folder.exists()


def test_other_inputs_or_code_have_another_resume_folder(stage, monkeypatch) -> None:
    folders = {stage.resume_folder("settings")}
    monkeypatch.setattr(stages, "code_hash", lambda: "another")
    folders.add(stage.resume_folder("settings"))
    write_text("input.txt", "another input")
    stage.reads(Path("input.txt"))
    folders.add(stage.resume_folder("settings"))
    assert len(folders) == 3


@pytest.mark.parametrize("name", ["deterministic", "tf32"])
def test_other_arithmetic_takes_up_no_state(stage, monkeypatch, name) -> None:
    folder = stage.resume_folder("settings")
    monkeypatch.setattr(Settings, name, lambda _: True)
    assert stage.resume_folder("settings") != folder


@pytest.mark.parametrize(
    ("tf32", "deterministic", "wanted"),
    [(False, False, False), (True, False, True), (True, True, False)],
)
def test_tf32_is_the_setting_unless_all_must_repeat(
    stage, monkeypatch, tf32, deterministic, wanted
) -> None:
    monkeypatch.setattr(Settings, "tf32", lambda _: tf32)
    monkeypatch.setattr(Settings, "deterministic", lambda _: deterministic)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        stage.uses(torch.device("cpu"))
        assert torch.backends.cuda.matmul.allow_tf32 is wanted
    finally:
        set_deterministic(False)
        torch.backends.cuda.matmul.allow_tf32 = before


# --- the record


def test_record_says_what_ran(stage) -> None:
    stage.settings.filter("places_lt")
    stage.notes(images=3)
    stage.uses(torch.device("cpu"))
    stage.makes(Path("outputs/own/data"))
    stage.finish()
    record = read_json(RECORD)
    assert record["stage"] == "prepare@own"
    assert record["inputs"] == {"input.txt": content_hash(Path("input.txt"))}
    assert record["outputs"] == ["outputs/own/data"]
    assert set(record["params"]) == stage.settings.keys_read
    assert record["params"]["lambda_pure"] is None
    assert record["settings"]["places_lt.filter.lambda_pure"] == 0.03
    assert record["images"] == 3
    assert record["threads"] == torch.get_num_threads()
    assert record["seconds"] >= 0 and record["peak_memory_mb"] > 0
    assert (record["device_kind"], record["devices"]) == ("cpu", 1)
