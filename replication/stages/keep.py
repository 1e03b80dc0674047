"""keep: a finished run's pages go into reports/<name>/, beside the default run's.

Not a stage of the graph: `make keep NAME=cifar100_lt` after a run on data of one's own.
"""

import re
import shutil
import sys
from pathlib import Path

from replication.files import BadInput, write_bytes
from replication.stages.running import REPORTS, RESULTS

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ALSO = (Path("params.yaml"), Path("dvc.lock"))


def keep(name: str) -> Path:
    """Copy pages, figures, results, params.yaml and dvc.lock of the run at hand.

    Args:
        name: of the folder below reports/; what stood there before is replaced.

    Raises:
        BadInput: an unusable name, or nothing to keep.
    """
    if not _NAME.fullmatch(name) or name == "figures":
        raise BadInput(
            f"keep: expected NAME of small letters, digits, _ and -, got {name!r}"
        )
    pages = sorted(REPORTS.glob("*.md"))
    if not pages:
        raise BadInput(f"{REPORTS}: expected pages to keep, found none; run: dvc repro")
    files = [*pages, *sorted((REPORTS / "figures").rglob("*.svg"))]
    target = REPORTS / name
    shutil.rmtree(target, ignore_errors=True)
    for file in files:
        write_bytes(target / file.relative_to(REPORTS), file.read_bytes())
    for file in [*sorted(RESULTS.glob("*")), *_ALSO]:
        write_bytes(target / "run" / file.name, file.read_bytes())
    return target


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
