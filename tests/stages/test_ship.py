"""Features that the checkout carries: written from a run, used without an input."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from replication.core.files import read_arrays, read_json, write_arrays
from replication.core.settings import SHIPPED, load
from replication.core.stage import OUTPUTS, Stage
from replication.stages import backbone, features, heads, prepare, ship
from tests.made import write_params

NAME = "cifar100_lt"
OBJECTIVES = ("paco", "ce")
TRAIN, TEST = np.repeat(np.arange(100), 3), np.repeat(np.arange(100), 2)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which CIFAR-100-LT was run on features of a user's own."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    centres = 3 * generator.standard_normal((100, 8))
    given = {}
    for objective in OBJECTIVES:
        folder = Path("theirs") / objective
        folder.mkdir(parents=True)
        given[objective] = str(folder)
        splits = {"train": TRAIN, "test": TEST, "val": TEST}
        if objective == "paco":
            splits["train_augmented"] = np.tile(TRAIN, 2)
        for split, labels in splits.items():
            drawn = centres[labels] + generator.standard_normal((len(labels), 8))
            drawn = drawn.astype(np.float32)
            np.savez(folder / f"feature_{split}.npz", features=drawn, labels=labels)
        weight, bias = centres.astype(np.float32), np.zeros(100, np.float32)
        np.savez(folder / "classifier.npz", weight=weight, bias=bias)
    set_features(given)
    run()
    return tmp_path


def set_features(given: object) -> None:
    inputs = {NAME: {"features": given}}
    write_params(Path(), {"seeds": [0, 1], "inputs": inputs, "head": {"epochs": 2}})


def run() -> None:
    prepare.main(Stage(f"prepare@{NAME}", load()), NAME)
    for objective in OBJECTIVES:
        for name, module in (
            ("backbone", backbone),
            ("features", features),
            ("heads", heads),
        ):
            module.main(Stage(f"{name}_{objective}@{NAME}", load()), NAME, objective)


def made(objective: str, name: str) -> np.ndarray:
    file = OUTPUTS / NAME / objective / "features" / f"{name}.safetensors"
    return read_arrays(file)["features"]


def test_what_is_shipped_is_what_a_benchmark_without_input_rests_on(finished) -> None:
    names = ("train", "val", "test", "train_augmented")
    before = {name: made("paco", name) for name in names}
    ship.ship(NAME)
    assert not load().is_shipped(NAME)  # an input comes first
    set_features(None)
    settings = load()
    assert settings.is_shipped(NAME) and not settings.is_stand_in(NAME)
    assert settings.is_stand_in("places_lt")
    run()
    for name, exact in before.items():
        np.testing.assert_array_equal(
            made("paco", name), exact.astype(np.float16).astype(np.float32)
        )
    assert read_json(OUTPUTS / NAME / "data" / "summary.json")["stand_in"] is False
    for objective in OBJECTIVES:
        about = read_json(OUTPUTS / NAME / objective / "heads" / "about.json")
        assert about["source"].startswith("shipped with the suite (content ")
        assert about["source"].endswith("), none: features are imported")
        assert (
            about["start"] == {"paco": "own_head", "ce": "balanced_softmax"}[objective]
        )
    assert not [note for note in about["notes"] if "cast" in note or "read" in note]


def test_the_card_names_every_file_by_its_hash_and_what_rounding_moves(
    finished,
) -> None:
    lines = ship.ship(NAME)
    card = (SHIPPED / NAME / "README.md").read_text()
    files = sorted((SHIPPED / NAME).rglob("*.safetensors"))
    assert len(files) == 4 + 5  # three splits and a head each; PaCo's looks
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert all(f"- {line}.\n" in card for line in lines)
    assert "300 training, 200 validation and 200 test samples of 100 classes" in card
    assert "Licence of the data: none is stated with it" in card


def test_decisions_that_rounding_moves_are_counted() -> None:
    """Two classes part at 1 + 2^-12, which half precision has as 1."""
    parted = 1 + 2.0**-12
    weight = np.array([[1.0], [0.0]], np.float32)
    bias = np.array([-parted + 2.0**-13, 0.0], np.float32)
    arrays = {
        f"{name}.{seed}": part
        for seed in (0, 1)
        for name, part in (("weight", weight), ("bias", bias))
    }
    values = np.array([[0.5], [2.0], [parted]], np.float32)
    assert ship._moved(arrays, values) == (2, 6)


def test_too_much_unlicensed_or_drawn_data_is_not_shipped(
    finished, refused, monkeypatch
) -> None:
    monkeypatch.setattr(ship, "MOST_BYTES", 1000)
    (line,) = refused(lambda: ship.ship(NAME))
    assert line.startswith("ship: expected at most 1,000 bytes of features, got ")
    assert not (SHIPPED / NAME).exists()
    assert refused(lambda: ship.ship("places_lt")) == [
        "ship: expected one of cifar100_lt, whose licence is in licences.yaml, got "
        "'places_lt'"
    ]
    set_features(None)
    prepare.main(Stage(f"prepare@{NAME}", load()), NAME)
    assert refused(lambda: ship.ship(NAME)) == [
        f"ship: expected real data, got {NAME}'s stand-in"
    ]


def test_features_beyond_half_precision_are_not_shipped(finished, refused) -> None:
    file = OUTPUTS / NAME / "paco" / "features" / "val.safetensors"
    arrays = read_arrays(file)
    arrays["features"][0, 0] = 1e5
    write_arrays(file, arrays)
    assert refused(lambda: ship.ship(NAME)) == [
        "feature_val: expected features within half precision's ±65,504, got 100000"
    ]
