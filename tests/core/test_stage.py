"""What every stage shares: its lock, its record, its resume folder, its refusals."""

import errno
import hashlib
import os
import platform
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

from replication.core import stage as running
from replication.core.device import set_deterministic
from replication.core.files import (
    BadInput,
    content_hash,
    read_json,
    read_yaml,
    write_json,
    write_text,
)
from replication.core.settings import Settings, load
from replication.core.stage import (
    RESUME,
    Stage,
    dlsa_name,
    features_in_words,
    only_one,
    record_of,
    run,
)
from replication.published.reader import read_published_tables
from replication.stages import prepare

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
    monkeypatch.delenv("LOCAL_RANK", raising=False)
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
    holder, refused
) -> None:
    line = (
        f"held: expected no other run of this stage, process {holder.pid} is at it; "
        f"wait for it or stop it: kill {holder.pid}"
    )
    assert refused(lambda: enter("held")) == [line]
    assert refused(lambda: enter("held")) == [line]
    enter("another")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    enter("held")


FORKING = """
import os, sys, time
from replication.core.stage import only_one
with only_one("held"):
    if os.fork() == 0:
        time.sleep(1)  # outlives its parent, and has the lock as long
        os._exit(0)
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_lock_of_a_killed_run_is_waited_for_while_its_children_die(checkout) -> None:
    command = [sys.executable, "-c", FORKING]
    with subprocess.Popen(
        command, env=ENVIRONMENT, cwd=checkout, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(process.pid)
        process.wait()
        with (RESUME / "locks" / "held.lock").open() as lock:
            assert not running._locked(lock)
        enter("held")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOTDIR])
def test_what_the_disk_refuses_is_one_line(
    checkout, capsys, monkeypatch, number
) -> None:
    def body(_: Stage, benchmark: str) -> None:
        raise OSError(number, os.strerror(number), "outputs/x")

    monkeypatch.setattr(sys, "argv", ["toy.py", "own"])
    with pytest.raises(SystemExit) as ended:
        run(body, lambda benchmark: f"toy@{benchmark}")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"toy@own: outputs/x: cannot be written: {os.strerror(number)}\n"
    )


def test_a_missing_file_of_ours_keeps_its_traceback(checkout, monkeypatch) -> None:
    def body(_: Stage, benchmark: str) -> None:
        Path("never written").read_text()

    monkeypatch.setattr(sys, "argv", ["toy.py", "own"])
    with pytest.raises(FileNotFoundError):
        run(body, lambda benchmark: f"toy@{benchmark}")


def test_lock_is_free_after_the_block_however_it_ends(checkout) -> None:
    with pytest.raises(ZeroDivisionError), only_one("a"):
        raise ZeroDivisionError
    enter("a")
    enter("a")


def test_lock_names_its_present_holder(checkout, refused) -> None:
    """A longer number of an earlier holder leaves no digits behind."""
    place = RESUME / "locks" / "a.lock"
    write_text(place, "99999999999")
    with only_one("a"):
        assert place.read_text() == str(os.getpid())
        (problem,) = refused(lambda: enter("a"))
        assert f"process {os.getpid()} is at it" in problem


def test_child_of_a_run_needs_no_lock(checkout) -> None:
    with only_one("a"), only_one("a", skip=True):
        pass


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


def test_run_gives_the_stage_and_its_arguments(checkout, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    got = []
    run(lambda *given: got.append(given), lambda benchmark: f"prepare@{benchmark}")
    ((started, benchmark),) = got
    assert (started.name, benchmark) == ("prepare@own", "own")


def test_refusal_is_lines_on_stderr_and_code_2(run_with) -> None:
    def body(_: Stage, __: str) -> None:
        raise BadInput(["first problem", "second problem"])

    assert run_with(body, "own") == (2, ["first problem", "second problem"])


@pytest.mark.parametrize("arguments", [(), ("own", "ce")])
def test_wrong_number_of_arguments_is_refused(run_with, arguments) -> None:
    assert run_with(lambda *_: None, *arguments) == (
        2,
        [f"prepare: expected arguments (benchmark), got {list(arguments)}"],
    )


def test_broken_settings_are_refused(run_with, checkout) -> None:
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text + "\nlamda_mle: 1\n")
    assert run_with(lambda *_: None, "own") == (
        2,
        [
            "params.yaml: lamda_mle: expected a known setting, got this one; did you "
            "mean lambda_mle?"
        ],
    )


def test_unknown_benchmark_is_refused(run_with) -> None:
    code, lines = run_with(prepare.main, "imagenet")
    assert code == 2
    (line,) = lines
    assert "'imagenet'" in line and "imagenet_lt" in line


def test_operation_that_cannot_repeat_is_named(run_with, checkout) -> None:
    """As PyTorch refuses it; `put_` has no such form on any device."""
    text = (checkout / "params.yaml").read_text()
    assert "\ndeterministic: false" in text
    text = text.replace("\ndeterministic: false", "\ndeterministic: true")
    (checkout / "params.yaml").write_text(text)

    def body(stage: Stage, _: str) -> None:
        values = torch.zeros(3, device=stage.uses(torch.device("cpu")))
        values.put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

    try:
        assert run_with(body, "own") == (
            2,
            [
                "prepare@own: deterministic: expected operations that compute the same "
                "each time, got put_, which has no such form on this device; set "
                "deterministic=false or another network"
            ],
        )
    finally:
        set_deterministic(False)


def test_another_runtime_error_keeps_its_traceback(checkout, monkeypatch) -> None:
    def body(_: Stage, __: str) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(body, lambda benchmark: f"prepare@{benchmark}")


def test_interruption_is_code_130(run_with) -> None:
    def body(_: Stage, __: str) -> None:
        raise KeyboardInterrupt

    assert run_with(body, "own") == (
        130,
        ["prepare@own: interrupted; run it again and it goes on"],
    )


def test_defect_of_ours_keeps_its_traceback(checkout, monkeypatch) -> None:
    def body(_: Stage, __: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["prepare.py", "own"])
    with pytest.raises(ZeroDivisionError):
        run(body, lambda benchmark: f"prepare@{benchmark}")


def test_lock_is_held_while_the_body_runs(run_with, checkout) -> None:
    def body(_: Stage, benchmark: str) -> None:
        enter(f"prepare@{benchmark}")

    code, (line,) = run_with(body, "own")
    assert code == 2
    assert line.startswith("prepare@own: expected no other run of this stage")


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


# --- inputs and the record


def test_missing_input_is_refused(stage, refused) -> None:
    assert refused(lambda: stage.reads(Path("none.txt"))) == [
        "none.txt: expected a file, found nothing; run: dvc repro"
    ]


def test_record_says_what_ran(stage) -> None:
    stage.settings.filter("places_lt")
    stage.notes(images=3)
    stage.uses(torch.device("cpu"))
    stage.finish()
    record = read_json(RECORD)
    assert record["stage"] == "prepare@own"
    assert record["inputs"] == {"input.txt": content_hash(Path("input.txt"))}
    assert set(record["params"]) == stage.settings.keys_read
    assert record["params"]["lambda_pure"] is None
    assert record["images"] == 3
    assert record["threads"] == torch.get_num_threads()
    assert record["libraries"]["torch"] == torch.__version__.split("+")[0] or (
        record["libraries"]["torch"] == torch.__version__
    )
    assert record["seconds"] >= 0 and record["peak_memory_mb"] > 0


def test_record_has_seeds_and_settings_as_resolved(stage) -> None:
    """Published values are null in params.yaml; the record has what they came to."""
    stage.settings.filter("places_lt")
    stage.settings.seeds()
    stage.finish()
    record = read_json(RECORD)
    assert record["params"]["lambda_pure"] is None
    assert record["settings"]["places_lt.filter.lambda_pure"] == 0.03
    assert record["seeds"] == {"seeds": [0, 1, 2]}


@pytest.mark.parametrize(
    ("change", "same"), [(None, True), (("lambda_pure:", "lambda_pure: 0.5"), False)]
)
def test_settings_hash_is_of_the_settings_that_were_read(
    checkout, change, same
) -> None:
    def hashed() -> str:
        settings = load()
        settings.filter("places_lt")
        Stage("prepare@own", settings).finish()
        return read_json(RECORD)["settings_hash"]

    before = hashed()
    if change is not None:
        text = Path("params.yaml").read_text()
        assert change[0] in text
        Path("params.yaml").write_text(text.replace(*change))
    assert (hashed() == before) is same


def test_record_names_the_data_of_its_benchmark(checkout) -> None:
    write_json("outputs/own/data/summary.json", {"hash": "0123"})
    for name, data in (("prepare@own", "0123"), ("ablation@own-no_mle", "0123"),
                       ("prepare@inat18", None), ("audit", None)):  # fmt: skip
        Stage(name, shipped()).finish()
        assert read_json(record_of(name))["data_hash"] == data


def test_record_says_on_what_a_stage_computed(checkout) -> None:
    Stage("prepare@own", load()).finish()
    record = read_json(RECORD)
    assert (record["device_kind"], record["devices"]) == (None, None)
    started = Stage("prepare@own", load())
    started.uses(torch.device("cpu"))
    started.finish()
    record = read_json(RECORD)
    assert (record["device_kind"], record["devices"]) == ("cpu", 1)
    assert record["device"].startswith(record["device_model"])
    assert record["params"]["deterministic"] is record["deterministic"] is False


def test_record_has_the_energy_between_start_and_end(checkout, monkeypatch) -> None:
    """Two looks at a counter, 3 J apart; none where there is none to look at."""
    looks = iter([{"a": (10**6, 10**12)}, {"a": (4 * 10**6, 10**12)}])
    monkeypatch.setattr(running, "cpu_counters", lambda: next(looks))
    Stage("prepare@own", shipped()).finish()
    assert read_json(RECORD)["energy_joules"] == {"cpu": 3.0, "gpu": None}
    monkeypatch.setattr(running, "cpu_counters", dict)
    Stage("prepare@own", shipped()).finish()
    assert read_json(RECORD)["energy_joules"] == {"cpu": None, "gpu": None}


def test_record_names_no_machine_user_or_place(checkout) -> None:
    Stage("prepare@own", shipped()).finish()
    text = RECORD.read_text()
    for private in (platform.node(), str(checkout), str(ROOT), str(Path.home())):
        assert private not in text


def test_record_names_the_commit_and_whether_the_code_is_as_committed(
    checkout,
) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *who, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def recorded() -> tuple[str | None, bool]:
        Stage("prepare@own", shipped()).finish()
        record = read_json(RECORD)
        return record["commit"], record["clean"]

    assert recorded() == (None, False)
    write_text("replication/code.py", "")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert recorded() == (head, True)
    write_text("params.yaml", Path("params.yaml").read_text() + "\n")
    assert recorded() == (head, True)
    write_text("replication/code.py", "changed = True\n")
    assert recorded() == (head, False)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("input.txt", lambda text: text + "!"),
        ("params.yaml", lambda text: text + "\n# later\n"),
    ],
)
def test_change_under_the_run_is_refused(stage, refused, path, change) -> None:
    folder = stage.resume_folder("settings")
    write_text(path, change(Path(path).read_text()))
    assert refused(lambda: stage.finish()) == [
        "prepare@own: expected nothing to change while it ran, got changes in "
        f"{path}; run it again"
    ]
    assert not RECORD.exists()
    assert folder.is_dir()


@pytest.mark.parametrize("path", ["input.txt", "params.yaml"])
def test_loss_of_a_file_under_the_run_is_refused(stage, refused, path) -> None:
    Path(path).unlink()
    (problem,) = refused(lambda: stage.finish())
    assert problem.startswith("prepare@own: expected nothing to change while it ran")
    assert path in problem
    assert not RECORD.exists()


def test_change_of_the_code_under_the_run_is_refused(
    stage, refused, monkeypatch
) -> None:
    now = running.code_hashes()
    changed = {**now, "replication/files.py": "0" * 16}
    monkeypatch.setattr(running, "code_hashes", lambda: changed)
    assert refused(lambda: stage.finish()) == [
        "prepare@own: expected nothing to change while it ran, got changes in "
        "replication/files.py; run it again"
    ]


def test_code_that_counts_is_what_is_loaded() -> None:
    hashes = running.code_hashes()
    assert hashes["replication/stages/running.py"] == content_hash(
        ROOT / "replication" / "stages" / "running.py"
    )
    assert all(name.startswith("replication/") for name in hashes)


# --- names of stages, and their records


@pytest.mark.parametrize(
    ("stage", "folder"),
    [
        *(
            (f"{name}@inat18", "outputs/tables/records")
            for name in (
                "table1", "table2", "confusion", "sigma", "estimator", "separation",
            )
        ),
        ("audit", "outputs/tables/records"),
        ("ledger", "outputs/tables/records"),
        *(
            (f"{name}@inat18", "outputs/records")
            for name in ("prepare", "backbone_paco", "features_ce", "dlsa")
        ),
        ("ablation@places_lt-no_mle", "outputs/records"),
        ("report", "outputs/records"),
    ],
)  # fmt: skip
def test_record_lies_with_what_the_report_reads(stage: str, folder: str) -> None:
    """What only the report builds on lies with the tables; the others apart."""
    assert record_of(stage) == Path(folder) / f"{stage}.json"


def graph() -> dict[str, dict]:
    return read_yaml(ROOT / "dvc.yaml")["stages"]


@pytest.mark.parametrize("stage", graph())
def test_graph_declares_the_record_where_the_stage_writes_it(stage: str) -> None:
    found = graph()[stage]
    if "matrix" in found:
        name = stage + "@" + "-".join(f"${{item.{key}}}" for key in found["matrix"])
    else:
        name = f"{stage}@${{item}}" if "foreach" in found else stage
    outs = found.get("do", found)["outs"]
    records = [out for out in outs if isinstance(out, str) and "records/" in out]
    assert records == [record_of(name).as_posix()]


def test_full_model_has_a_stage_of_its_own_and_the_rest_are_the_ablation() -> None:
    assert dlsa_name("inat18", "full") == "dlsa@inat18"
    assert dlsa_name("places_lt", "no_mle") == "ablation@places_lt-no_mle"
    rows = set(read_published_tables()["table2"].rows)
    variants = next(
        group["variants"]
        for group in read_yaml(ROOT / "dvc.yaml")["vars"]
        if "variants" in group
    )
    assert rows == {"full", *variants}


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_runs_behind_a_stage_are_read_and_are_its_inputs(stage) -> None:
    """In the order asked, from wherever each lies."""
    names = ("prepare@inat18", "table1@inat18")
    for name in names:
        write_json(record_of(name), {"stage": name})
    assert stage.behind(*reversed(names)) == [
        {"stage": name, "record_md5": md5_of(record_of(name))}
        for name in reversed(names)
    ]
    stage.finish()
    assert set(read_json(RECORD)["inputs"]) == {
        "input.txt",
        *(record_of(name).as_posix() for name in names),
    }


def test_other_runs_behind_have_another_resume_folder(stage) -> None:
    """What was made from other features is not taken up."""
    write_json(record_of("dlsa@inat18"), {"seconds": 1})
    stage.behind("dlsa@inat18")
    folder = stage.resume_folder("settings")
    write_json(record_of("dlsa@inat18"), {"seconds": 2})
    stage.behind("dlsa@inat18")
    assert stage.resume_folder("settings") != folder


def test_run_behind_that_is_not_there_is_refused(stage, refused) -> None:
    assert refused(lambda: stage.behind("dlsa@inat18")) == [
        "outputs/records/dlsa@inat18.json: expected a file, found nothing; "
        "run: dvc repro"
    ]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"source": "none: features are imported"}, "imported, not made here"),
        (
            {
                "source": "imported from a checkpoint of PaCo",
                "backbone": {"network": "resnet50"},
            },
            "resnet50, imported from a checkpoint of PaCo",
        ),
        (
            {
                "source": "trained here",
                "backbone": {"network": "resnet8_cifar", "epochs": 12},
            },
            "a resnet8_cifar trained by PaCo for 12 epochs",
        ),
    ],
)
def test_features_in_words(facts: dict, words: str) -> None:
    runs = [
        {"stage": "prepare@inat18"},
        {"stage": "backbone_ce@inat18", "source": "none: features are imported"},
        {"stage": "backbone_paco@inat18", **facts},
        {"stage": "features_paco@inat18"},
    ]
    assert features_in_words(runs, "paco") == words
    assert features_in_words(runs, "ce") == "imported, not made here"


def test_features_by_cross_entropy_in_words() -> None:
    recipe = {"network": "resnet50", "epochs": 90}
    made = {"stage": "backbone_ce@inat18", "source": "trained here", "backbone": recipe}
    assert features_in_words([made], "ce") == (
        "a resnet50 trained by cross-entropy for 90 epochs"
    )


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


@pytest.mark.parametrize(
    "other", [(Plain(lr=0.2), 1), (Plain(lr=0.1), 2), (Plain(lr=0.1),)]
)
def test_other_settings_have_another_resume_folder(stage, other) -> None:
    folder = stage.resume_folder(Plain(lr=0.1), 1)
    write_text(folder / "state.pt", "state")
    changed = stage.resume_folder(*other)
    assert changed != folder
    assert changed.is_dir() and not any(changed.iterdir())
    assert not folder.exists()


def test_other_inputs_have_another_resume_folder(stage) -> None:
    folder = stage.resume_folder("settings")
    write_text("input.txt", "another input")
    stage.reads(Path("input.txt"))
    assert stage.resume_folder("settings") != folder


def test_other_code_has_another_resume_folder(stage, monkeypatch) -> None:
    folder = stage.resume_folder("settings")
    changed = {**running.code_hashes(), "replication/files.py": "0" * 16}
    monkeypatch.setattr(running, "code_hashes", lambda: changed)
    assert Stage("prepare@own", shipped()).resume_folder("settings") != folder


def test_a_run_that_repeats_takes_up_no_state_of_one_that_may_not(stage) -> None:
    folder = stage.resume_folder("settings")
    stage.deterministic = True
    assert stage.resume_folder("settings") != folder


def test_full_products_take_up_no_state_of_rounded_ones(stage) -> None:
    folder = stage.resume_folder("settings")
    stage.tf32 = True
    assert stage.resume_folder("settings") != folder


@pytest.mark.parametrize(
    ("tf32", "deterministic", "wanted"),
    [("false", "false", False), ("true", "false", True), ("true", "true", False)],
)
def test_tf32_is_the_setting_unless_all_must_repeat(
    checkout, tf32, deterministic, wanted
) -> None:
    text = (checkout / "params.yaml").read_text()
    for name, value in (("tf32", tf32), ("deterministic", deterministic)):
        assert f"\n{name}: false" in text
        text = text.replace(f"\n{name}: false", f"\n{name}: {value}")
    (checkout / "params.yaml").write_text(text)
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        Stage("prepare@own", load()).uses(torch.device("cpu"))
        assert torch.backends.cuda.matmul.allow_tf32 is wanted
    finally:
        set_deterministic(False)
        torch.backends.cuda.matmul.allow_tf32 = before


def test_other_stages_keep_their_resume_folders(stage) -> None:
    other = Stage("prepare@inat18", shipped()).resume_folder("settings")
    stage.resume_folder("settings")
    stage.finish()
    assert other.is_dir()


def test_finished_stage_leaves_no_state(stage) -> None:
    folder = stage.resume_folder("settings")
    write_text(folder / "state.pt", "state")
    stage.finish()
    assert not folder.exists()
    assert not (RESUME / "prepare@own").exists()
    assert RECORD.is_file()


# --- devices


def test_device_that_is_not_there_is_refused(refused, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert running.pick_device("cuda") == torch.device("cuda")
    assert running.pick_device("cuda:0") == torch.device("cuda:0")
    assert refused(lambda: running.pick_device("cuda:1")) == [
        "params.yaml: device: expected one of this machine's 1 GPUs or cpu, "
        "got 'cuda:1'"
    ]


def test_automatic_device_is_the_gpu_where_there_is_one(monkeypatch) -> None:
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert running.pick_device("auto") == torch.device(device)


# --- progress


def test_progress_in_a_log_says_the_last_step(capsys) -> None:
    with running.progress("training") as tell:
        for step in range(3):
            tell(step, 3, {"loss": 0.123456})
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines == ["training: 3/3  loss 0.1235"]
