"""Kept runs side by side: what each one found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replication.core.files import read_json
from replication.reporting.tables import emphasised, markdown_table, shown
from replication.statistics.results import Cell, pick

_PROTOCOLS = {"paper": "paper", "released_code": "released code"}
_OTHERS = {"start": "its own head", "balanced_softmax": "BalSoftmax refitted"}


@dataclass(frozen=True)
class KeptRun:
    """A run as it was kept: the name of its folder, and its Cells of Table 2."""

    name: str
    cells: tuple[Cell, ...]


def read_kept(folder: Path) -> KeptRun:
    """A kept run, from its run/cells.json; without that file it has no Cells."""
    path = folder / "run" / "cells.json"
    cells = [Cell(**entry) for entry in read_json(path)] if path.is_file() else []
    table2 = (cell for cell in cells if cell.section == "table2")
    return KeptRun(folder.name, tuple(table2))


def kept_page(runs: Sequence[KeptRun], titles: Mapping[str, str]) -> str:
    """Every kept run; of those that have a Table 2, what they found.

    Args:
        titles: of the benchmarks.
    """
    rows = [
        [f"[{run.name}]({run.name}/README.md)", titles[benchmark], words, *numbers]
        for run in runs
        for benchmark in dict.fromkeys(cell.benchmark for cell in run.cells)
        for protocol, words in _PROTOCOLS.items()
        if (numbers := _numbers(run.cells, benchmark, protocol))
    ]
    header = ["Run", "Data", "Protocol", "Own head", "BalSoftmax refitted", "DLSA"]
    header += [f"DLSA minus {other}, points" for other in _OTHERS.values()]
    others = [
        f"- [{run.name}]({run.name}/README.md), without a Table 2"
        for run in runs
        if not run.cells
    ]
    parts = [
        "# Kept runs side by side",
        "Runs that were kept with their pages, figures and what made them by `make "
        "keep`, which also writes this page. Overall on the test set, %; intervals are "
        "95 % and cover the seeds after the features and test sampling, **not** the "
        "backbone.",
        markdown_table(header, rows, words=3) if rows else "None so far has a Table 2.",
        "\n".join(others),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _numbers(cells: Sequence[Cell], benchmark: str, protocol: str) -> list[str]:
    def overall(**wanted: str | None) -> Cell | None:
        where = {"benchmark": benchmark, "protocol": protocol, "metric": "overall"}
        return pick(cells, **where, **wanted)

    values = [overall(method=name, minus=None) for name in (*_OTHERS, "full")]
    gaps = [overall(minus=name) for name in _OTHERS]
    return [
        *(shown(cell) if cell else "not run" for cell in values),
        *(emphasised(cell) if cell else "not run" for cell in gaps),
    ]
