"""Kept runs side by side."""

from pathlib import Path

from replication.core.files import write_table
from replication.reporting.kept import kept_page, read_kept
from replication.statistics.results import Cell, as_table
from tests.reporting.made import cell, gap

CELLS = (
    cell(method="start"),
    cell(),
    gap(minus="start", mean=-0.02, low=-0.03, high=-0.01),
    cell(section="table1"),
)


def test_a_run_has_a_row_a_protocol_and_what_it_did_not_measure_is_said(
    tmp_path: Path,
) -> None:
    write_table(tmp_path / "mine" / "run" / "cells.csv", as_table(CELLS, Cell))
    runs = {name: read_kept(tmp_path / name) for name in ("mine", "audit")}
    text = kept_page(runs, {"places_lt": "Places-LT"})
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert rows[0] == (
        "| [mine](mine/README.md) | Places-LT | validated | 40.0 ± 2.0 | not run "
        "| 40.0 ± 2.0 | **−2.0 ± 1.0** | not run |"
    )
    assert "as released" in rows[1] and "40.0" not in rows[1]
    assert text.endswith("\n- [audit](audit/README.md), without a Table 2\n")


def test_without_any_table_2_there_is_no_table() -> None:
    assert "None so far has a Table 2." in kept_page({}, {})
