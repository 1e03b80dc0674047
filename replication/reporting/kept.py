"""Kept runs side by side: what each one found."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    shown,
)
from replication.statistics.results import Cell, pick

_OTHERS = {"start": "its own head", "balanced_softmax": "BalSoftmax refitted"}


def read_kept(folder: Path) -> list[Cell]:
    """Cells of Table 2 of a kept run, from its run/cells.csv; none without that."""
    path = folder / "run" / "cells.csv"
    if not path.is_file():
        return []
    table = pd.read_csv(path).query("section == 'table2'").drop(columns="per_seed")
    known = table.filter([field.name for field in fields(Cell)])
    return [Cell(**row.dropna().to_dict()) for _, row in known.iterrows()]


def kept_page(runs: Mapping[str, Sequence[Cell]], titles: Mapping[str, str]) -> str:
    """Every kept run; of those that have a Table 2, what they found.

    Args:
        runs: folder below kept/ -> its Cells of Table 2.
        titles: of the benchmarks.
    """
    links = {run: f"[{run}]({run}/README.md)" for run in runs}
    rows = [
        [links[run], titles[benchmark], words, *_numbers(cells, benchmark, protocol)]
        for run, cells in runs.items()
        for benchmark in dict.fromkeys(cell.benchmark for cell in cells)
        for protocol, words in PROTOCOL_NAMES.items()
    ]
    header = ["Run", "Data", "Protocol", "Own head", "BalSoftmax refitted", "DLSA"]
    header += [f"DLSA minus {other}, points" for other in _OTHERS.values()]
    others = [f"- {links[run]}, without a Table 2" for run in runs if not runs[run]]
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
    where = {"benchmark": benchmark, "protocol": protocol, "metric": "overall"}
    values = [
        pick(cells, method=name, minus=None, **where) for name in (*_OTHERS, "full")
    ]
    gaps = [pick(cells, minus=name, **where) for name in _OTHERS]
    return [
        *(shown(cell) if cell else "not run" for cell in values),
        *(emphasised(cell) if cell else "not run" for cell in gaps),
    ]
