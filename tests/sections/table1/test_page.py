"""The page of Table 1 from a made measurement."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from replication.published.reader import read_anchors, read_published_tables
from replication.sections.rows import read_methods, table_cells
from replication.sections.table1.experiment import table1_claims
from replication.sections.table1.page import anchors_table, page
from replication.statistics.results import Measurement
from tests.made import as_read, basis, diagnostics, predicted

TABLE = read_published_tables()["table1"]
METHODS = read_methods("table1", TABLE)
LABELS = np.repeat(np.arange(12), 20)

Make = Callable[..., Measurement]


@pytest.fixture
def made(tmp_path) -> Make:
    """A measurement as it is read again; rows other than DLSA choose nothing."""

    def make(benchmark: str, counts: object = None, stand_in: bool = False) -> object:
        about = {"start": "own_head", "features": "a network"}
        of = basis("table1", benchmark, counts, stand_in, **about, ce=about)
        shares = dict.fromkeys(METHODS, 0.6) | {"paco_dlsa": 0.72}
        tables = predicted(shares, LABELS, alike=set(METHODS) - {"paco_dlsa"})
        cells = table_cells(of, TABLE, METHODS, "paco_dlsa", tables, set(METHODS))
        details = {"partial": ["the backbone is another"], "diagnostics": diagnostics()}
        details |= {"other_features": "their weights are PaCo's"}
        claims = table1_claims(cells, TABLE, of)
        return as_read(of.measured(cells, claims, details), tmp_path)

    return make


def rows_of(text: str, label: str) -> list[list[str]]:
    """Cells of every table row of a page that starts with the label."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


def test_every_number_stands_once_beside_print(made: Make) -> None:
    """Overall and its difference; then the other metrics, folded."""
    text, _ = page(made("inat18"), "iNaturalist18", "figures/x")
    overall, values, *differences = rows_of(text, "LWS")
    assert overall[0] == "69.5" and overall[2:4] == ["same", "+3.3"]
    assert values[0] == "both" and values[2:8:2] == ["71.0", "69.8", "68.8"]
    assert [row[0] for row in differences] == ["validated", "as released"]
    head = TABLE.rows["paco"].label
    assert rows_of(text, head)[0][3] == "+1.0"
    gains = rows_of(text, head)[2][2::2]
    assert gains == ["+1.5", "+1.1", "+0.8", "+1.6", "+0.2"]
    full = TABLE.rows["paco_dlsa"].label
    assert [row[0] for row in rows_of(text, full)[1:]] == ["validated", "as released"]
    assert "every verdict is *partial*: the backbone is another." in text
    assert "not on the paper's kind of features: their weights are PaCo's." in text


@pytest.mark.parametrize(
    ("benchmark", "stand_in"), [("inat18", True), ("cifar100_lt", False)]
)
def test_where_print_has_nothing_to_say_nothing_of_it_is_said(
    made: Make, benchmark: str, stand_in: bool
) -> None:
    """Neither a column of print nor why a verdict on it is partial."""
    text, figures = page(made(benchmark, stand_in=stand_in), "X", "figures/x")
    for word in ("*partial*", "printed |", "One trained"):
        assert word not in text
    assert ">printed<" not in figures["differences.svg"]


def test_an_empty_shot_group_is_not_a_number(made: Make) -> None:
    measured = made("inat18", [300] * 6 + [60] * 6)
    text, _ = page(measured, "iNaturalist18", "figures/x")
    improves = "DLSA improves PaCo + BalSoftmax in Few-shot accuracy"
    assert rows_of(text, improves) == [["n/a", "not run"] * 2]
    assert "nan" not in text


# --- the field's numbers


def test_the_fields_numbers_stand_beside_ours(made: Make) -> None:
    measured = made("cifar100_lt")
    anchors = read_anchors("cifar100_lt")
    table = anchors_table(measured, anchors)
    assert re.search(r"\| PaCo \| 400 epochs, .* \| 52\.0 \| 6\d\.\d ± ", table)
    assert table.count("| not run |") == 2
    text, _ = page(measured, "CIFAR", "x")
    assert table in text and "at imbalance factor 100. Length" in text
    other = replace(measured, data=measured.data | {"imbalance_factor": 10})
    assert "factor 100, not 10 as here." in page(other, "CIFAR", "x")[0]
    assert anchors_table(made("cifar100_lt", stand_in=True), anchors) == ""
