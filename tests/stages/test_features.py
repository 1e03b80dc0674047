"""Imported features: every file that is read is an input of the run that read it."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from replication.core.files import read_json, read_yaml
from replication.core.record import record_of
from replication.core.settings import load
from replication.core.stage import OUTPUTS, Stage
from replication.stages import backbone, features, prepare

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {"paco": "theirs/paco", "ce": "theirs/ce"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose benchmark `own` has features of its own for each objective."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for folder in map(Path, GIVEN.values()):
        folder.mkdir(parents=True)
        for split, each in (("train", 5), ("test", 2)):
            labels = np.repeat(np.arange(3), each)
            drawn = generator.standard_normal((len(labels), 4))
            np.savez(folder / f"feature_{split}.npz", features=drawn, labels=labels)
        weight, bias = np.ones((3, 4)), np.zeros(3)
        np.savez(folder / "classifier.npz", weight=weight, bias=bias)
        (folder / "notes.txt").write_text("not read")
    params = read_yaml(ROOT / "params.yaml")
    params["inputs"]["own"]["features"] = GIVEN
    YAML(typ="safe").dump(params, tmp_path / "params.yaml")
    return tmp_path


def files(objective: str, *names: str) -> set[str]:
    return {f"{GIVEN[objective]}/{name}.npz" for name in names}


def inputs(stage: str) -> set[str]:
    recorded = read_json(record_of(stage))["inputs"]
    return {name for name in recorded if not name.startswith("outputs/")}


def test_files_of_imported_features_are_inputs_of_the_runs_that_read_them(
    checkout,
) -> None:
    prepare.main(Stage("prepare@own", load()), "own")
    about = read_json(OUTPUTS / "own" / "data" / "about.json")
    assert "Cached features: not read: notes.txt." in about["notes"]
    samples = ("feature_train", "feature_test")
    assert inputs("prepare@own") == files("paco", *samples)
    for objective in GIVEN:
        backbone.main(Stage(f"backbone_{objective}@own", load()), "own", objective)
        stage = f"features_{objective}@own"
        features.main(Stage(stage, load()), "own", objective)
        assert inputs(stage) == files(objective, *samples, "classifier")
        about = read_json(OUTPUTS / "own" / objective / "features" / "about.json")
        assert about["source"] == "none: features are imported"
        assert about["one_folder"] is False
