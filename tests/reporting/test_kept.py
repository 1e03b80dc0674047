"""Kept runs side by side."""

from dataclasses import asdict
from pathlib import Path

from ruamel.yaml import YAML

from replication.core.files import write_json, write_table
from replication.reporting.kept import kept_page, kept_runs
from replication.statistics.results import Cell, as_table
from tests.reporting.made import REAL, cell, claim, gap

CELLS = (
    cell(method="start"),
    cell(),
    gap(minus="start", mean=-0.02, low=-0.03, high=-0.01),
    cell(section="table1"),
)
PARAMS = {
    "recipe": "scaled",
    "lambda_pure": None,
    "seeds": [0, 1],
    "backbone": {"seed": 0, "network": "x"},
}
FACTS = {"title": "Places-LT", "features": "a network", "grade": REAL}


def write_run(folder: Path, *cells: Cell) -> None:
    """What a kept run is read from."""
    write_table(folder / "run" / "cells.csv", as_table(cells, Cell))
    YAML(typ="safe").dump(PARAMS, folder / "run" / "params.yaml")
    claims = [claim(id="gain_overall"), claim(section="table1", id="of_table1")]
    write_json(folder / "run" / "claims.json", [asdict(one) for one in claims])
    write_json(
        folder / "run" / "about.json",
        {"places_lt": FACTS | {"source": "trained here", "settings": {}}},
    )


def test_a_kept_run_is_read_back_by_table_2_or_else_by_table_1(tmp_path: Path) -> None:
    write_run(tmp_path / "a", *CELLS)
    seen = {"section": "ladder", "metric": "auroc", "at": "depth 1, train"}
    nothing = cell(section="ladder", metric="few_leaves", mean=None)
    write_run(tmp_path / "b", cell(section="table1"), cell(**seen), nothing)
    write_run(tmp_path / "c", cell(section="estimator", benchmark=None))
    first, second, third = kept_runs(tmp_path, "kept")
    assert [len(run.cells) for run in (first, second, third)] == [3, 1, 0]
    assert first.gap("start", "validated").mean == -0.02
    assert second.auroc("train").mean == cell().mean
    assert first.settings == "scaled, 2 seeds"
    assert [run.claims[0].id for run in (first, second)] == [
        "gain_overall",
        "of_table1",
    ]
    assert "None so far." in kept_page([])
    lines = kept_page([first, second, third]).splitlines()
    links = [line for line in lines if line.startswith("- ")]
    assert "(real data, scaled, 2 seeds)" in links[0]
    assert len(links) == 3 and "(kept/c/README.md)" in links[2]
