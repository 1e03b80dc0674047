"""The rehearsal: its features are what the door takes, its stages what dvc runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bench import cost, rehearsal
from bench.measuring import take
from replication.core.files import BadInput
from replication.core.settings import load
from replication.data.features import read_features


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> tuple[Path, dict[str, int]]:
    made = tmp_path_factory.mktemp("features")
    size = rehearsal.make_features(made, "inat18", 0.002, 4)
    return made, size


def test_published_counts_worked() -> None:
    labels = rehearsal.labels_of("inat18", 1.0)
    assert [len(one) for one in labels.values()] == [437_513, 24_426]
    counts = np.bincount(labels["train"])
    assert (counts.max(), counts.min(), len(counts)) == (1000, 2, 8142)


def test_the_door_takes_its_features(folder) -> None:
    made, size = folder
    found = read_features(made, 8142, val_is_test=True)
    assert found.notes == () and found.num_classes == size["C"] == 8142
    for split in ("train", "test"):
        features, labels = found.splits[split]
        assert features.shape == (size[split], 4)
        assert np.array_equal(
            labels,
            rehearsal.labels_of("inat18", 0.002)[
                "train" if split == "train" else "val"
            ],
        )


def test_a_sample_lies_about_its_class_centre(tmp_path) -> None:
    """Unit noise: the mean of 5,000 is within 5 standard errors, 0.07."""
    labels = np.repeat([0, 1], 5000)
    centres = np.array([[20.0, 30.0], [40.0, 50.0]], np.float32)
    path = tmp_path / "x.safetensors"
    rehearsal.write_features(path, labels, 2, centres, seed=0)
    features = load_file(path)["features"]
    for label, centre in enumerate(centres):
        mine = features[labels == label]
        np.testing.assert_allclose(mine.mean(0), centre, atol=0.07)
    # Blocks have noise of their own: no sample comes twice.
    assert len(np.unique(features, axis=0)) == len(features)


def test_features_are_there_once(folder) -> None:
    made, size = folder
    before = (made / "feature_train.safetensors").stat().st_mtime_ns
    assert rehearsal.make_features(made, "inat18", 0.002, 4) == size
    assert (made / "feature_train.safetensors").stat().st_mtime_ns == before


def test_writing_keeps_a_block_and_not_the_whole(tmp_path) -> None:
    """160 MB are written, twice over; a block is 8 MB, a few of them at a time."""
    labels, path = np.zeros(80_000, np.int64), tmp_path / "x.safetensors"
    centres = np.zeros((1, 512), np.float32)
    taken = take(
        lambda: rehearsal.write_features(path, labels, 512, centres, 0),
        2,
        torch.device("cpu"),
    )
    assert path.stat().st_size > 160e6
    assert taken.peak_mb < 100


def test_params_are_the_checkouts_with_few_epochs(folder, tmp_path) -> None:
    chosen = {
        "seeds": 2, "device": "cpu", "filter_epochs": 3, "classifier_epochs": 4,
        "depth": 2, "benchmark": "inat18", "published": False, "tf32": True,
    }  # fmt: skip
    rehearsal.write_params(tmp_path / "params.yaml", folder[0], chosen)
    settings = load(tmp_path / "params.yaml")
    assert settings.seeds() == (0, 1)
    assert settings.features("inat18", "ce") == folder[0]
    assert settings.filter("inat18").epochs == 3
    assert settings.classifier("inat18").epochs == 4
    assert settings.cascade("inat18").depth == 2
    assert settings.decoupling("inat18").inputs == "features"
    assert settings.tf32()
    rehearsal.write_params(
        tmp_path / "p.yaml",
        folder[0],
        chosen | {"benchmark": "places_lt", "published": True},
    )
    settings = load(tmp_path / "p.yaml")
    assert settings.features("places_lt", "paco") == folder[0]
    assert settings.filter("places_lt").epochs == 60
    assert settings.classifier("places_lt").epochs == 150


def test_places_lt_has_validation_samples_of_its_own() -> None:
    labels = rehearsal.labels_of("places_lt", 1.0)
    assert {name: len(one) for name, one in labels.items()} == {
        "train": 62_500, "val": 7_300, "test": 36_500,
    }  # fmt: skip


def test_a_stage_starts_anew_so_that_its_time_is_whole(tmp_path, refused) -> None:
    """What a killed run kept is gone before the clock starts."""
    kept = tmp_path / ".resume" / "prepare@inat18" / "half"
    kept.parent.mkdir(parents=True)
    kept.write_text("an hour's work")
    refused(lambda: rehearsal.run_stage("prepare nowhere", tmp_path))
    assert not kept.exists()


def test_a_stage_that_fails_is_named_with_its_last_line(tmp_path, refused) -> None:
    [problem] = refused(lambda: rehearsal.run_stage("prepare nowhere", tmp_path))
    assert problem.startswith("prepare nowhere: exit 2: ")
    assert "expected one of imagenet_lt" in problem


def test_every_stage_is_of_the_graph() -> None:
    text = (rehearsal.HERE.parent / "dvc.yaml").read_text()
    for words in (one for some in rehearsal.STAGES.values() for one in some):
        assert f"python -m replication.stages.{words.split()[0]} " in text


def test_over_the_limit_is_said() -> None:
    stage = {"stage": "dlsa", "seconds": 1.0, "peak_mb": 12_289.0}
    assert rehearsal.line(stage).endswith("over 12,288 MB")
    assert "over" not in rehearsal.line({**stage, "peak_mb": 12_288.0})


def test_what_is_done_stands_and_what_is_left_is_named(
    folder, tmp_path, monkeypatch
) -> None:
    """Stopped after two stages; called again it does the rest; other code does all."""
    ran: list[str] = []

    def run_stage(words: str, place: Path) -> dict:
        if len(ran) == 2:
            raise BadInput("stopped")
        ran.append(words)
        return {"stage": words, "seconds": 90.0, "peak_mb": 1234.0, "load": 0.3}

    monkeypatch.setattr(rehearsal, "run_stage", run_stage)
    chosen = {
        "rehearse": tmp_path / "scratch", "results": tmp_path / "bench" / "results",
        "share": 0.002, "dimensions": 4, "filter_epochs": 1, "classifier_epochs": 1,
        "depth": 1, "seeds": 1, "device": "cpu", "tf32": False,
        "benchmark": "inat18", "published": False,
    }  # fmt: skip
    with pytest.raises(BadInput, match="stopped"):
        rehearsal.rehearse(chosen)
    page = (tmp_path / "bench" / "cost.md").read_text()
    assert "| prepare inat18 | 90.0 s | 1,234 |" in page
    assert "Not run there: features inat18 paco, heads inat18 paco" in page
    stages = rehearsal.STAGES["inat18"]
    ran.clear()
    monkeypatch.setitem(rehearsal.STAGES, "inat18", stages[:4])
    rehearsal.rehearse(chosen)
    assert ran == list(stages[2:4])
    assert "Not run there" not in (tmp_path / "bench" / "cost.md").read_text()
    ran.clear()
    monkeypatch.setattr(rehearsal, "code_hash", lambda _: "other code")
    with pytest.raises(BadInput, match="stopped"):
        rehearsal.rehearse(chosen)
    assert ran == list(stages[:2])


@pytest.mark.parametrize(("load", "said"), [(1.4, False), (1.6, True)])
def test_a_machine_that_was_busy_during_any_stage_is_said(load, said) -> None:
    """However quiet it is when the page is written."""
    stage = {"stage": "s", "seconds": 1.0, "peak_mb": 1.0, "load": 0.2}
    one = {
        "machine": {"device": "X", "date": "d", "cores": 2, "threads": 1, "load": 0.0},
        "settings": "s", "left": [], "stages": [stage, stage | {"load": load}],
        "size": {"train": 1, "test": 1, "C": 1, "D": 1}, "benchmark": "inat18",
    }  # fmt: skip
    assert ("was busy" in cost.page({}, [one])) == said
