"""The ladder's page from a made measurement."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from replication.ladder import BESIDE
from replication.sections.ladder.experiment import ladder_cells
from replication.sections.ladder.filters import filter_cells, filter_claims
from replication.sections.ladder.page import finding, page
from replication.statistics.results import PROTOCOLS, Measurement
from tests.made import as_read, summary
from tests.sections.ladder.test_experiment import COMMON, COUNTS, NOTES, ladder_table
from tests.sections.ladder.test_filters import filters


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Measurement:
    some = filters({"train": 3.0, "test": 0.8})
    cells = ladder_cells(ladder_table(), NOTES, COUNTS, "drawn", COMMON)
    return as_read(
        Measurement(
            section="ladder",
            benchmark="places_lt",
            cells=(*cells, *filter_cells(some, COMMON)),
            claims=tuple(filter_claims(some, "places_lt", "stand-in")),
            data=summary("places_lt", stand_in=True),
            about={
                "recipe": "published",
                "filter": {"epochs": 50},
                "epochs_kept": {key: [[50, 49], [50, 48]] for key in PROTOCOLS},
            },
            details={
                "second_terms": "drawn",
                "seeds": ["0", "1", "2"],
            },
        ),
        tmp_path_factory.mktemp("made"),
    )


def test_every_rung_and_filter_has_a_row(measured) -> None:
    text, figures = page(measured, "Places-LT", "figures/x")
    assert text.startswith("> **Stand-in data.**")
    rows = [line.split(" | ")[0] for line in text.splitlines() if line[:2] == "| "]
    for label in ("the head", "trained on, without a split"):
        assert rows.count(f"| {label}") == 2
    assert rows.count("| second terms as drawn: DLSA") == 2
    assert rows.count("| z, from zero") == rows.count("| x once more, from zero") == 1
    for name, times in (("random", 2), ("on_validation", 1)):
        assert rows.count(f"| {BESIDE[name].label}") == times
    assert rows.count("| validated") == rows.count("| as released") == 2
    assert "by depth, of 50: *validated* 50/49, 50/48; *as released* 50/49" in text
    assert "| — | — | — | — | — | 0.0 | 0.2 | 0.3 | — |" in text  # the head
    assert "(figures/x/ladder.svg)" in text
    assert ElementTree.fromstring(figures["ladder.svg"]).tag.endswith("svg")


def test_filters_are_told_in_two_sentences(measured) -> None:
    worse = "The first filter tells Few from Many on test images, but worse than on the"
    assert worse in finding(measured)
    text, _ = page(measured, "Places-LT", "f")
    assert re.search(
        r"Many \(0.5 is chance\), is 0\.\d\d \[.* on training images", text
    )
    without = [replace(claim, verdict="not run") for claim in measured.claims]
    none = replace(measured, claims=tuple(without))
    assert "nothing is to separate" in finding(none)


@pytest.mark.parametrize(
    ("verdict", "step", "words"),
    [
        ("supported", "supported", "DLSA ends above the head that it starts from"),
        ("contradicted", "contradicted", "the step that did it is “"),
        ("contradicted", "undecided", "no step alone is shown to have done it"),
        ("undecided", "supported", "the longest step of the ladder is “"),
    ],
)
def test_the_finding_names_the_step(measured, verdict, step, words) -> None:
    cells = tuple(
        replace(cell, verdict=verdict if cell.minus == "head" else step)
        if cell.minus and cell.metric == "overall" and cell.method != "plain"
        else replace(cell, verdict=step)
        for cell in measured.cells
    )
    changed = replace(measured, cells=cells)
    assert words in finding(changed)
    assert finding(changed).startswith("On the stand-in: Under protocol *validated*")
