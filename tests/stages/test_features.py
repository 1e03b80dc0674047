"""Imported features: every file that is read is an input of the run that read it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from replication.classifiers.loading import read_splits
from replication.core.files import read_arrays, read_json
from replication.core.record import record_of
from replication.core.settings import CascadeSettings, load
from replication.core.stage import OUTPUTS, Stage
from replication.data.listing import Listing
from replication.stages import backbone, features, prepare
from tests.made import write_params

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
    write_params(tmp_path, {"inputs": {"own": {"features": GIVEN}}})
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
    given = ("feature_train", "feature_test", "classifier")
    assert inputs("prepare@own") == files("paco", *given)
    for objective in GIVEN:
        backbone.main(Stage(f"backbone_{objective}@own", load()), "own", objective)
        stage = f"features_{objective}@own"
        features.main(Stage(stage, load()), "own", objective)
        assert inputs(stage) == files(objective, *given)
        about = read_json(OUTPUTS / "own" / objective / "features" / "about.json")
        assert about["source"] == "none: features are imported"
        assert about["one_folder"] is False
        assert about["train"] == "clean"


def test_one_class_alone_is_refused_before_anything_trains(checkout, refused) -> None:
    for split in ("train", "test"):
        path = Path(GIVEN["paco"]) / f"feature_{split}.npz"
        features_, labels = np.load(path).values()
        np.savez(path, features=features_, labels=0 * labels)
    (Path(GIVEN["paco"]) / "classifier.npz").unlink()
    assert refused(lambda: prepare.main(Stage("prepare@own", load()), "own")) == [
        "prepare@own: expected at least 2 classes, got 1"
    ]


@pytest.mark.parametrize(
    ("counts", "depth", "leaving"),
    [
        *(([300, 10], 2, 93), ([300, 10], 1, None), ([70, 20, 10], 3, 30)),
        *(([69, 20, 11], 3, None), ([100, 100], 3, None)),
    ],
)
def test_classes_that_one_filter_may_take_out_are_refused_before_anything_trains(
    refused, counts, depth, leaving
) -> None:
    """Of 310 samples 217 stay, of 100 70: all other classes have room in the rest."""
    cascade = CascadeSettings(depth=depth, leaving_share=0.3)

    def check() -> None:
        prepare.refuse_short_cascade("prepare@own", counts, cascade)

    if leaving is None:
        return check()
    assert refused(check) == [
        f"prepare@own: expected 2 classes for each of {depth} filters, got perhaps 1 "
        f"after the first: rare classes leave first, {leaving} of {sum(counts)} "
        f"samples leave, and all classes but the largest have {sum(counts[1:])}; set "
        "cascade.depth to 1, or cascade.leaving_share, which is 0.3, lower"
    ]


def test_a_data_set_that_the_cascade_cannot_take_is_not_prepared(
    checkout, refused
) -> None:
    """By the stage itself, under the share that the settings have."""
    write_params(checkout, {"cascade": {"leaving_share": 0.9}})
    (problem,) = refused(lambda: prepare.main(Stage("prepare@own", load()), "own"))
    assert problem.startswith("prepare@own: expected 2 classes for each of 3 filters")
    assert problem.endswith("cascade.leaving_share, which is 0.9, lower")


def test_leaked_rows_are_found_though_they_were_rounded(checkout) -> None:
    """Two training rows, in half precision and a millionth off, are test rows too."""
    train, test = (Path(GIVEN["paco"]) / f"feature_{s}.npz" for s in ("train", "test"))
    rows, labels = np.load(train).values()
    leaked = np.stack([rows[1].astype(np.float16), rows[7] + 1e-6, *rows[10:11] + 9])
    np.savez(test, features=leaked, labels=labels[[1, 7, 10]])
    prepare.main(Stage("prepare@own", load()), "own")
    about = read_json(OUTPUTS / "own" / "data" / "about.json")
    reason = "2 of 3 test samples are training samples too"
    assert about["doubts"] == [reason]
    assert {
        f"{reason}, the first test/0 (train/1).",
        "2 samples are another one's but for rounding.",
    } <= {*about["notes"]}


# --- training features under augmentation


@pytest.fixture
def trained(checkout, monkeypatch, write_images) -> Path:
    """A checkout with images, whose PaCo network has trained for an epoch."""
    folders = {f"{split}/{c}": 4 for split in ("train", "test") for c in "abc"}
    write_images(checkout / "images", folders)
    small = {"epochs": 1, "batch_size": 4}
    changes = {
        "inputs": {"own": {"images": "images", "features": None}},
        "backbone": {"network": "resnet8_cifar"},
        "view": {"image_size": 32, "resize": 32},
        "machine": {"device": "cpu", "workers": 0},
        "paco": small
        | {"queue_size": 8, "projection_dim": 8}
        | {"query_view": "glyph", "key_view": "glyph"},
        "ce": small,
        "extraction": {"augmented_passes": 2},
    }
    write_params(checkout, changes)
    prepare.main(Stage("prepare@own", load()), "own")
    return checkout


def extracted(objective: str) -> Path:
    backbone.main(Stage(f"backbone_{objective}@own", load()), "own", objective)
    features.main(Stage(f"features_{objective}@own", load()), "own", objective)
    return OUTPUTS / "own" / objective / "features"


def test_pacos_training_features_are_of_its_query_view_cross_entropys_clean(
    trained,
) -> None:
    """What is fitted to is the augmented table where there is one."""
    folder, plain = extracted("paco"), extracted("ce")
    assert read_json(plain / "about.json")["train"] == "clean"
    assert not (plain / "train_augmented.safetensors").exists()
    names = ("train", "train_clean", "test")
    for place, number in ((folder, 24), (plain, 12)):
        splits = read_splits(Stage("heads", load()), place, names, torch.device("cpu"))
        assert [len(splits[name].labels) for name in names] == [number, 12, 12]
        clean = read_arrays(place / "train.safetensors")["features"]
        np.testing.assert_array_equal(splits["train_clean"].features, clean)
    about = read_json(folder / "about.json")
    assert (about["train"], about["augmented_passes"]) == ("augmented", 2)
    assert about["features"] == (
        "a resnet8_cifar trained by PaCo for 1 epochs; 2 augmented looks at each "
        "training image"
    )
    clean, looks = (
        read_arrays(folder / f"{name}.safetensors")
        for name in ("train", "train_augmented")
    )
    assert looks["labels"].tolist() == [*clean["labels"].tolist()] * 2
    passes = np.split(looks["features"], 2)
    assert not np.isclose(passes[0], passes[1]).all(1).any()
    assert not np.isclose(passes[0], clean["features"]).all(1).any()


def test_a_run_killed_between_looks_goes_on_there(trained, monkeypatch) -> None:
    whole = read_arrays(extracted("paco") / "train_augmented.safetensors")
    extract, seeds = features.extract_augmented, []

    def killed(*given: object) -> np.ndarray:
        seeds.append(given[-1])
        if len(seeds) == 2:
            raise KeyboardInterrupt
        return extract(*given)

    monkeypatch.setattr(features, "extract_augmented", killed)
    with pytest.raises(KeyboardInterrupt):
        extracted("paco")
    again = read_arrays(extracted("paco") / "train_augmented.safetensors")
    assert len(seeds) == 3 and seeds[1] == seeds[2] != seeds[0]
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)


def test_imported_looks_are_fitted_to_by_pacos_methods_alone(checkout) -> None:
    (checkout / "params.yaml").unlink()
    write_params(checkout, {"inputs": {"own": {"features": GIVEN["paco"]}}})
    looks = np.random.default_rng(1).standard_normal((45, 4)).astype(np.float32)
    labels = np.tile(np.repeat(np.arange(3), 5), 3)
    path = Path(GIVEN["paco"]) / "feature_train_augmented.npz"
    np.savez(path, features=looks, labels=labels)
    prepare.main(Stage("prepare@own", load()), "own")
    about = read_json(extracted("paco") / "about.json")
    assert (about["train"], about["augmented_passes"]) == ("augmented", 3)
    table = read_arrays(
        OUTPUTS / "own" / "paco" / "features" / "train_augmented.safetensors"
    )
    np.testing.assert_array_equal(table["features"], looks)
    assert read_json(extracted("ce") / "about.json")["train"] == "clean"


def test_an_unbalanced_test_set_is_said() -> None:
    """Classes without test samples are told elsewhere."""

    def said(labels: list[int]) -> list[str]:
        splits = np.array(["train"] * 3 + ["test"] * len(labels))
        columns = np.arange(len(splits)).astype(str), np.array([0, 1, 1, *labels])
        return prepare.unbalanced(Listing(Path("."), *columns, splits, ("a", "b")))

    assert said([0, 0, 1, 1]) == said([1, 1]) == []
    (note,) = said([0, 1, 1, 1])
    assert note.startswith("The test set is unbalanced (1 to 3 samples a class): Over")
