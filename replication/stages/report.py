"""report: what every section measured becomes results/ and reports/."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from replication.core.files import read_yaml, write_json, write_table, write_text
from replication.core.record import committed, read_records, records_behind
from replication.core.settings import PARAMS, Settings
from replication.core.stage import KEPT, OUTPUTS, REPORTS, RESULTS, Stage, run
from replication.published.reader import read_published_claims, read_published_tables
from replication.reporting.claims import claims_page
from replication.reporting.evidence import evidence_page, finding
from replication.reporting.headlines import of_print
from replication.reporting.index import index_page, scoreboard, stand_in_page
from replication.reporting.kept import kept_runs
from replication.reporting.moved import (
    changed_settings,
    given_settings,
    moved_block,
    of_interest,
)
from replication.reporting.pages import STAND_IN, Page, Part
from replication.reporting.rendering import relinked, render, settings_sentence
from replication.reporting.reproducibility import reproducibility_page
from replication.reporting.runs import RealRun
from replication.statistics.moves import gathered, moves
from replication.statistics.results import Cell, Claim, Measurement, as_table, grade_of
from replication.statistics.verdicts import corrected


@dataclass(frozen=True)
class Section:
    """A folder of sections/, and the page that it has.

    Fields: `folder`; `title` for a reader; `listed`, the list in params.yaml that names
    its benchmarks, None where it needs no data; `module` of the folder that makes the
    page, called after the folder or, where it is another than `page`, after that.
    """

    folder: str
    title: str
    listed: str | None = None
    module: str = "page"

    @property
    def name(self) -> str:
        """Of the page."""
        return self.folder if self.module == "page" else self.module

    def tables(self, settings: Settings) -> list[Path]:
        """Its measurements, one a benchmark."""
        folders = settings.listed(self.listed) if self.listed else ("",)
        return [OUTPUTS / "tables" / name / f"{self.folder}.json" for name in folders]


# In the order of the paper; then what goes beyond it.
SECTIONS = (
    Section("separation", "Fig. 2, separation (Sect. 1)", "separation"),
    Section("estimator", "Momentum estimator (Sect. 2)", "selection"),
    Section("sigma", "Selection of σ (Sect. 3)", "selection"),
    Section("confusion", "Fig. 3, confusion matrices (Sect. 4)", "confusion"),
    Section("settings", "Hyper-parameters (Sect. 5)"),
    Section("table1", "Table 1 (Sect. 6)", "comparison"),
    Section("table2", "Table 2 (Sect. 7)", "ablation"),
    Section("ladder", "From the head to DLSA", "benchmarks"),
    Section("diagnosis", "What DLSA would need", "diagnosis"),
    Section("audit", "Audit of the printed numbers"),
    Section("settings", "Discrepancies", module="discrepancies"),
)

DECISIONS = RESULTS / "decisions.json"


@dataclass(frozen=True)
class Results:
    """All that was measured.

    Fields: `measured` by the file that has it; `titles` of the benchmarks; `records` of
    the runs by stage; `real`: this run on each benchmark with real data, and every kept
    run.
    """

    measured: Mapping[Path, Measurement]
    titles: Mapping[str | None, str]
    records: dict[str, dict[str, Any]]
    real: Sequence[RealRun]

    def claims(self) -> list[Claim]:
        """All but those on the stand-in; each once."""
        claims = (claim for table in self.measured.values() for claim in table.claims)
        return [claim for claim in dict.fromkeys(claims) if claim.grade != "stand-in"]

    def not_drawn(self) -> list[Path]:
        """Files of what was measured on real data or on none."""
        return [path for path, table in self.measured.items() if not _drawn(table)]


def main(stage: Stage) -> None:
    """Write results/, and every page with its figures."""
    measured = judged_at_once(
        {
            path: Measurement.read(stage.reads(path))
            for section in SECTIONS
            for path in section.tables(stage.settings)
        }
    )
    benchmarks = {table.benchmark for table in measured.values()} - {None}
    titles = {name: stage.settings.title(name) for name in benchmarks}
    results = Results(measured, titles, read_records(), _real_runs(measured, titles))
    write_results(list(measured.values()))
    claims = claims_page(results.claims(), titles)
    pages = [
        _evidence_page(results),
        Page("claims.md", [_part(results, "Claims", claims, results.not_drawn())]),
        _reproducibility_page(results),
    ]
    for section in SECTIONS:
        pages += _section_pages(section, section.tables(stage.settings), results)
    write_pages(pages, results)
    stage.finish()


def judged_at_once(measured: Mapping[Path, Measurement]) -> dict[Path, Measurement]:
    """The measurements, each verdict the one that all tests together leave.

    What needs no data comes out of several benchmarks' measurements alike, and counts
    once.
    """
    claims = list(dict.fromkeys(c for table in measured.values() for c in table.claims))
    left = dict(zip(claims, corrected(claims), strict=True))
    return {
        path: replace(table, claims=tuple(left[claim] for claim in table.claims))
        for path, table in measured.items()
    }


def _drawn(table: Measurement) -> bool:
    """Whether a measurement is of the stand-in."""
    return bool(table.data and table.data["stand_in"])


def _evidence_tables(measured: Mapping[Path, Measurement]) -> dict[Path, Measurement]:
    """What asks on real data whether DLSA helps: Table 2, or else Table 1."""
    of_benchmark = {
        table.benchmark: (path, table)
        for section in ("table1", "table2")
        for path, table in measured.items()
        if table.section == section and not _drawn(table)
    }
    return dict(of_benchmark.values())


def _real_runs(
    measured: Mapping[Path, Measurement], titles: Mapping[str | None, str]
) -> list[RealRun]:
    given = given_settings(read_yaml(PARAMS))
    cells = [cell for table in measured.values() for cell in table.cells]
    claims = [claim for table in measured.values() for claim in table.claims]
    here = [
        RealRun.of(
            table.benchmark,
            cells,
            claims,
            title=titles[table.benchmark],
            features=table.about["features"],
            grade=grade_of(table.data, table.about),
            link=f"{table.section}.md",
            changed={k: v for k, v in given.items() if k in table.about["departures"]},
            backbone=given["backbone.seed"],
        )
        for table in _evidence_tables(measured).values()
    ]
    return [*here, *(run for run in kept_runs(KEPT, "../kept") if run.cells)]


# ---- Results ----------------------------------------------------------------------


def write_results(tables: Sequence[Measurement]) -> None:
    """The numbers behind the pages, for people and machines other than this suite."""
    cells = [cell for table in tables for cell in table.cells]
    claims = list(dict.fromkeys(claim for table in tables for claim in table.claims))
    for name, rows, kind in (("cells", cells, Cell), ("claims", claims, Claim)):
        write_table(RESULTS / f"{name}.csv", as_table(rows, kind))
        write_json(RESULTS / f"{name}.json", [asdict(row) for row in rows])
    metrics = {name: headline(cells, name) for name in ("table1", "table2")}
    write_json(RESULTS / "metrics.json", metrics)
    write_json(DECISIONS, gathered(tables))
    for name, of_benchmark in metrics.items():  # a row a bar, for `dvc plots`
        bars = [
            (f"{benchmark}: {method}", round(100 * scores["overall"], 2))
            for benchmark, methods in of_benchmark.items()
            for method, scores in methods.items()
        ]
        plotted = pd.DataFrame(bars, columns=["method", "overall_percent"])
        write_table(RESULTS / f"{name}.csv", plotted)


def headline(cells: Iterable[Cell], section: str) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` is for, in fractions.

    Overall and Few of each method, protocol `validated`.
    """
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    for cell in cells:
        shown = cell.metric in ("overall", "few") and cell.minus is None
        asked = cell.section == section and cell.protocol == "validated"
        if shown and asked and cell.mean is not None:
            method = numbers.setdefault(cell.benchmark, {}).setdefault(cell.method, {})
            method[cell.metric] = round(cell.mean, 4)
    return numbers


# ---- Pages ------------------------------------------------------------------------


def write_pages(pages: Iterable[Page], results: Results) -> None:
    """Every page that has something to show, its figures, and the index."""
    pages = [page for page in pages if page.parts]
    if drawn := [page for page in pages if page.file.startswith(STAND_IN)]:
        pages.append(_stand_in_page(drawn, results))
    claims = results.claims()
    board = scoreboard(
        read_published_claims(),
        claims,
        [cell for table in results.measured.values() for cell in table.cells],
        read_published_tables(),
        results.titles,
    )
    texts = {REPORTS / page.file: page.text for page in pages}
    texts[REPORTS / "README.md"] = index_page(
        [page for page in pages if page not in drawn],
        finding(results.real),
        of_print(claims),
        board,
        _what_moved(results, stand_in=False),
    )
    for file, text in texts.items():
        folders = (REPORTS, REPORTS / STAND_IN)
        write_text(file, relinked(text, file, texts, folders))
    for page in pages:
        for part in page.parts:
            for figure, svg in part.figures.items():
                write_text((REPORTS / page.file).parent / figure, svg)
    picture = render("reporting/templates/dlsa.svg.j2")
    write_text(REPORTS / "figures" / "dlsa.svg", picture)


def _what_moved(results: Results, stand_in: bool) -> str:
    """What a what-if changed against the last commit, on the stand-in or else."""
    params, decisions = map(committed, (PARAMS, DECISIONS))
    tables = [table for table in results.measured.values() if _drawn(table) == stand_in]
    if params is None or not any(table.decisions for table in tables):
        return ""
    return moved_block(
        [*changed_settings(YAML(typ="safe").load(params), read_yaml(PARAMS))],
        decisions and moves(json.loads(decisions), tables, of_interest),
        tables,
        results.titles,
    )


def _part(
    results: Results, name: str, text: str, behind: Sequence[Path], **fields: Any
) -> Part:
    """What a page shows of some measurements: the runs, data and notes behind it."""
    tables = [table for path in behind if (table := results.measured[path]).data]
    hashes = sorted({table.data["hash"] for table in tables})
    notes, doubts = [], []
    for table in tables:
        whose = f"{results.titles[table.benchmark]}: " if len(behind) > 1 else ""
        # Features of images tell the same as the images, with other examples.
        said = {note.split(", the first")[0]: note for note in table.about["notes"]}
        notes += [f"{whose}{note}" for note in said.values()]
        doubts += table.about["doubts"]
    return Part(
        name=name,
        text=text,
        runs=records_behind([path.as_posix() for path in behind], results.records),
        data_hash=", ".join(hashes) or None,
        notes=list(dict.fromkeys(notes)),
        doubts=doubts,
        **{"command": "dvc repro"} | fields,
    )


def _section_pages(
    section: Section, paths: Iterable[Path], results: Results
) -> list[Page]:
    """A section on every benchmark that it was measured on: not on real data and glyphs
    on one page.
    """
    module = import_module(f"replication.sections.{section.folder}.{section.module}")
    parts: dict[bool, list[Part]] = {False: [], True: []}
    for path in paths:
        table = results.measured[path]
        title = results.titles.get(table.benchmark, "")
        folder = "-".join(filter(None, (f"figures/{section.name}", table.benchmark)))
        text, figures = module.page(table, title, folder)
        stage = "@".join(filter(None, (section.folder, table.benchmark)))
        real = table.data is not None and not _drawn(table)
        part = _part(
            results,
            section.title + (f" on {title}" if title else ""),
            text,
            [path],
            command=f"dvc repro {stage}",
            figures={f"{folder}/{name}": svg for name, svg in figures.items()},
            settings=settings_sentence(table.about) if real else "",
        )
        parts[_drawn(table)].append(part)
    return [
        Page(f"{STAND_IN if drawn else ''}{section.name}.md", of)
        for drawn, of in parts.items()
    ]


def _stand_in_page(pages: Iterable[Page], results: Results) -> Page:
    """What the stand-in is for, with its pages: a line of the index."""
    text = stand_in_page(pages, _what_moved(results, stand_in=True))
    behind = [path for path, table in results.measured.items() if _drawn(table)]
    part = _part(results, "Drawn glyphs", text, behind)
    return Page(f"{STAND_IN}README.md", [part])


def _evidence_page(results: Results) -> Page:
    """Whether DLSA helps: this run on real data, and every kept run."""
    folder, table1 = "figures/evidence", read_published_tables()["table1"]
    text, figures = evidence_page(results.real, table1, folder)
    drawn = {f"{folder}/{name}": svg for name, svg in figures.items()}
    behind = [*_evidence_tables(results.measured)]
    part = _part(results, "Does DLSA help?", text, behind, figures=drawn)
    return Page("evidence.md", [part])


def _reproducibility_page(results: Results) -> Page:
    """The report in a form that others use, of all that is not on the stand-in."""
    settings = results.measured[OUTPUTS / "tables" / "settings.json"]
    text = reproducibility_page(
        read_published_claims(),
        results.claims(),
        results.real,
        {
            results.titles[table.benchmark]: table.about["guesses"]
            for table in _evidence_tables(results.measured).values()
        },
        len(settings.details["discrepancies"]),
    )
    part = _part(results, "Reproducibility report", text, results.not_drawn())
    return Page("reproducibility.md", [part])


if __name__ == "__main__":
    run(main, lambda: "report")
