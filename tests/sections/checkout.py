"""A checkout in which everything that a section builds on has been made, in small."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from replication.classifiers.heads import Term
from replication.core.files import write_arrays, write_json
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.core.stage import Stage
from replication.samples.features import Samples
from replication.statistics.results import Measurement
from tests.made import summary

BENCHMARK = "places_lt"
COUNTS = [120, 110, 40, 8]
SIZES = {"train": COUNTS, "val": [8] * 4, "test": [20] * 4}
DIMENSIONS = 5
FILTER = FilterSettings(
    lambda_mle=1.0,
    lambda_bal=1.0,
    lambda_pure=0.02,
    num_clusters=5,
    sigma=0.05,
    eta=0.7,
    weight_exponent=2.0,
    lr=0.1,
    batch_size=64,
    epochs=2,
)
_CENTRES = 2 * np.random.default_rng(9).standard_normal((len(COUNTS), DIMENSIONS))
HEAD = Term(torch.from_numpy(_CENTRES.astype(np.float32)), torch.zeros(len(COUNTS)))
CASCADE = CascadeSettings(depth=1, leaving_share=0.3)
CLASSIFIER = ClassifierSettings(
    lr=0.05, batch_size=32, epochs=2, evaluate_every=1, second_terms="drawn"
)


def drawn_splits() -> dict[str, Samples]:
    """Samples around their class's centre."""
    splits = {}
    for seed, (split, counts) in enumerate(SIZES.items()):
        labels = np.repeat(np.arange(len(COUNTS)), counts)
        noise = np.random.default_rng(seed).standard_normal((len(labels), DIMENSIONS))
        features = (_CENTRES[labels] + noise).astype(np.float32)
        splits[split] = Samples(torch.from_numpy(features), torch.from_numpy(labels))
    return splits


def write_checkout(folder: Path, stand_in: bool = False) -> None:
    """Write what `prepare`, `features` and `heads` make, drawn, into a folder."""
    (folder / "params.yaml").write_text("")
    data = folder / "outputs" / BENCHMARK / "data"
    paco = folder / "outputs" / BENCHMARK / "paco"
    about = {"classes": len(COUNTS), "class_counts": COUNTS, "class_names": [*"abcd"]}
    images = {split: sum(counts) for split, counts in SIZES.items()}
    drawn = summary(BENCHMARK, stand_in) | about | {"images": images}
    write_json(data / "summary.json", drawn)
    for split, part in drawn_splits().items():
        file = paco / "features" / f"{split}.safetensors"
        write_arrays(file, {"features": part.features, "labels": part.labels})
    head = {}
    for seed in range(2):
        head |= {f"weight.{seed}": HEAD.weight, f"bias.{seed}": HEAD.bias}
    write_arrays(paco / "heads" / "start.safetensors", head)
    about = {"source": "trained here", "departures": ["sigma"]}
    about |= {"notes": [], "doubts": [], "origins": {}, "train": "clean"}
    for part in ("features", "heads"):
        write_json(paco / part / "about.json", about)


def stage(name: str, **sections: Any) -> Stage:
    """A stage with small settings, and with a section's own.

    Args:
        sections: name of a method of `Settings` -> what it returns.
    """
    values = {
        "device": "cpu",
        "deterministic": False,
        "tf32": False,
        "departures": [],
        "recipe": "published",
        "seeds": (0, 1),
        "filter": FILTER,
        "cascade": CASCADE,
        "classifier": CLASSIFIER,
        "choices": {
            "sigma": SimpleNamespace(value=0.05, published=0.05, origin="published")
        },
    }
    methods = {
        key: (lambda *_, value=value, **__: value)
        for key, value in (values | sections).items()
    }
    return Stage(f"{name}@{BENCHMARK}", SimpleNamespace(**methods, origins={}))


def leads_with(found: str, text: str, figures: dict[str, str]) -> None:
    """A page on real data: its finding, then its figures, and nothing missing."""
    assert text.index(found) < text.index("![")
    linked = re.findall(r"\(figures/x/([^)]+)\)", text)
    assert linked and sorted(linked) == sorted(figures)
    assert text.startswith("> **Places-LT**")
    assert not {"stand-in", "nan", "None"} & set(re.findall(r"[\w-]+", text))


def measured_in(
    folders: Any, section: Any, runs: int = 1, **sections: Any
) -> tuple[Measurement, Path]:
    """What a section measures in a fresh checkout, as `report` gets it; and where.

    Args:
        folders: pytest's `tmp_path_factory`.
        section: module with `measure`.
        runs: how often it measures; the last result is returned.
        sections: of `stage`.
    """
    folder = folders.mktemp("checkout")
    write_checkout(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for _ in range(runs):
            result = section.measure(stage("section", **sections), BENCHMARK)
            result.write(folder / "measured.json")
    return Measurement.read(folder / "measured.json"), folder
