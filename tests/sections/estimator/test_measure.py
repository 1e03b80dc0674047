"""Sect. 2's section on drawn features, from the stage's inputs to the page."""

import pytest

from replication.core.settings import EstimatorSettings
from replication.sections.estimator import measure as estimator
from replication.sections.estimator.page import finding, page
from replication.statistics.results import Measurement, pick
from tests.sections.checkout import BENCHMARK, leads_with, measured_in

SETTINGS = EstimatorSettings(
    etas=[0.3], steps=[1, 3], clusters=4, batch_size=8, draws=50, probes=2, seed=0
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Measurement:
    return measured_in(tmp_path_factory, estimator, estimator=SETTINGS)[0]


def test_algebra_has_no_benchmark(measured) -> None:
    grades = [(claim.benchmark, claim.grade) for claim in measured.claims]
    assert grades[:6] == [(None, "none needed")] * 6
    assert grades[6:] == [(BENCHMARK, "paper's data")] * 5


def test_what_the_equations_say_stands_beside_what_was_simulated(measured) -> None:
    """eta = 0.3, t = 3: phi(1)/phi(3) = (7/13) / (0.973/1.027), bias -0.027."""
    at = "eta=0.3, t=3"
    ratio = pick(measured.cells, at=at, metric="ratio")
    assert ratio.printed == pytest.approx(7 / 13 * 1.027 / 0.973)
    raw = pick(measured.cells, at=at, metric="bias_uncorrected")
    assert raw.printed == pytest.approx(-0.027)
    assert pick(measured.cells, at="eta=0.7, t=1", metric="ratio")  # the fit's is added


def test_page_leads_with_what_holds_on_which_reading(measured) -> None:
    text, figures = page(measured, "Places-LT", "figures/x")
    leads_with(finding(measured), text, figures)
    assert sorted(figures) == ["probes.svg", "simulation.svg"]
    assert "of 4 equations hold" in finding(measured)
