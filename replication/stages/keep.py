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

from replication.core.files import BadInput, write_json, write_text
from replication.core.record import read_records, record_of, records_behind
from replication.core.settings import PARAMS, load, read_recipe
from replication.core.stage import KEPT, REPORTS, RESULTS
from replication.reporting.kept import kept_page, kept_runs
from replication.stages.report import tables_shown
from replication.statistics.results import Measurement, grade_of

_LOCK = Path("dvc.lock")
# Pages that need none of a run's data, or show all runs: one copy, in reports/.
_ONE_COPY = ("audit", "discrepancies", "evidence")
_THERE = re.compile(rf"\]\(((?:{'|'.join(_ONE_COPY)})\.md)")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def keep(name: str) -> Path:
    """Replace kept/<name>/ by the pages and figures at hand, and what made them.

    That is under `run/`: results, params.yaml, dvc.lock, and the run record of every
    stage behind a page.

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
    target = KEPT / name
    shutil.rmtree(target, ignore_errors=True)
    _copy_pages(target)
    shutil.copytree(RESULTS, target / "run")
    (target / "run" / "records").mkdir()
    paths = tables_shown(load())
    write_json(target / "run" / "about.json", _about(paths))
    behind = records_behind([path.as_posix() for path in paths], read_records())
    for file in (PARAMS, _LOCK):
        shutil.copy(file, target / "run")
    for file in (record_of(run["stage"]) for run in behind):
        shutil.copy(file, target / "run" / "records")
    write_overview()
    return target


def _copy_pages(target: Path) -> None:
    """The run's own pages and figures; links to the others lead to reports/."""
    others = shutil.ignore_patterns(*_ONE_COPY, *(f"{name}.md" for name in _ONE_COPY))
    shutil.copytree(REPORTS, target, ignore=others)
    for page in target.glob("*.md"):
        write_text(page, _THERE.sub(r"](../../reports/\1", page.read_text()))


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


def _about(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Benchmark -> what a reader is told of its Table 2, where that is on real data."""
    tables = [Measurement.read(path) for path in paths if path.name == "table2.json"]
    return {
        table.benchmark: {
            "title": read_recipe(table.benchmark)["title"],
            "features": table.about["features"],
            "grade": grade_of(table.data, table.about),
        }
        for table in tables
        if not table.data["stand_in"]
    }


def write_overview() -> None:
    """kept/README.md, from every folder below kept/ that has pages."""
    write_text(KEPT / "README.md", kept_page(kept_runs(KEPT, ".")))


def main(arguments: list[str]) -> int:
    """Command line: one name."""
    try:
        if len(arguments) != 1:
            raise BadInput(f"keep: expected one name, got {arguments}")
        print(f"kept in {keep(arguments[0])}")
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
