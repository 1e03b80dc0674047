"""What-ifs start from the commit, leave params.yaml alone, and never mix."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from replication.core.files import plain, read_json, read_yaml
from replication.core.processes import at_work, runner
from replication.core.settings import LISTS
from replication.stages import what_if

ROOT = Path(__file__).resolve().parents[2]
# In the place of DVC: keeps what it was given, says who runs it, and may take its time.
DVC = f"""#!/bin/sh
cp params.yaml ran.yaml
echo "$@" > asked
{sys.executable} -c 'import replication.core.processes as p; print(p.runner())' >runner
sleep ${{NAP:-0}}
exit 3
"""
GRAPH = "stages: {dlsa: {foreach: '${comparison}', do: {cmd: '${item}', outs: [x]}}}"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A commit of params.yaml, and a `dvc` on the path."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    tool = tmp_path / "bin" / "dvc"
    tool.parent.mkdir()
    tool.write_text(DVC)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "x"]):
        subprocess.run(["git", *who, *command], check=True)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple]:
    """Ask as `make what-if` does: exit code, and lines on stderr."""

    def become(program: str, command: list[str]) -> None:
        sys.exit(subprocess.run(command).returncode)

    monkeypatch.setattr(os, "execvp", become)

    def call(settings: str, at: str = "") -> tuple[int, list[str]]:
        monkeypatch.setenv("S", settings)
        monkeypatch.setenv("AT", at)
        with pytest.raises(SystemExit) as ended:
            what_if.main()
        return ended.value.code, capsys.readouterr().err.splitlines()

    return call


def test_each_starts_from_the_commit_whatever_came_before(
    checkout, asked, monkeypatch
) -> None:
    """Values need no quotes: paths with spaces, `~` and `=` are as they are."""
    own = (checkout / "params.yaml").read_text().replace("\nsigma:", "\nsigma: 0.9")
    assert asked("lambda_pure=0.3 seeds=[0, 1]", at="dlsa@inat18")[0] == 3
    committed = read_yaml(ROOT / "params.yaml")
    ran = read_yaml("ran.yaml")
    assert ran == committed | {"lambda_pure": 0.3, "seeds": [0, 1]}
    assert "# " in Path("ran.yaml").read_text()
    assert Path("asked").read_text() == "exp run dlsa@inat18\n"
    assert not Path(".resume/params.yaml").exists()
    Path("params.yaml").write_text(own)
    (checkout / "my data" / "lr=0.1").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(checkout))
    lists = [f"{name}=[]" for name in LISTS[1:]]
    asked(" ".join(["inputs.own.images=~/my data/lr=0.1 benchmarks=[own]", *lists]))
    ran = read_yaml("ran.yaml")
    assert ran["inputs"]["own"]["images"] == "~/my data/lr=0.1"
    assert ran["lambda_pure"] == committed["lambda_pure"]
    assert ran["sigma"] == committed["sigma"]
    assert Path(".resume/params.yaml").read_text() == own


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("", 'S: expected settings, such as S="lambda_pure=0.3", got none'),
        ("lambda_pure", "S: expected <setting>=<value>, got 'lambda_pure'"),
        ("seeds=[0", "S: expected <setting>=<value>, got 'seeds=[0'"),
        (
            "lambda_pur=1",
            "params.yaml: lambda_pur: expected a known setting, got this one",
        ),
        (
            "eta=0.5",
            "params.yaml: eta: expected a known setting, got this one; did you mean "
            "filter.eta?",
        ),
        (
            "inputs.own.images=/tmp",
            "params.yaml: inputs.own.images: expected own in benchmarks, which nothing "
            "else reads this for, got ['cifar100_lt', 'inat18']",
        ),
        ("sigma.x=1", "params.yaml: sigma.x: expected a known setting, got this one"),
        (
            "lambda_pure=-1",
            "params.yaml: lambda_pure: expected greater than or equal to 0, got -1",
        ),
        (
            "ablation=[inat18] benchmarks=[places_lt] comparison=[] confusion=[] "
            "selection=[] separation=[]",
            "params.yaml: ablation: expected benchmarks out of benchmarks: "
            "['places_lt'], got inat18",
        ),
    ],
)
def test_what_is_refused_leaves_no_trace(checkout, asked, settings, problem) -> None:
    assert asked(settings) == (2, [problem])
    assert not Path("ran.yaml").exists()
    assert Path("params.yaml").read_text() == (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("was", "now", "problem"),
    [
        ("\nlambda_pure:", "\nlambda_pure: [", "expected YAML, got "),
        ("- inat18\ncomparison", "- inat\ncomparison", "benchmarks.1: expected "),
        ("diagnosis: []", "diagnosis: inat18", "diagnosis: expected a valid list"),
    ],
)
def test_make_repro_refuses_what_dvc_would_in_its_own_words(
    checkout, was, now, problem
) -> None:
    shutil.copy(ROOT / "Makefile", checkout)
    params = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(params.replace(was, now))
    command = ["make", "-o", ".venv/.ready", "repro"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stderr.splitlines()[0].startswith(f"params.yaml: {problem}")
    assert ended.returncode == 2 and not Path("asked").exists()


def test_a_stage_that_is_not_there_is_refused_and_leaves_no_trace(
    checkout, asked
) -> None:
    """By the settings asked for: what they do not list has no stage."""
    known = "comparison=[cifar100_lt] ablation=[] separation=[]"
    assert asked(known, at="dlsa@inat18") == (
        2,
        ["AT: Stage 'dlsa@inat18' not found inside 'dvc.yaml' file"],
    )
    assert Path("params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_a_second_run_is_refused_and_changes_nothing(checkout, asked) -> None:
    busy = subprocess.Popen(["bin/dvc", "repro"], env={**os.environ, "NAP": "60"})
    try:
        deadline = time.monotonic() + 20
        while at_work() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert asked("lambda_pure=0.3") == (
            2,
            [
                "what_if: expected no other run in this checkout, DVC's process "
                f"{busy.pid} is at it; wait for it"
            ],
        )
    finally:
        busy.kill()
        busy.wait()
    assert Path("params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_a_stage_knows_the_run_that_started_it(checkout, asked) -> None:
    asked("lambda_pure=0.3")
    first = Path("runner").read_text()
    asked("lambda_pure=0.3")
    assert first.startswith("dvc-") and Path("runner").read_text() not in (
        "None",
        first,
    )
    assert runner() is None


def test_a_run_is_held_to_what_was_asked_before_any_stage_looks(checkout) -> None:
    """Another terminal's -S may have come by then."""
    asking = {**os.environ, "S": "lambda_pure=0.3", "AT": ""}
    subprocess.run([sys.executable, "-m", "replication.stages.what_if"], env=asking)
    held = read_json(f".resume/locks/{Path('runner').read_text().strip()}.json")
    assert held == plain(read_yaml(ROOT / "params.yaml")) | {"lambda_pure": 0.3}


def test_a_downloaded_archive_is_told_what_to_do(checkout, asked) -> None:
    """By `make repro` too, before DVC is asked."""
    shutil.rmtree(".git")
    shutil.copy(ROOT / "Makefile", checkout)
    (problem,) = asked("lambda_pure=0.3")[1]
    command = ["make", "-o", ".venv/.ready", "repro"]
    ended = subprocess.run(command, capture_output=True, text=True)
    for line in (problem, ended.stderr.splitlines()[0]):
        assert line.endswith("git init && git add -A && git commit -m start")
    assert ended.returncode == 2 and not Path("asked").exists()


def test_a_checkout_that_cannot_be_written_is_one_line(checkout, asked) -> None:
    Path(".resume").write_text("in the way")
    assert asked("lambda_pure=0.3") == (2, ["what_if: .resume/locks: Not a directory"])


@pytest.mark.parametrize("known", [False, True])
def test_who_commits_is_named_where_git_knows_nobody(
    checkout, asked, monkeypatch, known
) -> None:
    """As in a container; a name that there is stays."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    names = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER")
             for what in ("NAME", "EMAIL")]  # fmt: skip
    for name in names:
        monkeypatch.delenv(name, raising=False)
    if known:
        subprocess.run(["git", "config", "user.name", "a"], check=True)
        subprocess.run(["git", "config", "user.email", "a@b"], check=True)
    before = dict(os.environ)
    try:
        assert asked("lambda_pure=0.3")[0] == 3
        given = [os.environ.get(name) for name in names]
    finally:
        os.environ.clear()
        os.environ.update(before)
    ours = ["what-if", "what-if@localhost"] * 2
    assert given == [None] * 4 if known else given == ours


def test_another_owners_checkout_is_told_what_to_do(
    checkout, asked, monkeypatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    (problem,) = asked("lambda_pure=0.3")[1]
    assert problem == (
        "what_if: expected a checkout of your own, got another owner's; clone it, or: "
        f"git config --global --add safe.directory {checkout}"
    )
