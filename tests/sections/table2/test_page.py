"""The page of Table 2 from a made measurement."""

from dataclasses import replace

import pytest

from replication.sections.table2.experiment import row_claims
from replication.sections.table2.page import finding, page
from replication.statistics.results import Measurement
from tests.made import as_read, basis, diagnostics, predicted
from tests.sections.table2.test_experiment import ALL, LABELS, TABLE, table_of


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    shares = dict.fromkeys((*TABLE.rows, "start", "balanced_softmax"), 0.5)
    made = predicted(shares | {"start": 0.9}, LABELS, alike=("start",))
    about = {"features": "a PaCo network", "cascade": {"leaving_share": 0.3}}
    of, cells = basis("table2", **about), table_of(made)
    details = {"partial": ["another budget"], "clusters": {"full": 500}}
    details |= {"diagnostics": dict.fromkeys(TABLE.rows, diagnostics())}
    found = of.measured(cells, row_claims(cells, TABLE, ALL, of), details)
    return as_read(found, tmp_path_factory.mktemp("made"))


def test_every_row_and_print_is_on_the_page(measured: Measurement) -> None:
    text, _ = page(measured, "Places-LT", "figures/x")
    for row in TABLE.rows.values():
        assert f"\n| {row.label} | as released |" in text
    assert "| w/o L_MLE | 40.8 |" in text and "| +1.3 |" in text
    assert "n/a" in text  # no Few class leaves
    assert "clusters here" not in text


def test_numbers_of_clusters_are_said_where_they_are_not_the_printed_ones(
    measured: Measurement,
) -> None:
    clusters = {"full": 47, "clusters_300": 28, "clusters_1000": 94}
    scaled = replace(measured, details=measured.details | {"clusters": clusters})
    assert (
        "The full model has 47 clusters here, not 500; the rows of 300 and 1000 "
        "clusters have 28 and 94." in page(scaled, "Own images", "x")[0]
    )


def test_the_finding_counts_sentences_alone(measured: Measurement) -> None:
    """DLSA's gain is no sentence of Sect. 7: five rows are."""
    text = finding(measured)
    assert text.startswith("Sect. 7 says that each of 5 changes to the full model")
    assert "Here none is shown to lower it, none to raise it." in text
    assert "the full model lowers Overall accuracy" in text


def test_drops_that_are_too_large_for_our_intervals_are_counted(
    measured: Measurement,
) -> None:
    """Print's five are 0.3 to 1.3 points. The stand-in has no print beside it."""
    claims = [
        replace(claim, high=0.0065, mean=0.0, low=-0.001)
        if claim.id.startswith("drop_")
        else claim
        for claim in measured.claims
    ]
    small = replace(measured, claims=claims)
    assert (
        "A drop as large as print's is ruled out for 3 of 5: the 95 % interval ends "
        "below it. " in finding(small)
    )
    for other in (measured, replace(small, data=measured.data | {"stand_in": True})):
        assert "A drop as large as print's" not in finding(other)
