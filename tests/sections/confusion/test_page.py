"""The page of Sect. 4: measured on made predictions in a folder, then drawn."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from replication.core.files import write_json, write_table
from replication.core.settings import load
from replication.core.stage import Stage
from replication.samples.predictions import predictions_table
from replication.sections.confusion.measure import measure
from replication.sections.confusion.page import finding, matrices_figure, page
from replication.statistics.results import PROTOCOLS, Measurement
from tests.made import ROOT, as_read
from tests.made import summary as made_summary

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


@pytest.fixture
def measured(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Measurement:
    """What the section writes, as it is read again."""
    outputs = tmp_path / "outputs" / "inat18"
    data = made_summary("inat18", stand_in=True) | {"classes": CLASSES}
    summary = outputs / "data" / "summary.json"
    write_json(summary, data | {"class_counts": COUNTS, "class_names": ["a"]})
    heads, full = outputs / "paco" / "heads", outputs / "paco" / "dlsa" / "full"
    write_table(heads / "start.predictions.safetensors", predictions(0.6))
    write_table(full / "predictions.safetensors", predictions(0.2))
    nothing: dict[str, list[str]] = {"departures": [], "notes": [], "doubts": []}
    about = nothing | {"start": "own_head", "features": "a PaCo network", "origins": {}}
    write_json(full / "about.json", about)
    (tmp_path / "params.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    stage = Stage("confusion@inat18", load(ROOT / "params.yaml"))
    return as_read(measure(stage, "inat18"), tmp_path)


def test_what_is_measured_is_on_the_page(measured: Measurement) -> None:
    assert len({claim.id for claim in measured.claims}) == 4
    assert {claim.grade for claim in measured.claims} == {"stand-in"}
    text, figures = page(measured, "iNaturalist 2018", "figures/x")
    assert text.startswith("> **Stand-in data.**")
    assert re.findall(r"\(figures/x/([^)]+)\)", text) == list(figures)
    assert "taken for Few-shot classes: DLSA reduces them (−" in finding(measured)
    assert "right top is tail taken for head" in text
    assert "<image" not in figures["matrices.svg"]
    assert len(figures["matrices.svg"]) < 300_000
    silent = [replace(claim, verdict="not run") for claim in measured.claims]
    assert finding(replace(measured, claims=silent)) == (
        "There are no Many and Few images to compare."
    )


def test_a_bin_without_test_images_has_no_cells(measured: Measurement) -> None:
    """And where no errors change the scale has no end of its own."""
    rates = [[None] * 20] + [[0.0] * 20 for _ in range(19)]
    matrices = dict.fromkeys(("without", "with", "difference"), rates)
    details = measured.details | {"matrices": dict.fromkeys(PROTOCOLS, matrices)}
    empty = replace(measured, details=details)
    assert matrices_figure(empty).rstrip().endswith("</svg>")
