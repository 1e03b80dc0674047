"""The rehearsal: its features are what the door takes, its stages what dvc runs."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from bench import rehearsal
from replication.core.files import BadInput
from replication.core.scaling import IMAGENET_LT
from replication.core.settings import load
from replication.data.features import read_features


@pytest.mark.parametrize(
    ("benchmark", "sizes"),
    [
        ("inat18", {"train": 437_513, "val": 24_426}),
        ("places_lt", {"train": 62_500, "val": 7_300, "test": 36_500}),
    ],
)
def test_labels_have_the_published_counts(benchmark, sizes) -> None:
    labels = rehearsal.labels_of(benchmark, 1.0)
    assert {split: len(some) for split, some in labels.items()} == sizes


def test_the_door_takes_its_features_which_are_made_once(tmp_path) -> None:
    size = rehearsal.make_features(tmp_path, "inat18", 0.002, 32)
    found = read_features(tmp_path, 8142, val_is_test=True)
    assert found.notes == () and found.num_classes == size["C"] == 8142
    labels = rehearsal.labels_of("inat18", 0.002)
    for split, file in (("train", "train"), ("test", "val")):
        assert found.splits[split][0].shape == (size[split], 32)
        assert np.array_equal(found.splits[split][1], labels[file])
    before = (tmp_path / "feature_train.h5").stat().st_mtime_ns
    assert rehearsal.make_features(tmp_path, "inat18", 0.002, 32) == size
    assert (tmp_path / "feature_train.h5").stat().st_mtime_ns == before


def test_a_sample_lies_about_its_class_centre(tmp_path) -> None:
    """Unit noise: the mean of 5,000 is within 5 standard errors, 0.07."""
    labels = np.repeat([0, 1], 5000)
    centres = np.array([[20.0, 30.0], [40.0, 50.0]], np.float32)
    rehearsal.write_features(tmp_path / "x.h5", labels, 2, centres, seed=0)
    with h5py.File(tmp_path / "x.h5") as file:
        features = file["features"][:]
    for label, centre in enumerate(centres):
        mean = features[labels == label].mean(0)
        np.testing.assert_allclose(mean, centre, atol=0.07)
    assert len(np.unique(features, axis=0)) == len(features)


def test_params_are_the_checkouts_with_one_epoch_a_fit(tmp_path) -> None:
    chosen = {"seeds": 2, "device": "cpu", "benchmark": "inat18", "published": False}
    rehearsal.write_params(tmp_path / "params.yaml", tmp_path, chosen)
    settings = load(tmp_path / "params.yaml")
    assert settings.seeds() == (0, 1)
    assert settings.features("inat18", "ce") == tmp_path
    assert settings.filter("inat18", IMAGENET_LT).epochs == 1
    assert settings.classifier("inat18", IMAGENET_LT).epochs == 1
    assert settings.cascade("inat18").depth == 1
    assert settings.decoupling("inat18").inputs == "features"
    chosen |= {"benchmark": "places_lt", "published": True}
    rehearsal.write_params(tmp_path / "params.yaml", tmp_path, chosen)
    settings = load(tmp_path / "params.yaml")
    assert settings.filter("places_lt", IMAGENET_LT).epochs == 60
    assert settings.classifier("places_lt", IMAGENET_LT).epochs == 150


def test_a_stage_that_fails_is_named_with_its_last_line(tmp_path, refused) -> None:
    [problem] = refused(lambda: rehearsal.run_stage("prepare nowhere", tmp_path))
    assert problem.startswith("prepare nowhere: exit 2: ")
    assert "expected one of imagenet_lt" in problem


def test_every_stage_is_of_the_graph() -> None:
    text = (rehearsal.HERE.parent / "dvc.yaml").read_text()
    for words in (words for stages in rehearsal.STAGES.values() for words in stages):
        assert f"python -m replication.stages.{words.split()[0]} " in text


def test_what_is_left_when_it_stops_is_named(tmp_path, monkeypatch) -> None:
    """Busy during any stage is busy, however quiet it is when the page is written."""

    def run_stage(words: str, place: Path) -> dict:
        if words.startswith("features"):
            raise BadInput("stopped")
        return {"stage": words, "seconds": 90.0, "peak_mb": 12_289.0, "load": 99.0}

    monkeypatch.setattr(rehearsal, "run_stage", run_stage)
    chosen = {
        "rehearse": tmp_path / "scratch", "results": tmp_path / "bench" / "results",
        "share": 0.002, "dimensions": 4, "seeds": 1, "device": "cpu",
        "benchmark": "inat18", "published": False,
    }  # fmt: skip
    with pytest.raises(BadInput, match="stopped"):
        rehearsal.rehearse(chosen)
    page = (tmp_path / "bench" / "README.md").read_text()
    assert "| prepare inat18 | 90.0 s | 12,289 |" in page
    assert "Not run there: features inat18 paco, heads inat18 paco" in page
    assert "was busy" in page
