"""keep: a finished run's pages, results and what made them go into kept/<name>/.

Not a stage of the graph: `make keep NAME=cifar100_lt` after a run on data of one's own.
kept/README.md then has all such runs side by side.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from replication.core.files import BadInput, write_text
from replication.core.record import read_records, record_of, records_behind
from replication.core.settings import PARAMS, load, read_recipe
from replication.core.stage import REPORTS, RESULTS
from replication.reporting.kept import kept_page, read_kept
from replication.stages.report import tables_shown

KEPT = Path("kept")
_LOCK = Path("dvc.lock")
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
    shutil.copytree(REPORTS, target)
    shutil.copytree(RESULTS, target / "run")
    (target / "run" / "records").mkdir()
    paths = [path.as_posix() for path in tables_shown(load())]
    behind = records_behind(paths, read_records())
    for file in (PARAMS, _LOCK):
        shutil.copy(file, target / "run")
    for file in (record_of(run["stage"]) for run in behind):
        shutil.copy(file, target / "run" / "records")
    write_overview()
    return target


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


def write_overview() -> None:
    """kept/README.md, from every folder below kept/ that has pages."""
    folders = [index.parent for index in sorted(KEPT.glob("*/README.md"))]
    runs = {folder.name: read_kept(folder) for folder in folders}
    names = {cell.benchmark for run in runs.values() for cell in run.cells}
    titles = {name: read_recipe(name)["title"] for name in names}
    write_text(KEPT / "README.md", kept_page(runs, titles))


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
