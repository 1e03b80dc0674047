"""Keeping a run's pages beside those of others."""

import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from replication.core.files import write_json, write_table, write_text
from replication.core.record import record_of
from replication.core.stage import OUTPUTS
from replication.stages import keep as stage
from replication.stages.keep import changed_stages, keep, main
from replication.statistics.results import Cell, as_table
from tests.reporting.made import cell, claim, measurement, record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which an audit and a report were made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "changed_stages", list)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write_text("dvc.lock", "stages: {}")
    for name in ("audit", "of_an_earlier_run"):
        made = record(name, outputs=[f"outputs/tables/{name}.json"])
        write_json(record_of(name), made)
    write_text("reports/README.md", "[Audit](audit.md), [Table 2](table2.md)")
    write_text("reports/table2.md", "![b](figures/a/b.svg)")
    write_text("reports/audit.md", "![b](figures/audit/b.svg)")
    for name in ("a", "audit"):
        write_text(f"reports/figures/{name}/b.svg", "<svg/>")
    write_table(Path("results/cells.csv"), as_table([cell()], Cell))
    write_json(Path("results/claims.json"), [asdict(claim())])
    table2 = OUTPUTS / "tables" / "places_lt" / "table2.json"
    measurement().write(table2)
    monkeypatch.setattr(
        stage,
        "tables_shown",
        lambda settings: [Path("outputs/tables/audit.json"), table2],
    )
    return tmp_path


def test_pages_figures_results_and_the_records_behind_them_are_kept(finished) -> None:
    write_text("kept/mine/old.md", "of an earlier run")
    assert keep("mine") == Path("kept/mine")
    files = (path for path in Path("kept/mine").rglob("*") if path.is_file())
    assert {path.relative_to("kept/mine").as_posix() for path in files} == {
        "README.md",
        "table2.md",
        "figures/a/b.svg",
        "run/cells.csv",
        "run/about.json",
        "run/claims.json",
        "run/params.yaml",
        "run/dvc.lock",
        "run/records/audit.json",
    }
    index = Path("kept/mine/README.md").read_text()
    assert index == "[Audit](../../reports/audit.md), [Table 2](table2.md)"
    overview = Path("kept/README.md").read_text()
    assert "\n| [Places-LT, network](./mine/README.md) | " in overview


def test_pages_that_are_not_of_this_checkout_are_refused(
    finished, refused, monkeypatch
) -> None:
    write_text("kept/mine/old.md", "of an earlier run")
    monkeypatch.setattr(stage, "changed_stages", lambda: ["audit", "report"])
    assert refused(lambda: keep("mine")) == [
        "keep: expected pages of a finished run, got changes in audit, report; run: "
        "dvc repro"
    ]
    assert Path("kept/mine/old.md").is_file()


@pytest.mark.parametrize("name", ["../up", "A"])
def test_an_unusable_name_is_refused(refused, name: str) -> None:
    assert refused(lambda: keep(name)) == [
        f"keep: expected NAME of small letters, digits, _ and -, got {name!r}"
    ]


def test_nothing_to_keep_is_refused(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mine"]) == 2
    assert capsys.readouterr().err == (
        "reports: expected pages to keep, found none; run: dvc repro\n"
    )


def test_dvc_says_what_changed_or_why_it_cannot(monkeypatch, refused) -> None:
    def answer(code: int, out: str, err: str = "") -> None:
        done = SimpleNamespace(returncode=code, stdout=out, stderr=err)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    answer(0, '{"b": [], "a": []}')
    assert changed_stages() == ["a", "b"]
    answer(255, "", "INFO\nERROR: not a repository\n")
    assert refused(changed_stages) == ["keep: dvc status: ERROR: not a repository"]
