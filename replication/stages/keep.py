"""keep: a finished run's pages go into reports/<name>/, beside the default run's.

Not a stage of the graph: `make keep NAME=cifar100_lt` after a run on data of one's own.
reports/kept.md then has all kept runs side by side.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from replication.core.files import (
    BadInput,
    read_json,
    read_text,
    write_bytes,
    write_text,
)
from replication.core.record import record_of
from replication.core.settings import PARAMS, load, read_recipe
from replication.core.stage import REPORTS, RESULTS, read_record
from replication.reporting.kept import KeptRun, kept_page
from replication.reporting.staleness import LOCK, Checkout, read_lock, stale

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LINK = re.compile(r"\]\(([^)#\s]+)")
_ALSO = (PARAMS, LOCK)
_SIDE_BY_SIDE = REPORTS / "kept.md"


def keep(name: str) -> Path:
    """Copy all that says what the run at hand found, and what made it.

    Pages and figures; under `run/` its results, its params.yaml and dvc.lock, and the
    run record of every stage behind a page.

    Args:
        name: of the folder below reports/; what stood there before is replaced.

    Raises:
        BadInput: an unusable name, nothing to keep, a run that params.yaml, dvc.lock or
            the code are no longer of, or a link that leads out of what is kept.
    """
    if not _NAME.fullmatch(name) or name == "figures":
        raise BadInput(
            f"keep: expected NAME of small letters, digits, _ and -, got {name!r}"
        )
    pages = sorted(page for page in REPORTS.glob("*.md") if page != _SIDE_BY_SIDE)
    if not pages:
        raise BadInput(f"{REPORTS}: expected pages to keep, found none; run: dvc repro")
    files = [*pages, *sorted((REPORTS / "figures").rglob("*.svg"))]
    report = record_of("report")
    behind = [record_of(stage) for stage in read_json(report)["behind"]]
    target = REPORTS / name
    kept = {target / file.relative_to(REPORTS): file for file in files}
    made = [*sorted(RESULTS.glob("*")), *_ALSO]
    kept |= {target / "run" / file.name: file for file in made}
    kept |= {target / "run" / "records" / file.name: file for file in [*behind, report]}
    _check(pages, target, kept)
    runs = [read_record(file) for file in [*behind, report]]
    if problems := stale(runs, Checkout(load(), read_lock())):
        raise BadInput([f"keep: {problem} Run: dvc repro" for problem in problems])
    shutil.rmtree(target, ignore_errors=True)
    for place, file in kept.items():
        write_bytes(place, file.read_bytes())
    all_kept = kept_runs()
    titles = {one.benchmark: read_recipe(one.benchmark)["title"] for one in all_kept}
    write_text(_SIDE_BY_SIDE, kept_page(all_kept, titles))
    return target


def kept_runs() -> list[KeptRun]:
    """Every kept run that has a Table 2, by name."""
    found = []
    for file in sorted(REPORTS.glob("*/run/table2.json")):
        folder = file.parent
        runs = {path.stem: read_record(path) for path in folder.glob("records/*.json")}
        records = read_json(file)["records"]
        for benchmark in dict.fromkeys(one["benchmark"] for one in records):
            mine = [one for one in records if one["benchmark"] == benchmark]
            found.append(KeptRun(folder.parent.name, benchmark, mine, runs))
    return found


def _check(pages: list[Path], target: Path, kept: Mapping[Path, Path]) -> None:
    """Refuse, before anything is replaced, what would not stand by itself."""
    problems = [
        f"{file}: expected a file, found nothing; run: dvc repro"
        for file in kept.values()
        if not file.is_file()
    ]
    problems += [
        f"{page}: expected links to what is kept, got {link}"
        for page in pages
        for link in dict.fromkeys(_LINK.findall(read_text(page)))
        if "://" not in link
        and Path(os.path.normpath(target / unquote(link))) not in kept
    ]
    if problems:
        raise BadInput(problems)


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
