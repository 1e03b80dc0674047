"""The report: pages of what was run, tidy results, what differs between two runs."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from replication.core.files import write_json
from replication.core.record import record_of
from replication.core.settings import LISTS, load
from replication.core.stage import Stage
from replication.reporting.provenance import FOLDED
from replication.samples.predictions import predictions_table
from replication.stages import report
from replication.stages.report import SECTIONS, headline, judged_at_once
from replication.statistics.moves import decisions
from replication.statistics.results import PROTOCOLS, Measurement
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.made import ROOT, write_params
from tests.reporting.made import DATA, cell, claim, gap, measurement, record

TABLE2 = "outputs/tables/places_lt/table2.json"
FREE = claim(benchmark=None, grade="none needed", id="free", section="audit")
MEASURED = measurement(
    cells=(
        cell(),
        cell(metric="few", mean=0.30004),
        gap(minus="start"),
        gap(minus="start", protocol="as_released"),
    ),
    claims=(claim(sentence="s7_losses", p_value=0.02), FREE),
)


def page(one: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    return f"# {title}\n\n![a]({folder}/a.svg)\n", {"a.svg": "<svg/>"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a report of a made Table 2 and audit, with sections reduced to a frame."""
    made = SimpleNamespace(page=page, finding=lambda one: "Found.")
    monkeypatch.setattr(report, "import_module", lambda name: made)
    monkeypatch.chdir(tmp_path)
    some = {"benchmarks": ["places_lt"], "ablation": ["places_lt"]}
    write_params(tmp_path, {name: [] for name in LISTS} | some)
    MEASURED.write(Path(TABLE2))
    ladder = measurement(section="ladder", cells=(), claims=())
    ladder.write(Path("outputs/tables/places_lt/ladder.json"))
    for name in ("audit", "settings"):
        one = measurement(section=name, benchmark=None, cells=(), claims=(), data=None)
        one = replace(one, details={"discrepancies": []})
        one.write(Path(f"outputs/tables/{name}.json"))

    def call(**changes: object) -> Path:
        about = {"inputs": {"outputs/x/index.csv": "1"}, "outputs": [TABLE2]}
        for run in (
            record("prepare@places_lt", outputs=["outputs/x"], **changes),
            record("table2@places_lt", **about, **changes),
            record("audit", outputs=["outputs/tables/audit.json"], **changes),
            record("sigma@places_lt", outputs=["outputs/tables/places_lt/sigma.json"]),
        ):
            write_json(record_of(run["stage"]), run)
        report.main(Stage("report", load()))
        return tmp_path

    return call


# --- sections


def test_every_section_has_a_folder_and_every_list_a_section() -> None:
    folders = {file.parent.name for file in ROOT.glob("replication/sections/*/page.py")}
    assert {section.folder for section in SECTIONS} == folders
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)
    assert {section.listed for section in SECTIONS} - {None} == set(LISTS)


# --- pages


def test_what_was_run_has_a_page_and_every_link_leads_somewhere(checkout) -> None:
    reports = checkout() / "reports"
    index = (reports / "README.md").read_text()
    links = re.findall(r"\[(.*?)\]\((.*?)\)", index.split("## The pages")[1])
    assert links == [
        ("Does DLSA help?", "evidence.md"),
        ("From the head to DLSA on Places-LT", "ladder.md"),
        ("Audit of the printed numbers", "audit.md"),
        ("Hyper-parameters (Sect. 5)", "settings.md"),
        ("Table 2 (Sect. 7) on Places-LT", "table2.md"),
        ("Claims", "claims.md"),
        ("Discrepancies", "discrepancies.md"),
        ("Reproducibility report", "reproducibility.md"),
    ]
    pages = {file.name for file in reports.glob("*.md")}
    assert pages == {"README.md", *(file for _, file in links)}
    for file in reports.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", file.read_text()):
            there = ROOT / link[3:] if link.startswith("../") else reports / link
            assert there.is_file(), (file, link)


def test_the_stand_in_has_pages_of_its_own_and_real_pages_do_not_know_it(
    checkout,
) -> None:
    """Table 2 on real data, the ladder on glyphs: links lead from folder to folder."""
    drawn = claim(grade="stand-in", section="ladder", statement="Glyphs tell.")
    about = {"section": "ladder", "cells": (), "claims": (drawn,)}
    ladder = measurement(**about, data=DATA | {"stand_in": True})
    ladder.write(Path("outputs/tables/places_lt/ladder.json"))
    reports = checkout() / "reports"
    glyphs = reports / "stand_in"
    assert {file.name for file in glyphs.glob("*")} == {
        *("README.md", "ladder.md", "figures")
    }
    assert (glyphs / "figures" / "ladder-places_lt" / "a.svg").is_file()
    assert not (reports / "ladder.md").exists()
    home = (glyphs / "README.md").read_text()
    assert home.startswith("> **Drawn glyphs, not images.**")
    assert "[Drawn glyphs](stand_in/README.md)" in (reports / "README.md").read_text()
    for page in reports.glob("[!R]*.md"):
        words = page.read_text().split(FOLDED)[0]
        assert page.name == "discrepancies.md" or "lyphs" not in words, page


# --- what moved


def test_a_what_if_opens_the_index_and_nothing_does_where_nothing_differs(
    checkout,
) -> None:
    """DLSA decides all four images rightly, at the commit two of them; two seeds."""
    labels = np.array([0, 0, 1, 1])

    def decided(answers: list[int]) -> None:
        runs = {(seed, key): np.array(answers) for seed in (0, 1) for key in PROTOCOLS}
        kept = decisions({"full": predictions_table(labels, runs)})
        replace(MEASURED, decisions=kept).write(Path(TABLE2))

    def index() -> str:
        return (checkout() / "reports" / "README.md").read_text()

    decided([0, 1, 0, 1])
    assert "What this run changed" not in index()  # no Git repository, no commit
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "base")):
        subprocess.run([*git, *command], check=True)
    decided([0, 0, 1, 1])
    assert "What this run changed" not in index()  # no setting differs
    write_params(Path(), {"lambda_pure": 0.03})
    block = index().split("## What this run changed")[1].split("\n## ")[0]
    block = block.replace("\N{NO-BREAK SPACE}", " ")
    assert "`lambda_pure` from the recipe's to `0.03`." in block
    assert "| Full model | Places-LT | validated | 50.0 " in block
    assert "Seeds" not in block and "(0, 1) that both runs have" in block
    assert not (Path("reports") / "stand_in").exists()


def test_a_page_ends_with_the_runs_behind_it_and_no_others(checkout) -> None:
    text = (checkout() / "reports/table2.md").read_text()
    block = text.split(FOLDED)[1]
    assert "Data hash `da7a`. Command: `dvc repro table2@places_lt`." in block
    stages = re.findall(r"^\| (\S+@\S+) \|", block, re.MULTILINE)
    assert stages == ["prepare@places_lt", "table2@places_lt"]


def test_a_listed_benchmark_that_was_not_measured_is_refused(checkout, refused) -> None:
    Path(TABLE2).unlink()
    assert refused(checkout) == [
        f"{TABLE2}: expected a file, found nothing; run: dvc repro"
    ]


# --- results


def test_results_are_tidy_tables(checkout) -> None:
    results = checkout() / "results"
    cells = pd.read_csv(results / "cells.csv")
    assert list(cells["metric"]) == ["overall", "few", "overall", "overall"]
    assert list(cells["minus"].fillna(""))[:3] == ["", "", "start"]
    assert list(cells["mean"])[:2] == [0.4, 0.30004]
    assert cells["per_seed"][0] == "0.39 0.41"
    claims = pd.read_csv(results / "claims.csv")
    assert list(claims["holm"].fillna(-1)) == [0.02, -1]
    assert {file.name for file in results.iterdir()} == {
        *("cells.csv", "cells.json", "claims.csv", "claims.json", "metrics.json"),
        *("table1.csv", "table2.csv", "decisions.json"),
    }


def test_claims_of_all_sections_are_judged_at_once_and_each_counts_once() -> None:
    """Holm: 2 times 0.01, then 0.04. An equation comes out of each benchmark alike."""
    first = measurement(claims=(claim(id="a", p_value=0.04), FREE))
    second = measurement(claims=(claim(id="b", p_value=0.01), FREE))
    judged = judged_at_once({Path("a"): first, Path("b"): second})
    left = [
        (c.id, c.holm, c.verdict) for table in judged.values() for c in table.claims
    ]
    assert left == [
        ("a", 0.04, "supported"),
        ("free", None, "supported"),
        ("b", 0.02, "supported"),
        ("free", None, "supported"),
    ]
    third = measurement(claims=(claim(id="c", p_value=0.04),))
    judged = judged_at_once({Path("a"): first, Path("c"): third})
    assert judged[Path("c")].claims[0].verdict == UNDECIDED_AFTER


def test_headline_is_overall_and_few_of_protocol_paper() -> None:
    cells = [
        cell(mean=0.42125),
        cell(metric="few", mean=0.3),
        cell(metric="many", mean=0.5),
        cell(mean=0.9, protocol="as_released"),
        cell(method="start", metric="few", mean=None),
        gap(minus="start"),
        cell(section="table1"),
    ]
    assert headline(cells, "table2") == {
        "places_lt": {"full": {"overall": 0.4213, "few": 0.3}}
    }
