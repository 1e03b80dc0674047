"""The page of Sect. 4: measured on made predictions in a folder, then drawn."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from replication.core.files import write_json, write_table
from replication.core.settings import load
from replication.core.stage import Stage
from replication.samples.predictions import predictions_table
from replication.sections.confusion.experiment import areas
from replication.sections.confusion.measure import measure
from replication.sections.confusion.page import (
    areas_table,
    bins_table,
    errors_table,
    finding,
    matrices_figure,
    page,
)
from replication.statistics.results import PROTOCOLS, Measurement
from tests.conftest import ROOT
from tests.made import as_read

CLASSES = 40
COUNTS = np.geomspace(900, 5, CLASSES).astype(int)
LABELS = np.repeat(np.arange(CLASSES), 10)


def predictions(share: float) -> pd.DataFrame:
    """A share of the most frequent half taken for the rarest classes."""
    answers = {}
    for seed in range(3):
        draw = np.random.default_rng([seed, int(100 * share)]).random(len(LABELS))
        wrong = (draw < share) & (CLASSES // 2 > LABELS)
        for protocol in PROTOCOLS:
            rarest = CLASSES - 1 - LABELS // 4
            answers[seed, protocol] = np.where(wrong, rarest, LABELS)
    return predictions_table(LABELS, answers)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    """What the section writes, as it is read again."""
    folder = tmp_path_factory.mktemp("made")
    outputs = folder / "outputs" / "inat18"
    data = {"benchmark": "inat18", "stand_in": True, "hash": "abc", "classes": CLASSES}
    summary = outputs / "data" / "summary.json"
    write_json(summary, data | {"class_counts": COUNTS, "class_names": ["a"]})
    heads, full = outputs / "paco" / "heads", outputs / "paco" / "dlsa" / "full"
    write_table(heads / "start.predictions.safetensors", predictions(0.6))
    write_table(full / "predictions.safetensors", predictions(0.2))
    about = {"departures": [], "start": "own_head", "features": "a PaCo network"}
    write_json(full / "about.json", about)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        return as_read(measure(Stage("confusion@inat18", load()), "inat18"), folder)


def test_the_measurement_has_its_numbers_claims_and_no_class_names(
    measured: Measurement,
) -> None:
    ids = {claim.id for claim in measured.claims}
    assert len(ids) == 4 and len(measured.claims) == 8
    assert {claim.grade for claim in measured.claims} == {"stand-in"}
    assert all(claim.p_value <= claim.holm for claim in measured.claims)
    assert "class_names" not in measured.data
    assert measured.details["seeds"] == [0, 1, 2]


def test_the_page_says_what_it_is_and_links_its_figure(measured: Measurement) -> None:
    text, figures = page(measured, "iNaturalist 2018", "figures/x")
    assert text.startswith("> **Stand-in data.**")
    assert "ImageNet-LT with a ResNet-50" in text.splitlines()[0]
    assert re.findall(r"\(figures/x/([^)]+)\)", text) == list(figures)
    assert "it is assumed" in text
    assert "the network's own head, as PaCo trained it" in text
    own = measured.data | {"stand_in": False, "benchmark": "imagenet_lt"}
    text, _ = page(
        replace(measured, benchmark="imagenet_lt", data=own), "ImageNet-LT", "x"
    )
    assert text.startswith("> **ImageNet-LT**, the paper's own benchmark.")
    assert "stand-in" not in text.splitlines()[2]


def test_the_finding_follows_the_verdicts(measured: Measurement) -> None:
    assert "DLSA takes fewer Many images for Few (−" in finding(measured)
    for verdict, words in (
        ("contradicted", "DLSA takes more Many images for Few"),
        ("not run", "There are no Many and Few images to compare."),
    ):
        claims = tuple(replace(claim, verdict=verdict) for claim in measured.claims)
        assert words in finding(replace(measured, claims=claims))


def test_the_tables_stand_in_the_order_of_measuring(measured: Measurement) -> None:
    rows = errors_table(measured).splitlines()[2:]
    assert rows[0].startswith("| Many taken for Few | ")
    assert len(rows) == 9
    rows = areas_table(measured).splitlines()[2:]
    row = next(row for row in rows if row.startswith("| right top, and the middle"))
    assert row.split(" | ")[1] == f"{100 * areas(20)['blocks'].mean():.1f}"


def test_a_bin_without_test_images_has_no_accuracy_and_no_cells(
    measured: Measurement,
) -> None:
    """And where no errors change the scale has no end of its own."""
    rates = [[0.0] * 20 for _ in range(20)]
    rates[0] = [None] * 20
    matrices = {
        "rates": dict.fromkeys(("without", "with", "difference"), rates),
        "accuracy": dict.fromkeys(("without", "with"), [None] + [1.0] * 19),
    }
    details = measured.details | {"matrices": dict.fromkeys(PROTOCOLS, matrices)}
    row = bins_table(details).splitlines()[2]
    assert row.startswith(f"| 1 | 2 | {COUNTS[0]} to {COUNTS[1]} | 20 | n/a | ")
    drawn = matrices_figure(replace(measured, details=details))
    assert ElementTree.fromstring(drawn) is not None


def test_the_figure_is_a_small_vector_drawing_with_words(measured: Measurement) -> None:
    drawn = matrices_figure(measured)
    root = ElementTree.fromstring(drawn)
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))
    assert len(drawn) < 300_000
    assert "true class, by training images" in drawn
    assert "right columns, of the top and middle rows" in drawn
