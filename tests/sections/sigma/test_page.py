"""The page of sigma's selection, on made records."""

import copy
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from replication.core.files import read_json, write_json
from replication.sections.sigma import page
from replication.sections.sigma.experiment import (
    MEASURES,
    measure_distances,
    readings,
    sigma_claims,
    sweep_sigmas,
)
from replication.statistics.verdicts import judge_claim

SEEDS, DIMENSIONS = (0, 1, 2), 64


def numbers(mean: float) -> dict:
    low, high = mean - 0.02, mean + 0.02
    return {"mean": mean, "low": low, "high": high, "per_seed": [mean] * len(SEEDS)}


def record(sigma: float, reasons: list[str], rank: int) -> dict:
    """A sigma's record: entropy falls, reach rises, accuracy is highest in the middle.

    The group Medium is empty, as JSON has it: None.
    """
    per_seed = {name: [0.1 * rank + 0.01 * seed for seed in SEEDS] for name in MEASURES}
    per_seed["entropy"] = [0.99 - 0.1 * rank - 0.01 * seed for seed in SEEDS]
    measures = {
        name: {"mean": float(np.mean(values)), "per_seed": values}
        for name, values in per_seed.items()
    }
    measures["leaving_medium"] = {"mean": None, "per_seed": [None] * len(SEEDS)}
    accuracy = {
        split: {
            "overall": numbers(0.5 - 0.1 * abs(rank - 2)),
            "many": numbers(0.6),
            "medium": dict.fromkeys(("mean", "low", "high")) | {"per_seed": []},
            "few": numbers(0.2),
        }
        for split in ("val", "test")
    }
    gap = None
    if "published" not in reasons:
        gap = numbers(0.1 - 0.05 * rank) | {"p_value": 0.02}
    return {
        "sigma": sigma,
        "reasons": reasons,
        "held_out": "val",
        "measures": measures,
        "accuracy": accuracy,
        "published_minus": gap,
        "per_seed": [],
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict:
    """What the stage writes, through JSON as a reader gets it."""
    reasons = sweep_sigmas([0.02, 0.5, 1.0, 2.0], 0.05, 0.05, DIMENSIONS)
    sweep = [record(*one, rank) for rank, one in enumerate(reasons.items())]
    generator = torch.Generator().manual_seed(0)
    distances = measure_distances(DIMENSIONS, list(reasons), 300, generator)
    whole = {
        "benchmark": "places_lt",
        "data": {
            "benchmark": "places_lt",
            "stand_in": True,
            "hash": "0123456789abcdef",
        },
        "readings": readings([DIMENSIONS, 1024, 2048], 0.05),
        "distances": distances,
        "sweep": sweep,
        "best": {"sigma": 0.153093, "val": 0.5, "not_worse": [0.05, 0.153093]},
        "claims": sigma_claims(sweep, distances, 0.05, np.random.default_rng(0)),
        "settings": {
            "published": 0.05,
            "used": 0.05,
            "dimensions": DIMENSIONS,
            "seeds": list(SEEDS),
            "filter": {"num_clusters": 500},
        },
    }
    file = tmp_path_factory.mktemp("sigma") / "sigma.json"
    write_json(file, whole)
    run = {
        "stage": "sigma@places_lt",
        "commit": "0123456789abcdef",
        "clean": True,
        "device": "a processor",
        "seconds": 3.4,
        "peak_memory_mb": 900,
        "libraries": {"torch": "2"},
    }
    return read_json(file) | {"runs": [run]}


@pytest.fixture(scope="module")
def made(measured) -> tuple[str, dict[str, str]]:
    return page.sigma_page(measured, "Places-LT", "figures/sigma-places_lt")


def test_first_line_says_what_the_numbers_are_about(made) -> None:
    text, _ = made
    assert text.splitlines()[0] == (
        "> **Stand-in data.** Made from drawn glyphs, not from Places-LT: these "
        "numbers say nothing about the paper's. They show that the machinery runs, "
        "and what it would show."
    )


def test_every_figure_is_linked_and_is_a_picture(made) -> None:
    text, figures = made
    assert set(figures) == {"distances.svg", "sweep.svg"}
    for name, drawing in figures.items():
        assert f"(figures/sigma-places_lt/{name})" in text
        assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_the_same_records_give_the_same_figure(measured, made) -> None:
    again = page.distances_figure(measured["distances"], measured["sweep"])
    assert again == made[1]["distances.svg"]


def test_readings_table_prints_the_worked_numbers(measured) -> None:
    rows = page.readings_table(measured["readings"], 0.05).splitlines()
    cells = [cell.strip() for cell in rows[3].split("|")[1:-1]]
    assert cells[:2] == ["1024", "0.0383"] and cells[4] == "0.0663"
    assert cells[8] == "5.12"
    assert rows[4].split("|")[5].strip() == "0.0469"


def test_what_is_not_there_is_never_a_number(measured) -> None:
    accuracies = page.accuracies_table(measured["sweep"]).splitlines()
    assert [row.split("|")[6].strip() for row in accuracies[2:]] == ["n/a"] * 7
    diagnostics = page.diagnostics_table(measured["sweep"]).splitlines()
    assert [row.split("|")[11].strip() for row in diagnostics[2:]] == ["n/a"] * 7
    claim = {"sentence": "s", "test": "t", "kind": "trend", "verdict": "not run"}
    claim |= dict.fromkeys(("mean", "low", "high"))
    row = page.claims_table([claim]).splitlines()[2]
    assert row == "| s | t | n/a | n/a | not run |"


def test_claims_of_each_kind_in_words(measured) -> None:
    rows = page.claims_table(measured["claims"]).splitlines()[2:]
    assert {row.count("|") for row in rows} == {6}  # a cell more would break the table
    assert "| 0.0383 | exact | supported |" in rows[0]
    assert rows[1].endswith("[1.6570, 1.8070] | contradicted |")
    assert "| −1.00 | by chance [−" in rows[3]
    assert "| −20.0 | [−22.0, −18.0] | contradicted |" in rows[5]


def test_finding_follows_the_records(measured) -> None:
    said = page.summarise_sigma(measured)
    assert "At D = 64, the features here, the printed formula gives σ = 0.1531" in said
    assert "Validation accuracy chooses σ = 0.153 (50.0 %)" in said
    assert said.endswith("is the best choice is **contradicted** on the stand-in.")


def test_without_validation_samples_the_page_says_that_nothing_is_chosen(
    measured,
) -> None:
    without = copy.deepcopy(measured) | {"best": None}
    without["data"] |= {"stand_in": False}
    for one in without["sweep"]:
        one["accuracy"]["val"] = None
        one["held_out"] = "train"
    text, _ = page.sigma_page(without, "Places-LT", "figures")
    assert text.splitlines()[0] == "> **Places-LT**, the paper's own benchmark."
    assert "stand-in" not in text.lower()
    assert "There is no validation split, so that no best σ is chosen." in text
    assert "log P(x) is of the training images." in text
    assert page.accuracies_table(without["sweep"]).splitlines()[2].count("n/a") == 2


def test_made_verdict_is_that_of_its_numbers(measured) -> None:
    claim = measured["claims"][-1]
    assert claim["verdict"] == judge_claim(claim["low"], claim["high"])
