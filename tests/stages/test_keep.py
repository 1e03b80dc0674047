"""Keeping a run's pages beside the default run's."""

import hashlib
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from replication.core.files import read_json, write_json, write_text
from replication.core.settings import load
from replication.core.stage import Stage, record_of
from replication.stages.keep import keep, kept_runs, main

ROOT = Path(__file__).resolve().parents[2]


def lock(*stages: str) -> None:
    """dvc.lock as DVC writes it after these stages, as far as records go."""
    entries = {}
    for stage in stages:
        record = record_of(stage)
        md5 = hashlib.md5(record.read_bytes()).hexdigest()
        entries[stage] = {"outs": [{"path": record.as_posix(), "md5": md5}]}
    YAML(typ="safe").dump({"schema": "2.0", "stages": entries}, Path("dvc.lock"))


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which an audit and a report were made."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    settings = load()
    settings.seeds()
    Stage("audit", settings).finish()
    report = Stage("report", load())
    report.notes(behind=["audit"])
    report.finish()
    lock("audit", "report")
    write_text("reports/README.md", "[Audit](audit.md) [far](https://example.org)")
    write_text("reports/audit.md", "![b](figures/a/b.svg) [up](README.md#there)")
    write_text("reports/figures/a/b.svg", "<svg/>")
    write_text("results/t.json", "{}")
    return tmp_path


def kept(name: str) -> set[str]:
    folder = Path("reports") / name
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_pages_figures_results_and_records_are_copied(finished: Path) -> None:
    write_text("reports/mine/old.md", "of an earlier run")
    write_json(record_of("sigma@inat18"), {"stage": "of an earlier run"})
    assert keep("mine") == Path("reports/mine")
    assert kept("mine") == {
        "README.md",
        "audit.md",
        "figures/a/b.svg",
        "run/t.json",
        "run/params.yaml",
        "run/dvc.lock",
        "run/records/audit.json",
        "run/records/report.json",
    }
    for name, original in (
        ("figures/a/b.svg", Path("reports/figures/a/b.svg")),
        ("run/params.yaml", Path("params.yaml")),
        ("run/records/audit.json", record_of("audit")),
    ):
        assert (Path("reports/mine") / name).read_bytes() == original.read_bytes()
    assert read_json("reports/mine/run/records/report.json")["behind"] == ["audit"]
    keep("other")  # the page of all kept runs is none of a run's
    assert kept("other") == kept("mine")
    assert "Kept runs" in Path("reports/kept.md").read_text()


def test_kept_runs_are_found_by_their_table_2(finished: Path) -> None:
    assert kept_runs() == []
    shutil.copytree(ROOT / "reports" / "cifar100_lt", "reports/first")
    keep("mine")
    assert [(run.name, run.benchmark) for run in kept_runs()] == [
        ("first", "cifar100_lt")
    ]
    page = Path("reports/kept.md").read_text()
    assert "[first](first/README.md) | CIFAR-100-LT | 100 | resnet32_cifar" in page


@pytest.mark.parametrize("link", ["../results/t.json", "figures/none.svg"])
def test_a_link_out_of_what_is_kept_is_refused(finished, refused, link) -> None:
    write_text("reports/audit.md", f"[a]({link})")
    write_text("reports/mine/old.md", "of an earlier run")
    assert refused(lambda: keep("mine")) == [
        f"reports/audit.md: expected links to what is kept, got {link}"
    ]
    assert kept("mine") == {"old.md"}


def test_a_record_that_is_gone_is_refused(finished, refused) -> None:
    record_of("audit").unlink()
    assert refused(lambda: keep("mine")) == [
        "outputs/tables/records/audit.json: expected a file, found nothing; "
        "run: dvc repro"
    ]


def test_settings_of_another_run_are_not_kept_with_the_pages(finished, refused) -> None:
    """params.yaml edited after the run is not what made the pages."""
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("\nseeds:", "\nseeds:\n- 7", 1))
    assert refused(lambda: keep("mine")) == [
        "keep: audit: seeds was [0, 1, 2], params.yaml has [7, 0, 1, 2]. Run: dvc repro"
    ]
    assert not Path("reports/mine").exists()


def test_a_lock_of_another_run_is_not_kept_with_the_pages(finished, refused) -> None:
    lock("report")
    assert refused(lambda: keep("mine")) == [
        "keep: audit: its run record is not the one that dvc.lock names. Run: dvc repro"
    ]


@pytest.mark.parametrize("name", ["", "../up", "A", "figures", "a/b"])
def test_an_unusable_name_is_refused(refused, name: str) -> None:
    assert refused(lambda: keep(name)) == [
        f"keep: expected NAME of small letters, digits, _ and -, got {name!r}"
    ]


def test_nothing_to_keep_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mine"]) == 2
    assert capsys.readouterr().err == (
        "reports: expected pages to keep, found none; run: dvc repro\n"
    )
