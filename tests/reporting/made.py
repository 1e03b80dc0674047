"""Made results, for tests of what shows them."""

from typing import Any

from replication.statistics.results import Cell, Claim, Measurement
from tests.made import summary

REAL = "real data, scaled"
DATA = summary("places_lt") | {"hash": "da7a"}


def cell(**changes: Any) -> Cell:
    """Overall of the full model of the ablation, with changes."""
    plain = {
        "section": "table2",
        "benchmark": "places_lt",
        "data": "stand-in",
        "method": "full",
        "label": "Full model",
        "metric": "overall",
        "protocol": "validated",
        "mean": 0.4,
        "low": 0.38,
        "high": 0.42,
        "printed": 0.421,
        "verdict": "partial",
        "per_seed": (0.39, 0.41),
    }
    return Cell(**plain | changes)


def gap(**changes: Any) -> Cell:
    """The full model minus the one without L_MLE."""
    plain = {"minus": "no_mle", "label": "w/o L_MLE", "printed": None}
    return cell(**plain | {"verdict": "undecided"} | changes)


def claim(**changes: Any) -> Claim:
    """A Claim on real data that is supported, with changes."""
    plain = {
        "id": "helps",
        "sentence": None,
        "section": "table2",
        "place": "Sect. 7",
        "statement": "It helps.",
        "test": "paired",
        "benchmark": "places_lt",
        "grade": REAL,
        "verdict": "supported",
        "mean": 0.013,
        "low": 0.002,
        "high": 0.024,
    }
    return Claim(**plain | changes)


def measurement(**changes: Any) -> Measurement:
    """Table 2 on Places-LT, with changes."""
    plain = {
        "section": "table2",
        "benchmark": "places_lt",
        "cells": (cell(),),
        "claims": (claim(),),
        "data": DATA,
        "about": {
            "features": "a network",
            "notes": [],
            "doubts": [],
            "departures": [],
            "recipe": "scaled",
            "guesses": {"count": 41, "of": 74},
        },
    }
    return Measurement(**plain | changes)


def record(stage: str, **changes: Any) -> dict[str, Any]:
    """A run record."""
    plain = {
        "stage": stage,
        "command": f"dvc repro {stage}",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 10.4,
        "commit": "0123456789abcdef",
        "clean": True,
        "code": {"replication/a.py": "1"},
        "edited_while_running": [],
        "inputs": {},
        "outputs": [f"outputs/{stage}"],
        "settings_hash": "5e77",
        "device": "Chip, 2 threads",
        "device_kind": "cpu",
        "device_model": "Chip",
        "devices": 1,
        "deterministic": False,
        "libraries": {"torch": "2.9"},
        "python": "3.11.1",
        "peak_memory_mb": 500,
        "peak_gpu_memory_mb": None,
    }
    return plain | changes
