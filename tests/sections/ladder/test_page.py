"""The ladder's page from a made measurement."""

import re
from dataclasses import replace

import pytest

from replication.protocols import BESIDE
from replication.sections.ladder.experiment import ladder_cells
from replication.sections.ladder.filters import filter_cells, filter_claims
from replication.sections.ladder.page import finding, page
from replication.statistics.results import Measurement
from tests.made import as_read, basis
from tests.sections.ladder.test_experiment import NOTES, rungs
from tests.sections.ladder.test_filters import filters


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Measurement:
    some = filters({"train": 3.0, "test": 0.8})
    of = basis("ladder", filter={"epochs": 50, "weight_exponent": 2.0})
    cells = ladder_cells(rungs(), NOTES, "drawn", of) + filter_cells(some, 2.0, of)
    details = {"second_terms": "drawn", "seeds": ["0", "1", "2"]}
    made = of.measured(cells, filter_claims(some, of), details)
    return as_read(made, tmp_path_factory.mktemp("made"))


def test_every_rung_and_filter_has_a_row(measured) -> None:
    text, _ = page(measured, "Places-LT", "figures/x")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line[:2] == "| "]
    for label in ("the head", "added weights start at random: DLSA"):
        assert rows.count(f"| {label}") == 1 + 2  # and two in the folded table
    assert rows.count("| z, or x once more, as second input") == 1
    for name in ("random", "on_validation"):
        assert rows.count(f"| {BESIDE[name].label}") == 1
    assert rows.count("| validated") == rows.count("| as released") == 2
    assert "| — | — | — | 0.0 | 0.2 | 0.3 | — |" in text  # the head


def test_filters_are_told_in_a_sentence(measured) -> None:
    assert re.search(
        "The first filter separates test images less than training images: Few against "
        r"Many, AUROC 0\.\d\d on training and 0\.\d\d on test images; \d+ % of Few's",
        finding(measured),
    )
    low = tuple(
        replace(cell, low=0.4) if cell.metric == "auroc" else cell
        for cell in measured.cells
    )
    assert "not shown to separate even what it was fitted to: Few" in finding(
        replace(measured, cells=low)
    )
    without = tuple(replace(claim, verdict="not run") for claim in measured.claims)
    assert "nothing is to separate" in finding(replace(measured, claims=without))


@pytest.mark.parametrize(
    ("verdict", "step", "words"),
    [
        ("supported", "supported", "and the step that does it is “"),
        (
            "contradicted",
            "undecided",
            "but no step alone is shown to do so; the largest",
        ),
        ("undecided", "supported", "which cannot be told from zero; the largest step"),
    ],
)
def test_the_finding_names_the_step(measured, verdict, step, words) -> None:
    whole = ("drawn", "head")
    cells = tuple(
        replace(cell, verdict=verdict if (cell.method, cell.minus) == whole else step)
        for cell in measured.cells
    )
    assert words in finding(replace(measured, cells=cells))
