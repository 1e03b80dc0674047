"""cRT and LWS on images, stopped midway: what is taken up, and what is not."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from replication.backbones.networks import build_network
from replication.core.files import (
    read_table,
    write_arrays,
    write_json,
    write_text,
)
from replication.core.settings import load
from replication.core.stage import Stage
from replication.samples.predictions import by_seed
from replication.stages import decoupling
from tests.made import write_params

OUTPUTS = Path("outputs/places_lt")
LABELS = np.repeat(np.arange(3), 2)


def set_params(**changes: object) -> None:
    sections = {"decoupling": {"inputs": "images"}, "head": {"epochs": 1} | changes}
    machine = {"device": "cpu"}
    write_params(Path("."), {"seeds": [0, 1], "machine": machine} | sections)


@pytest.fixture
def fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What is fitted: (kind, seed, weights of the head given); nothing is trained.

    The checkout has features whose network brought no head.
    """
    monkeypatch.chdir(tmp_path)
    set_params()
    summary = {"class_counts": [2, 2, 2], "classes": 3, "hash": "0" * 16}
    write_json(OUTPUTS / "data" / "summary.json", summary)
    write_text(OUTPUTS / "data" / "index.csv", "")
    rows = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    about = {"departures": [], "notes": [], "doubts": [], "origins": {}}
    about["train"] = "clean"
    write_json(OUTPUTS / "ce" / "features" / "about.json", about)
    for split in ("train", "val", "test"):
        place = OUTPUTS / "ce" / "features" / f"{split}.safetensors"
        write_arrays(place, {"features": rows, "labels": LABELS})
    zeros = {"weight": np.zeros((3, 4), "f4"), "bias": np.zeros(3, "f4")}
    head = OUTPUTS / "ce" / "features" / "head.safetensors"
    write_arrays(head, zeros, {"trained": False, "balanced": False})
    network = build_network("resnet8_cifar", 3, None, seed=0)
    weights = OUTPUTS / "ce" / "backbone" / "weights.safetensors"
    write_arrays(weights, network.state_dict())
    calls: list[tuple] = []

    def fit(kind, _, __, ___, head, *rest):
        seed = rest[-2]
        calls.append((kind, seed, head.weight.sum().item()))
        return head

    split = SimpleNamespace(labels=torch.from_numpy(LABELS))
    monkeypatch.setattr(decoupling, "read_split", lambda *_: split)
    monkeypatch.setattr(decoupling, "fit_on_images", fit)
    monkeypatch.setattr(
        decoupling, "predict_images", lambda *_: torch.from_numpy(LABELS)
    )
    return calls


def run_until(calls: list[tuple], number: int, monkeypatch) -> None:
    """Run, and be interrupted after that many fits."""
    fit = decoupling.fit_on_images

    def killed(*arguments):
        if len(calls) == number:
            raise KeyboardInterrupt
        return fit(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decoupling, "fit_on_images", killed)
        decoupling.main(Stage("decoupling@places_lt", load()), "places_lt")


def test_an_interrupted_run_goes_on_where_it_was(fitted, monkeypatch) -> None:
    run_until(fitted, 3, monkeypatch)
    decoupling.main(Stage("decoupling@places_lt", load()), "places_lt")
    assert [call[:2] for call in fitted] == [
        *(("crt", 0), ("crt", 1)),
        *(("lws", 0), ("lws", 1)),
    ]
    table = read_table(OUTPUTS / "ce" / "decoupling" / "lws.predictions.safetensors")
    assert by_seed(table, "validated")[2] == [0, 1]


def test_no_seed_is_left_of_another_fitted_head(fitted, monkeypatch) -> None:
    """LWS rescales a head that is fitted here where the network brought none."""
    run_until(fitted, 3, monkeypatch)
    set_params(lr=0.7)
    fitted.clear()
    decoupling.main(Stage("decoupling@places_lt", load()), "places_lt")
    assert [call[:2] for call in fitted if call[0] == "lws"] == [("lws", 0), ("lws", 1)]
