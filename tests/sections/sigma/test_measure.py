"""Sect. 3's section on drawn features, from the stage's inputs to the page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from replication.core.files import read_table
from replication.core.settings import SweepSettings
from replication.sections.sigma import measure as sigma
from replication.sections.sigma.page import finding, page
from replication.statistics.results import Measurement, pick
from tests.sections.checkout import BENCHMARK, stage, through_json, write_checkout

SWEEP = SweepSettings(sigmas=[1.0], draws=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    write_checkout(folder)
    return folder


@pytest.fixture(scope="module")
def measured(folder) -> Measurement:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = sigma.measure(stage("sigma", sweep=SWEEP), BENCHMARK)
    return through_json(found, folder)


def test_every_sigma_has_its_cells_and_its_predictions(measured, folder) -> None:
    sigmas = [tried["sigma"] for tried in measured.details["sweep"]]
    assert sigmas == [0.05, 0.547723, 0.948683, 1.0]  # sqrt(3 / 10), 3 / sqrt(10)
    files = folder / "outputs" / BENCHMARK / "paco" / "sigma"
    for value in sigmas:
        table = read_table(files / f"{value:g}.predictions.safetensors")
        assert len(table) == 2 * 80 and set(table["protocol"]) == {"paper"}
        accuracy = pick(
            measured.cells, at=f"sigma={value:g}, split=test", metric="overall"
        )
        right = table["prediction"] == table["label"]
        assert right.mean() == pytest.approx(accuracy.mean)
    assert measured.details["held_out"] == "val"
    assert [claim.sentence for claim in measured.claims] == [
        "s3_three_sigma",
        "s3_three_sigma",
        "s3_eq5",
        "s3_overlap",
        "s3_stuck",
        "s3_best",
    ]


def test_page_says_what_the_formula_does_and_what_sigma_is_worth(measured) -> None:
    text, figures = page(measured, "Places-LT", "figures/x")
    assert set(figures) == {"distances.svg", "sweep.svg"}
    assert all(f"(figures/x/{name})" in text for name in figures)
    assert text.startswith("> **Places-LT**, the paper's own benchmark.")
    said = finding(measured)
    assert said in text
    assert "takes the square of a distance for a distance" in said
    assert "it puts centres 1.73 apart, not 3" in said
    assert "| 1024 | 0.0383 | 1.73 [1.66, 1.81] |" in text
    assert "stand-in" not in text and "nan" not in text and "None" not in text


def judged(measured: Measurement, verdict: Callable[[int], str]) -> Measurement:
    """The same, with other verdicts on the differences to the published sigma."""
    gaps = [cell for cell in measured.cells if cell.minus]
    rest = [cell for cell in measured.cells if not cell.minus]
    other = [replace(cell, verdict=verdict(n)) for n, cell in enumerate(gaps)]
    return replace(measured, cells=(*rest, *other))


def test_finding_follows_the_differences(measured) -> None:
    flat = finding(judged(measured, lambda _: "undecided"))
    assert "Accuracy hardly depends on σ" in flat
    assert "no σ is shown to differ from 0.05" in flat
    steep = finding(judged(measured, lambda n: "undecided" if n else "supported"))
    assert "Accuracy depends on σ" in steep
    assert "shown to differ from 0.05: 0.547723;" in steep


def test_without_validation_samples_the_page_says_that_nothing_is_chosen(
    measured,
) -> None:
    details = measured.details | {"best": None, "held_out": "train"}
    cells = [cell for cell in measured.cells if "split=val" not in cell.at]
    text, _ = page(replace(measured, cells=cells, details=details), "x", "y")
    assert "There is no validation split, so that no best σ is chosen." in text
    assert "log P(x) of the training images" in text
    assert "| 1 | tried | n/a |" in text
