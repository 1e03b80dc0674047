"""A pretrained network as it is: nothing is trained, and every artefact says so."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from replication.backbones.networks import build_network, features_of
from replication.core.files import read_about, read_arrays, read_json
from replication.core.record import record_of
from replication.core.settings import load
from replication.core.stage import OUTPUTS, Stage
from replication.images.batches import normalise, read_split
from replication.stages import backbone, features, prepare
from tests.made import write_params

SMALL = "resnet8_cifar"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images) -> Path:
    """A checkout whose `own` starts from a file of weights with a head of 5 classes."""
    monkeypatch.chdir(tmp_path)
    folders = {f"{split}/{c}": 2 for split in ("train", "test") for c in "abc"}
    write_images(tmp_path / "images", folders)
    torch.save(build_network(SMALL, 5, None, seed=3).state_dict(), "start.pth")
    changes = {
        "inputs": {"own": {"images": "images"}},
        "backbone": {"network": SMALL, "pretrained": "start.pth"},
        "view": {"image_size": 32, "resize": 32},
        "ce": {"epochs": 0},
        "paco": {"epochs": 0},
        "extraction": {"augmented_passes": 2},
        "machine": {"device": "cpu"},
    }
    write_params(tmp_path, changes)
    return tmp_path


def run_to_features(objective: str) -> None:
    prepare.main(Stage("prepare@own", load()), "own")
    stage = Stage(f"backbone_{objective}@own", load())
    backbone.main(stage, "own", objective)
    features.main(Stage(f"features_{objective}@own", load()), "own", objective)


@pytest.mark.parametrize("objective", ["ce", "paco"])
def test_frozen_features_are_those_of_the_file(checkout, objective) -> None:
    run_to_features(objective)
    folder = OUTPUTS / "own" / objective / "features"
    digest = hashlib.sha256((checkout / "start.pth").read_bytes()).hexdigest()[:16]
    start = f"pretrained weights start.pth (SHA-256 {digest})"
    about = read_json(folder / "about.json")
    assert about["source"] == f"{start}, frozen, not trained on this data"
    assert about["features"] == f"a {SMALL}, {about['source']}"
    assert about["backbone"]["pretrained"] == start
    assert "start.pth" in read_json(record_of(f"backbone_{objective}@own"))["inputs"]
    assert read_about(folder / "head.safetensors")["trained"] is False
    assert about["train"] == "clean"  # what PaCo did not train has no view of PaCo's
    network = build_network(SMALL, 5, None, seed=3).eval()
    images = read_split(OUTPUTS / "own" / "data", "test", None)
    view = load().images("own")
    with torch.inference_mode():
        expected = features_of(network, normalise(images.pixels, view)).numpy()
    made = read_arrays(folder / "test.safetensors")["features"]
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


def test_pixels_that_are_not_the_weights_own_are_named(checkout) -> None:
    """A file of ours states its pixels; what params.yaml sets instead is said."""
    run_to_features("paco")
    weights = "weights.safetensors"
    (OUTPUTS / "own" / "paco" / "backbone" / weights).rename(checkout / weights)
    changes = {"backbone": {"pretrained": weights}, "view": {"mean": [0.5] * 3}}
    write_params(checkout, changes)
    run_to_features("paco")
    about = read_json(OUTPUTS / "own" / "paco" / "features" / "about.json")
    assert about["notes"] == [
        "Pixels are not the weights' own: mean [0.5, 0.5, 0.5] in place of "
        "[0.485, 0.456, 0.406]."
    ]


def test_nothing_pretrained_is_nothing_to_freeze(checkout, refused) -> None:
    write_params(checkout, {"backbone": {"pretrained": None}})
    assert refused(lambda: run_to_features("ce")) == [
        "ce.epochs: expected at least 1, since nothing is pretrained "
        "(backbone.pretrained, ce.from_scratch), got 0"
    ]
