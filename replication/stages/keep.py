"""keep: a finished run's pages, results and what made them go into kept/<name>/.

Not a stage of the graph: `make keep NAME=cifar100_lt` after a run on data of one's own.
kept/README.md then has all such runs side by side.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from replication.core.files import (
    BadInput,
    read_text,
    read_yaml,
    write_json,
    write_text,
)
from replication.core.record import read_records, record_of, records_behind
from replication.core.settings import PARAMS, load
from replication.core.stage import KEPT, REPORTS, RESULTS, Stage, run
from replication.reporting.kept import kept_page, kept_runs, run_page
from replication.reporting.moved import given_settings
from replication.reporting.rendering import relinked
from replication.stages.report import SECTIONS
from replication.statistics.results import Measurement, grade_of

_KEPT = (RESULTS / "cells.csv", RESULTS / "claims.json", PARAMS, Path("dvc.lock"))
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def keep(name: str) -> Path:
    """Replace kept/<name>/ by the pages and figures on real data, and what made them.

    That is under `run/`: results, params.yaml, dvc.lock, and the run record of every
    stage behind a page. Pages that need no data, or show all runs, are in reports/
    alone. Of folders of this machine the last part is kept.

    Raises:
        BadInput: an unusable name, nothing to keep, or pages that are not what `dvc
            repro` would make now.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"keep: expected NAME of small letters, digits, _ and -, got {name!r}"
        )
    if not (REPORTS / "README.md").is_file():
        raise BadInput(f"{REPORTS}: expected pages to keep, found none; run: dvc repro")
    if changed := changed_stages():
        raise BadInput(
            f"keep: expected pages of a finished run, got changes in "
            f"{', '.join(changed)}; run: dvc repro"
        )
    tables = _real_tables()
    if not tables:
        raise BadInput("keep: expected a run on real data, got the stand-in alone")
    target = KEPT / name
    shutil.rmtree(target, ignore_errors=True)
    (target / "run" / "records").mkdir(parents=True)
    for table in tables.values():
        shutil.copy(REPORTS / f"{table.section}.md", target)
        figures = Path("figures") / f"{table.section}-{table.benchmark}"
        if (REPORTS / figures).is_dir():
            shutil.copytree(REPORTS / figures, target / figures)
    behind = records_behind([path.as_posix() for path in tables], read_records())
    for file in _KEPT:
        shutil.copy(file, target / "run")
    for record in behind:
        shutil.copy(record_of(record["stage"]), target / "run" / "records")
    write_json(target / "run" / "about.json", _about(tables.values()))
    _as_read_elsewhere(target)
    write_overview()
    return target


def _real_tables() -> dict[Path, Measurement]:
    """What was measured on real data, by its file."""
    settings = load()
    tables = {
        path: Measurement.read(path)
        for section in SECTIONS
        if section.listed
        for path in section.tables(settings)
    }
    return {p: table for p, table in tables.items() if not table.data["stand_in"]}


def _as_read_elsewhere(target: Path) -> None:
    """Links to pages that are not kept lead to reports/; folders lose their place."""
    values = given_settings(read_yaml(PARAMS)).values()
    named = (Path(value) for value in values if isinstance(value, str))
    places = [place for place in named if place.is_absolute()]
    written = [*REPORTS.glob("*.md"), *target.glob("*.md")]
    for file in target.rglob("*.*"):
        text = read_text(file)
        for place in places:
            text = text.replace(place.as_posix(), f".../{place.name}")
        if file.suffix == ".md":
            text = relinked(text, file, written, [REPORTS])
        write_text(file, text)


def changed_stages() -> list[str]:
    """Stages that `dvc repro` would run again.

    Raises:
        BadInput: DVC cannot tell.
    """
    asked = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        last = asked.stderr.strip().splitlines()[-1:]
        raise BadInput(f"keep: dvc status: {''.join(last)}")
    return sorted(json.loads(asked.stdout))


def _about(tables: Iterable[Measurement]) -> dict[str, dict[str, Any]]:
    """Benchmark -> what a reader is told of its run."""
    settings = load()
    return {
        table.benchmark: {
            "title": settings.title(table.benchmark),
            "features": table.about["features"],
            "source": table.about["source"],
            "grade": grade_of(table.data, table.about),
            "settings": {
                key: value
                for key, value in given_settings(read_yaml(PARAMS)).items()
                if key in table.about["departures"]
                or key.startswith(f"inputs.{table.benchmark}.")
            },
        }
        for table in tables
        if table.section == "ladder"
    }


def write_overview() -> None:
    """README.md of every kept run, and of all of them, from what was kept."""
    for about in KEPT.glob("*/run/about.json"):
        folder = about.parents[1]
        write_text(folder / "README.md", run_page(folder))
    write_text(KEPT / "README.md", kept_page(kept_runs(KEPT, ".")))


def main(stage: Stage, name: str) -> None:
    """Command line: one name."""
    print(f"kept in {keep(name)}")


if __name__ == "__main__":
    run(main, lambda name: "keep")
