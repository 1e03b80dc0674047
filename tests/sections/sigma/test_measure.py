"""Sect. 3's section on drawn features, from the stage's inputs to the page."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from replication.core.files import read_table
from replication.core.settings import SweepSettings
from replication.sections.sigma import measure as sigma
from replication.sections.sigma.page import finding, page
from replication.statistics.results import Measurement, pick
from tests.sections.checkout import BENCHMARK, leads_with, measured_in


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Measurement, Path]:
    sweep = SweepSettings(sigmas=[1.0], draws=100)
    return measured_in(tmp_path_factory, sigma, sweep=sweep)


def test_every_sigma_has_its_cells_and_its_predictions(measured) -> None:
    result, folder = measured
    sigmas = [tried["sigma"] for tried in result.details["sweep"]]
    assert sigmas == [0.05, 0.547723, 0.948683, 1.0]  # sqrt(3 / 10), 3 / sqrt(10)
    files = folder / "outputs" / BENCHMARK / "paco" / "sigma"
    for value in sigmas:
        table = read_table(files / f"{value:g}.predictions.safetensors")
        assert len(table) == 2 * 80 and set(table["protocol"]) == {"validated"}
        at = f"sigma={value:g}, split=test"
        accuracy = pick(result.cells, at=at, metric="overall")
        right = table["prediction"] == table["label"]
        assert right.mean() == pytest.approx(accuracy.mean)
    assert [c.benchmark for c in result.claims] == [None] * 3 + [BENCHMARK] * 3


def test_page_leads_with_its_finding(measured) -> None:
    text, figures = page(measured[0], "Places-LT", "figures/x")
    leads_with(finding(measured[0]), text, figures)
    assert "it puts centres 1.73 apart, not 3" in text
    assert (
        "| 1024 | squared distance 3 (as printed) | 0.0383 | 1.73 [1.66, 1.81] |"
        in text
    )


def test_scaled_print_is_compared_as_it_is_at_the_runs_dimensions(
    tmp_path_factory,
) -> None:
    scaled = SimpleNamespace(value=1.0, published=0.05, origin="scaled")
    given = {"sweep": SweepSettings(sigmas=[0.5], draws=10)}
    given["choices"] = {"sigma": scaled}
    result, _ = measured_in(tmp_path_factory, sigma, **given)
    (best,) = (claim for claim in result.claims if claim.id == "best")
    assert best.statement == (
        "After experiments, we use σ = 0.05 (1 at these dimensions) as the best choice."
    )
    minus = {cell.minus for cell in result.cells if cell.minus}
    assert minus == {f"sigma={s}" for s in ("0.05", "0.5", "0.547723", "0.948683")}
    text, _ = page(result, "Own images", "figures/x")
    assert "uses σ = 0.05 “as the best choice”: at the same mean squared" in text


def test_without_validation_samples_nothing_is_chosen(measured) -> None:
    details = measured[0].details | {"best": None}
    cells = [cell for cell in measured[0].cells if "split=val" not in cell.at]
    text, _ = page(replace(measured[0], cells=cells, details=details), "x", "y")
    assert "There is no validation split, so that no best σ is chosen." in text
    assert "| 1 | tried | n/a |" in text
