"""Keeping a run's pages beside those of others."""

import subprocess
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from replication.core.files import write_json, write_table, write_text
from replication.core.record import record_of
from replication.core.settings import LISTS
from replication.core.stage import OUTPUTS
from replication.stages import keep as stage
from replication.stages.keep import changed_stages, keep
from replication.statistics.results import Cell, as_table
from tests.made import write_params
from tests.reporting.made import DATA, cell, claim, measurement, record

TABLES = OUTPUTS / "tables" / "places_lt"
ABOUT = measurement().about | {
    "source": "weights x.pth",
    "departures": ["backbone.pretrained", "paco.epochs"],
}


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which a run on images of one's own and a report were made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "changed_stages", list)
    big = tmp_path / "big"
    write_text(big / "places" / "a.txt", "")
    write_text(big / "x.pth", "")
    changes = {name: [] for name in LISTS} | {
        "benchmarks": ["places_lt"],
        "ablation": ["places_lt"],
        "backbone": {"pretrained": str(big / "x.pth")},
        "paco": {"epochs": 0},
        "inputs": {"places_lt": {"images": str(big / "places")}},
    }
    write_params(tmp_path, changes)
    write_text("dvc.lock", f"images: {big}/places")
    for name in ("table2", "ladder"):
        measurement(section=name, about=ABOUT).write(TABLES / f"{name}.json")
        made = record(f"{name}@places_lt", outputs=[f"{TABLES}/{name}.json"])
        write_json(record_of(made["stage"]), made)
    write_json(record_of("audit"), record("audit"))
    write_text("reports/README.md", "# Index")
    write_text("reports/audit.md", "# Audit")
    write_text("reports/ladder.md", "> Data.\n\n# The ladder\n")
    links = "[a](audit.md), [b](ladder.md#x), [c](gone.md), [d](https://x.org/e.md)"
    write_text("reports/table2.md", f"# Table 2 on mine\n\n{links} of {big}/places")
    for name in ("table2-places_lt", "audit"):
        write_text(f"reports/figures/{name}/b.svg", "<svg/>")
    write_table(Path("results/cells.csv"), as_table([cell()], Cell))
    write_json(Path("results/claims.json"), [asdict(claim())])
    return tmp_path


def test_pages_figures_results_and_the_records_behind_them_are_kept(finished) -> None:
    write_text("kept/mine/old.md", "of an earlier run")
    assert keep("mine") == Path("kept/mine")
    files = (path for path in Path("kept/mine").rglob("*") if path.is_file())
    assert {path.relative_to("kept/mine").as_posix() for path in files} == {
        "README.md",
        "table2.md",
        "ladder.md",
        "figures/table2-places_lt/b.svg",
        "run/cells.csv",
        "run/about.json",
        "run/claims.json",
        "run/params.yaml",
        "run/dvc.lock",
        "run/records/table2@places_lt.json",
        "run/records/ladder@places_lt.json",
    }
    assert "(./mine/README.md)" in Path("kept/README.md").read_text()


def test_links_lead_on_and_no_folder_of_this_machine_is_told(finished) -> None:
    keep("mine")
    assert Path("kept/mine/table2.md").read_text() == (
        "# Table 2 on mine\n\n[a](../../reports/audit.md), [b](ladder.md#x), c, "
        "[d](https://x.org/e.md) of .../places"
    )
    texts = [path.read_text() for path in Path("kept").rglob("*") if path.is_file()]
    assert not any("/big/" in text for text in texts)


def test_a_kept_run_says_first_how_to_make_it_again_and_what_that_takes(
    finished,
) -> None:
    keep("mine")
    text = Path("kept/mine/README.md").read_text()
    for said in (
        "git worktree add ../again 0123456789\n",
        "cp kept/mine/run/params.yaml ../again",
        "put your own folder",
        "- **Cost**: 21 s and 500 MB at most, all stages together, on Chip, 2 threads.",
        "- **Places-LT**: imported, and not made by these commands: weights "
        "x.pth. Settings other than the recipe's: `backbone.pretrained: .../x.pth`, "
        "`inputs.places_lt.images: .../places`, `paco.epochs: 0`.",
        "[The ladder](ladder.md), [Table 2 on mine](table2.md)",
    ):
        assert said in text, said
    assert len(text.splitlines()) < 30


def test_a_run_on_the_stand_in_alone_is_refused(finished, refused) -> None:
    for name in ("table2", "ladder"):
        drawn = measurement(section=name, data=DATA | {"stand_in": True})
        drawn.write(TABLES / f"{name}.json")
    assert refused(lambda: keep("mine")) == [
        "keep: expected a run on real data, got the stand-in alone"
    ]
    assert not Path("kept/mine").exists()


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


def test_nothing_to_keep_is_refused(tmp_path, monkeypatch, refused) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(lambda: keep("mine")) == [
        "reports: expected pages to keep, found none; run: dvc repro"
    ]
    assert refused(lambda: keep("../up")) == [
        "keep: expected NAME of small letters, digits, _ and -, got '../up'"
    ]


def test_dvc_says_what_changed_or_why_it_cannot(monkeypatch, refused) -> None:
    def answer(code: int, out: str, err: str = "") -> None:
        done = SimpleNamespace(returncode=code, stdout=out, stderr=err)
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    answer(0, '{"b": [], "a": []}')
    assert changed_stages() == ["a", "b"]
    answer(255, "", "INFO\nERROR: not a repository\n")
    assert refused(changed_stages) == ["keep: dvc status: ERROR: not a repository"]
