"""What tests of several folders make: settings, images, predictions, measurements."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML
from torch import Tensor

from replication.core.files import read_yaml
from replication.samples.predictions import predictions_table
from replication.sections.basis import Basis
from replication.statistics.results import PROTOCOLS, Measurement

ROOT = Path(__file__).resolve().parent.parent
# Of a process that a test starts: one thread, no GPU, and nothing of SLURM's.
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if "SLURM" not in key},
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "GLOO_SOCKET_IFNAME": "lo",
}


def generator(seed: int = 0) -> torch.Generator:
    """On the CPU."""
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal, in float64."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def write_params(folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write params.yaml: what is there, else the shipped one, with changes.

    Of a section, and of a section's sections, only the settings that are named change,
    by section or by dotted key; `...` takes a setting out.
    """
    path = folder / "params.yaml"
    params = read_yaml(path if path.is_file() else ROOT / "params.yaml")
    _change(params, changes)
    path.unlink(missing_ok=True)  # it may be a link to another project's
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    return path


def _change(settings: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        section, _, within = str(name).partition(".")
        if within:
            _change(settings[section], {within: value})
        elif value is ...:
            del settings[name]
        elif isinstance(value, Mapping) and isinstance(settings[name], dict):
            _change(settings[name], value)
        else:
            settings[name] = value


def predicted(
    shares: Mapping[str, float],
    labels: np.ndarray,
    seeds: int = 3,
    alike: Collection[str] = (),
) -> dict[str, pd.DataFrame]:
    """Predictions of each method that are right for a given share of the samples.

    Args:
        alike: methods with the same predictions under both protocols.
    """
    tables = {}
    classes = int(labels.max()) + 1
    for number, (method, share) in enumerate(shares.items()):
        generator = np.random.default_rng(number)
        answers = {}
        for seed in range(seeds):
            for protocol in PROTOCOLS:
                right = generator.random(len(labels)) < share
                other = (labels + generator.integers(1, classes, len(labels))) % classes
                answers[seed, protocol] = np.where(right, labels, other)
            if method in alike:
                answers[seed, "as_released"] = answers[seed, "validated"]
        tables[method] = predictions_table(labels, answers)
    return tables


def as_read(measured: Measurement, folder: Path) -> Measurement:
    """What a page gets: NaN has become None."""
    measured.write(folder / "measured.json")
    return Measurement.read(folder / "measured.json")


def summary(benchmark: str, stand_in: bool = False) -> dict:
    """A data summary of 12 classes, four a shot group."""
    return {
        "benchmark": benchmark,
        "stand_in": stand_in,
        "input": "images",
        "hash": "abc",
        "classes": 12,
        "class_counts": [300] * 4 + [60] * 4 + [8] * 4,
        "imbalance_factor": 100,
        "shot_groups": {"many": 4, "medium": 4, "few": 4},
        "images": {"train": 1472, "val": 0, "test": 240},
        "largest": 300,
        "smallest": 8,
    }


def basis(
    section: str,
    benchmark: str = "places_lt",
    counts: Collection[int] | None = None,
    stand_in: bool = False,
    **about: Any,
) -> Basis:
    """Of a section on real data with scaled settings; `counts` (C,) of its classes."""
    data = summary(benchmark, stand_in)
    data |= {} if counts is None else {"class_counts": list(counts)}
    return Basis(section, benchmark, data, {"recipe": "scaled"} | about)


def diagnostics(auroc: float | None = 0.7) -> dict:
    """What the stage `dlsa` writes of one filter under three seeds."""
    epoch = {"log_likelihood": -20.0, "purity": 0.5, "pure_clusters": 4}
    test = {
        "log_likelihood": -20.0,
        "leaving": 0.3,
        "leaving_by_group": {"many": 0.2, "medium": 0.3, "few": None},
        "auroc_tail": auroc,
    }
    fitted = {
        "epoch": 3,
        "epochs": 4,
        "pure_clusters": 4,
        "empty_clusters": 1,
        "largest": 9,
        "purity": 0.5,
        "history": [epoch] * 4,
        "splits": {"test": test},
    }
    return {
        str(seed): {"filters": {protocol: [fitted] for protocol in PROTOCOLS}}
        for seed in range(3)
    }


def is_alive(process: int) -> bool:
    """Whether a process runs: one that ended may still wait to be looked at."""
    stat = Path(f"/proc/{process}/stat")
    return stat.is_file() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
