"""Kept runs side by side."""

from pathlib import Path

from replication.core.files import write_json
from replication.reporting.kept import KeptRun, kept_page, read_kept
from tests.reporting.made import cell, gap

TITLES = {"places_lt": "Places-LT"}
CELLS = (
    cell(method="start"),
    cell(),
    gap(minus="start", mean=-0.02, low=-0.03, high=-0.01),
)


def test_a_run_has_a_row_a_protocol_and_what_it_did_not_measure_is_said() -> None:
    text = kept_page([KeptRun("mine", CELLS), KeptRun("audit", ())], TITLES)
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert rows[0] == (
        "| [mine](mine/README.md) | Places-LT | paper | 40.0 ± 2.0 | not run "
        "| 40.0 ± 2.0 | **−2.0 ± 1.0** | not run |"
    )
    assert "released code" in rows[1] and "40.0" not in rows[1]
    assert text.endswith("\n- [audit](audit/README.md), without a Table 2\n")


def test_without_any_table_2_there_is_no_table() -> None:
    assert "None so far has a Table 2." in kept_page([], {})


def test_a_run_is_read_from_its_cells_of_table_2(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert read_kept(folder) == KeptRun("mine", ())
    cells = [vars(cell()), vars(cell(section="table1"))]
    write_json(folder / "run" / "cells.json", cells)
    (kept,) = read_kept(folder).cells
    assert (kept.section, kept.mean) == ("table2", 0.4)
