"""Kept runs side by side, and several backbones as one sample."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from replication.core.files import write_json, write_table
from replication.reporting.evidence import RealRun, over_runs
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


def run(
    mean: float, backbone: int, features: str = "a network", **params: object
) -> RealRun:
    """A run that found a difference to DLSA's head."""
    facts = FACTS | {"features": features, "backbone": backbone}
    cells = [cell(), gap(minus="start", mean=mean)]
    return RealRun(**facts, link="a", cells=cells, claims=[], params=PARAMS | params)


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
    assert any(line.startswith("No two of these runs differ") for line in lines)


# --- several backbones


def test_the_spread_between_networks_by_hand() -> None:
    """-1, 0, 1, 2 points: s = 1.2910, t(0.975, 3) = 3.1824, 3.1824 s / 2 = 2.0543."""
    runs = [run(mean, 0) for mean in (-0.01, 0.0, 0.01, 0.02)]
    over = over_runs(runs, "start", "validated")
    assert over.mean == pytest.approx(0.005)
    assert over.high - over.mean == pytest.approx(0.020543, abs=1e-6)
    assert over.freedom == 3 and over.verdict == "undecided"
    assert over_runs(runs, "plain", "validated") is None
    assert over_runs(runs[:1], "start", "validated") is None


def test_of_several_runs_of_one_backbone_that_of_most_seeds_counts() -> None:
    short = run(0.04, 1)
    short = replace(short, cells=[replace(c, per_seed=(0.4,)) for c in short.cells])
    text = kept_page([run(0.02, 0), run(0.01, 1), short])
    assert "| 2 | validated | +1.5 ± 6.4, undecided |" in text


@pytest.mark.parametrize(
    "other",
    [
        run(0.01, 0),  # the same backbone
        run(0.01, 1, recipe="verbatim"),
        run(0.01, 1, lambda_pure=0.03),
        run(0.01, 1, features="another network"),
    ],
)
def test_only_runs_that_differ_in_their_backbone_alone_are_one_sample(
    other: RealRun,
) -> None:
    text = kept_page([run(0.02, 0), other])
    assert "## Over backbones" not in text
    imported = "network (at commit abc), imported"
    alike = run(0.01, 1, imported, seeds=[0], machine={"device": "cpu"})
    text = kept_page([run(0.02, 0), alike])
    assert "[Places-LT, network, seed 1](a)" in text
    assert (
        "| Places-LT | real data, scaled | 2 | validated | +1.5 ± 6.4, undecided |"
        in text
    )
