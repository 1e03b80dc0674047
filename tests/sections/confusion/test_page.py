"""The page of Sect. 4 from made records."""

import re
from copy import deepcopy
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from replication.core.files import read_json, write_json
from replication.samples.predictions import predictions_table
from replication.sections.confusion.experiment import areas, measure_confusion
from replication.sections.confusion.page import (
    areas_table,
    bins_table,
    claims_table,
    confusion_page,
    masses_table,
    matrices_figure,
    outline,
    summarise,
)

CLASSES = 40
COUNTS = np.geomspace(900, 5, CLASSES).astype(int)
LABELS = np.repeat(np.arange(CLASSES), 10)
FOLDER = "figures/confusion-inat18"
RUN = {
    "stage": "heads_paco@inat18",
    "start": "own_head",
    "commit": "0123456789abcdef",
    "clean": True,
    "device": "a processor",
    "seconds": 3.0,
    "peak_memory_mb": 900,
    "libraries": {"torch": "2.11"},
}


def predictions(share: float) -> Any:
    """A share of the most frequent half taken for the rarest classes."""
    some = {}
    for seed in range(3):
        draw = np.random.default_rng([seed, int(100 * share)]).random(len(LABELS))
        wrong = (draw < share) & (CLASSES // 2 > LABELS)
        for protocol in ("paper", "released_code"):
            some[seed, protocol] = np.where(wrong, CLASSES - 1 - LABELS // 4, LABELS)
    return predictions_table(LABELS, some)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict:
    """What the stage writes, as it is read again."""
    about = {
        "benchmark": "inat18",
        "features": "a network trained by PaCo",
        "runs": [RUN],
        "data": {
            "benchmark": "inat18",
            "stand_in": True,
            "hash": "abc",
            "classes": CLASSES,
        },
    }
    file = tmp_path_factory.mktemp("made") / "confusion.json"
    found = measure_confusion(predictions(0.6), predictions(0.2), COUNTS)
    write_json(file, about | found)
    return read_json(file)


@pytest.fixture(scope="module")
def page(measured) -> tuple[str, dict[str, str]]:
    return confusion_page(measured, "iNaturalist 2018", FOLDER)


def test_the_first_line_says_that_it_is_the_stand_in(page) -> None:
    assert page[0].startswith("> **Stand-in data.**")
    assert "ImageNet-LT with a ResNet-50" in page[0].splitlines()[0]


def test_the_papers_own_benchmark_is_not_called_another(measured) -> None:
    own = deepcopy(measured) | {"benchmark": "imagenet_lt"}
    own["data"] |= {"stand_in": False, "benchmark": "imagenet_lt"}
    text, _ = confusion_page(own, "ImageNet-LT", FOLDER)
    assert text.splitlines()[0] == "> **ImageNet-LT**, the paper's own benchmark."
    assert "stand-in" not in text


def test_every_linked_figure_is_drawn_and_every_drawn_figure_is_linked(page) -> None:
    text, figures = page
    linked = re.findall(rf"\({FOLDER}/([^)]+)\)", text)
    assert sorted(linked) == sorted(figures)
    assert len(figures) == 4


def test_figures_are_small_vector_drawings_with_axes_in_words(page) -> None:
    for text in page[1].values():
        root = ElementTree.fromstring(text)
        assert not list(root.iter("{http://www.w3.org/2000/svg}image"))
        assert len(text) < 300_000
        assert "true class, by training images" in text
        assert "right columns, of the top and middle rows" in text


def test_the_page_states_its_orientation_and_its_origin(page) -> None:
    text, _ = page
    assert "This is assumed" in text
    assert "Command: `dvc repro confusion@inat18`." in text
    assert "the network's own head, as PaCo trained it" in text


def test_the_finding_is_made_from_the_records(measured) -> None:
    text = summarise(measured)
    assert "DLSA takes fewer Many images for Few than without it" in text
    assert "on the stand-in" in text
    changed = deepcopy(measured)
    for claim in changed["claims"]:
        claim["verdict"] = "contradicted"
    text = summarise(changed)
    assert "DLSA takes more Many images for Few than without it" in text
    assert "0 supported, 4 contradicted" in text


def test_what_was_not_run_is_said_so(measured) -> None:
    changed = deepcopy(measured)
    for claim in changed["claims"]:
        claim |= {"mean": None, "low": None, "high": None, "verdict": "not run"}
    assert "has no Many and Few images to compare" in summarise(changed)
    rows = claims_table(changed["claims"], False).splitlines()[2:]
    assert all(row.endswith("| n/a | not run | n/a | not run |") for row in rows)


def test_claims_in_points_and_in_errors_per_ten_thousand_and_cell() -> None:
    claim = {
        "sentence": "A",
        "test": "B",
        "unit": "share",
        "mean": 0.01,
        "low": 0.005,
        "high": 0.015,
        "verdict": "supported",
    }
    cell = claim | {
        "test": "C",
        "unit": "share per cell",
        "mean": 0.0001,
        "low": -0.00005,
        "high": 0.00025,
        "verdict": "undecided",
    }
    rows = claims_table([claim, claim, cell, cell], True).splitlines()
    shown = "+1.00 [+0.50, +1.50] points | supported"
    assert rows[2] == f"| A | B | {shown} | {shown} |"
    shown = "+1.00 [−0.50, +2.50] per 10,000 | undecided"
    assert rows[3] == f"| A | C | {shown} | {shown} |"


def test_masses_show_share_and_rate_of_one_protocol() -> None:
    numbers = {"mean": 0.02, "low": 0.01, "high": 0.03}
    missing = dict.fromkeys(numbers)
    common = {"mass": "x", "label": "X", "protocol": "paper", "without": numbers}
    records = [
        common | {"of": "all", "with": missing, "change": numbers},
        common | {"of": "true", "with": missing, "change": missing},
    ]
    rows = masses_table(records, "paper").splitlines()
    assert rows[2:] == ["| X | 2.00 [1.00, 3.00] | n/a | +2.00 [+1.00, +3.00] | n/a |"]


def test_areas_stand_under_their_label_with_both_protocols(measured) -> None:
    rows = areas_table(measured["areas"], measured["masses"]).splitlines()
    assert len(rows) == 2 + 5
    cells = 100 * areas(20)["blocks"].mean()
    row = next(row for row in rows if row.startswith("| right top, and the middle"))
    assert row.split(" | ")[1] == f"{cells:.1f}"


def test_a_bin_without_test_images_has_no_accuracy(measured) -> None:
    matrices = deepcopy(measured["matrices"])
    for found in matrices.values():
        found["accuracy"]["without"][0] = None
    row = bins_table(measured["bins"], matrices).splitlines()[2]
    assert row.startswith(f"| 1 | 2 | {COUNTS[0]} to {COUNTS[1]} | 20 | n/a | ")


def test_matrices_with_an_empty_row_and_without_any_error_are_drawn(measured) -> None:
    rows = [[0.0] * 20 for _ in range(20)]
    rows[3] = [None] * 20
    matrices = dict.fromkeys(("without", "with", "difference"), rows)
    text = matrices_figure(matrices, measured["bins"], 100, ("errors", "change"))
    assert ElementTree.fromstring(text) is not None


def test_outline_of_a_square_and_of_a_corner_by_hand() -> None:
    square = np.zeros((3, 3), dtype=bool)
    square[1:, 1:] = True
    lines = {tuple(sorted(line)) for line in outline(square)}
    assert lines == {
        ((1, 1), (3, 1)),
        ((1, 3), (3, 3)),
        ((1, 1), (1, 3)),
        ((3, 1), (3, 3)),
    }
    length = sum(
        abs(x - u) + abs(y - v)
        for (x, y), (u, v) in outline(np.array([[True, False], [True, True]]))
    )
    assert length == 8
    assert outline(np.zeros((2, 2), dtype=bool)) == []
