"""Fig. 2's section on drawn features, from the stage's inputs to the page."""

from dataclasses import replace

import pytest

from replication.core.settings import Fig2Settings
from replication.sections.separation import measure as separation
from replication.sections.separation.page import finding, page
from replication.statistics.results import Measurement, pick
from tests.sections.checkout import BENCHMARK, stage, through_json, write_checkout

SETTINGS = Fig2Settings(
    inputs="features",
    network="resnet8_cifar",
    probabilities=[1.0, 0.5],
    boundaries=["half_classes", "many_medium"],
    candidates="all",
    epochs=1,
    linear_epochs=5,
    lr=0.01,
    batch_size=16,
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Measurement:
    folder = tmp_path_factory.mktemp("checkout")
    write_checkout(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        first = separation.measure(stage("separation", fig2=SETTINGS), BENCHMARK)
        # What one run left, the next one reads instead of fitting again.
        patch.setattr(separation, "run_pieces", lambda pieces, *_: _none(pieces))
        again = separation.measure(stage("separation", fig2=SETTINGS), BENCHMARK)
    assert again.cells == first.cells
    return through_json(first, folder)


def _none(pieces: list) -> None:
    assert pieces == []


def test_cells_and_claims_of_every_curve(measured) -> None:
    values = [cell for cell in measured.cells if cell.minus is None]
    assert len(values) == 2 * 2 * 6 and len(measured.cells) == len(values) + 2
    halves = [
        pick(values, at=f"p=0.5, boundary={name}", metric="overall").per_seed
        for name in SETTINGS.boundaries
    ]
    assert halves[0] == halves[1]  # at p = 0.5 the coins ignore the class
    assert [claim.id for claim in measured.claims] == [
        "larger_p_linear_half_classes",
        "larger_p_linear_many_medium",
    ]
    assert {claim.grade for claim in measured.claims} == {"real data"}
    assert measured.about["departures"] == ["sigma"]
    assert "class_names" not in measured.data


def test_page_leads_with_its_finding_and_says_what_it_rests_on(measured) -> None:
    text, figures = page(measured, "Places-LT", "figures/here")
    assert set(figures) == {"accuracy.svg"} and "(figures/here/accuracy.svg)" in text
    assert text == page(measured, "Places-LT", "figures/here")[0]
    assert text.startswith("> **Places-LT**, not the paper's Fig. 2 (whose data")
    assert text.index(finding(measured)) < text.index("![")
    assert "**This is an upper bound, not a method.**" in text
    assert "Networks are trained for the first reading alone" not in text
    assert "stand-in" not in text and "nan" not in text and "None" not in text


def test_what_is_flat_or_unfinished_is_remarked(measured) -> None:
    assert "still improving when their training ended" in finding(measured)
    step = next(cell for cell in measured.cells if cell.minus)
    cells = [
        replace(c, verdict="undecided") if c == step else c for c in measured.cells
    ]
    fits = [fit | {"at_rest": True} for fit in measured.details["fits"]]
    flat = replace(measured, cells=cells, details=measured.details | {"fits": fits})
    assert finding(flat).endswith("No rise is shown from p = 0.5 to 1.")
    assert "no fit lowered its training loss" in page(flat, "x", "y")[0]


def test_on_the_stand_in_the_verdict_says_so(measured) -> None:
    drawn = replace(measured, data=measured.data | {"stand_in": True})
    assert "on the stand-in" in finding(drawn)
    assert page(drawn, "x", "y")[0].startswith("> **Stand-in data.**")


def test_an_empty_group_has_no_number(measured) -> None:
    cells = [
        replace(cell, mean=None, low=None, high=None) if cell.metric == "few" else cell
        for cell in measured.cells
    ]
    text, _ = page(replace(measured, cells=cells), "x", "y")
    assert "| n/a |" in text
