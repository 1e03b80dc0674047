"""Fig. 2's section on drawn features, from the stage's inputs to the page."""

from dataclasses import replace

import pytest

from replication.core.settings import Fig2Settings
from replication.sections.separation import measure as separation
from replication.sections.separation.page import finding, page
from replication.statistics.results import Measurement, pick
from tests.sections.checkout import leads_with, measured_in

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
    """What one run left, the next one reads instead of fitting again."""
    made: list[int] = []
    run_pieces = separation.run_pieces

    def counted(pieces: dict, *rest: object) -> None:
        made.append(sum(not file.is_file() for file in pieces))
        run_pieces(pieces, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separation, "run_pieces", counted)
        result, _ = measured_in(tmp_path_factory, separation, runs=2, fig2=SETTINGS)
    # Two seeds at p = 1 under either reading; at p = 0.5 coins ignore the class.
    assert made == [2 * 2 + 2, 0]
    return result


def test_cells_and_claims_of_every_curve(measured) -> None:
    values = [cell for cell in measured.cells if cell.minus is None]
    assert len(values) == 2 * 2 * 6 and len(measured.cells) == len(values) + 2
    halves = [
        pick(values, at=f"p=0.5, boundary={name}", metric="overall").per_seed
        for name in SETTINGS.boundaries
    ]
    assert halves[0] == halves[1]
    assert [(claim.id, claim.grade) for claim in measured.claims] == [
        ("larger_p_linear_half_classes", "paper's data"),
        ("larger_p_linear_many_medium", "paper's data"),
    ]
    assert measured.about["departures"] == ["sigma"]
    assert "class_names" not in measured.data


def test_page_leads_with_its_finding_and_says_what_it_rests_on(measured) -> None:
    text, figures = page(measured, "Places-LT", "figures/x")
    leads_with(finding(measured), text, figures)
    assert text.startswith("> **Places-LT**, not the paper's data of Fig. 2")
    assert "**This is an upper bound, not a method.**" in text
    assert "Networks are trained for the first reading alone" not in text


def test_what_is_unfinished_is_remarked(measured) -> None:
    assert "still improving when their training ended" in finding(measured)
    fits = [fit | {"at_rest": True} for fit in measured.details["fits"]]
    rested = replace(measured, details=measured.details | {"fits": fits})
    assert "no fit lowered its training loss" in page(rested, "x", "y")[0]
    assert "still improving" not in finding(rested)
