"""One variant under every seed: what is kept is not fitted again, in any grouping."""

import dataclasses
from pathlib import Path

import pytest
import torch

from replication.classifiers.heads import Term
from replication.core.files import read_about, read_arrays
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.samples.features import Samples
from replication.stages import dlsa

CLASSES, DIMENSIONS, SEEDS = 5, 8, (0, 3)
FILTER = FilterSettings(
    lambda_mle=2.0,
    lambda_bal=0.6,
    lambda_pure=0.03,
    num_clusters=6,
    sigma=0.1,
    eta=0.7,
    weight_exponent=2.0,
    lr=0.01,
    batch_size=64,
    epochs=2,
)
CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
CLASSIFIER = ClassifierSettings(lr=0.1, batch_size=32, epochs=3, evaluate_every=1)


def cascades(folder: Path) -> dlsa.Cascades:
    generator = torch.Generator().manual_seed(0)

    def split(size: int) -> Samples:
        labels = torch.arange(size) % CLASSES
        noise = torch.randn(size, DIMENSIONS, generator=generator)
        return Samples((noise + labels[:, None]).double(), labels)

    head = Term(
        torch.zeros(CLASSES, DIMENSIONS).double(), torch.zeros(CLASSES).double()
    )
    return dlsa.Cascades(
        {"train": split(200), "val": split(50), "test": split(100)},
        CLASSES,
        dict.fromkeys(SEEDS, head),
        FILTER,
        CASCADE,
        CLASSIFIER,
        folder,
    )


def silent(*_: object) -> None:
    """Report to nobody."""


def test_seeds_made_together_are_those_made_alone(tmp_path) -> None:
    alone, together = cascades(tmp_path / "a"), cascades(tmp_path / "t")
    for seed in SEEDS:
        alone.make([seed], silent)
    together.make(SEEDS, silent)
    for seed in SEEDS:
        files = alone.done(seed), together.done(seed)
        one, other = (read_arrays(file) for file in files)
        assert one.keys() == other.keys() == {"paper", "released_code"}
        for protocol, predicted in one.items():
            assert predicted.tolist() == other[protocol].tolist()
        facts = [read_about(file) for file in files]
        assert facts[0]["classifiers"] == facts[1]["classifiers"]
        assert facts[0]["filters"] == facts[1]["filters"]
        assert facts[0]["timing"].keys() == {"epoch_seconds", "seconds_per_1000"}
    assert read_arrays(alone.done(0))["paper"].tolist() != (
        read_arrays(alone.done(3))["paper"].tolist()
    )


def test_filters_of_a_run_that_was_killed_are_taken_up(tmp_path, monkeypatch) -> None:
    """Killed between filters and classifiers: the filters are not fitted again."""
    undisturbed, killed = cascades(tmp_path / "u"), cascades(tmp_path / "k")
    undisturbed.make([0], silent)
    with monkeypatch.context() as patch:
        patch.setattr(dlsa, "decide_each", lambda *_: (_ for _ in ()).throw(KeyError))
        with pytest.raises(KeyError):
            killed.make([0], silent)
    assert not killed.done(0).exists()
    monkeypatch.setattr(dlsa, "fit_levels", lambda *_: pytest.fail("fitted again"))
    killed.make([0], silent)
    mine, its = (read_arrays(one.done(0)) for one in (undisturbed, killed))
    for protocol, predicted in mine.items():
        assert predicted.tolist() == its[protocol].tolist()
    assert (
        read_about(undisturbed.done(0))["filters"]
        == read_about(killed.done(0))["filters"]
    )


@dataclasses.dataclass
class On:
    """What is asked of samples on a device that this machine need not have."""

    device: torch.device
    shape: tuple[int, int]

    @property
    def features(self) -> "On":
        return self

    @property
    def labels(self) -> "On":
        return self

    @property
    def nbytes(self) -> int:
        return 4 * self.shape[0] * self.shape[1]


@pytest.mark.parametrize(
    ("device", "threads", "dimensions", "groups"),
    [
        ("cuda", 1, 2048, [[0, 1, 2]]),  # a step costs its launches
        ("cuda", 1, 2049, [[0], [1], [2]]),  # latents would not fit
        ("cpu", 2, 64, [[0], [1], [2]]),  # a process each
        ("cpu", 1, 64, [[0, 1, 2]]),  # one core, small heads: side by side
        ("cpu", 1, 2048, [[0], [1], [2]]),  # large heads gain nothing
        ("cpu", 8, 2048, [[0], [1], [2]]),  # and are kept one by one
    ],
)
def test_how_seeds_are_grouped(
    device, threads, dimensions, groups, monkeypatch
) -> None:
    """Latents: 3 seeds x 0.5 x (100 + 20 + 100) x 2,048 float32 are 2,703,360 bytes."""
    before = torch.get_num_threads()
    monkeypatch.setattr(
        dlsa,
        "total_memory",
        lambda one: 4 * 2_703_360 if one.type == "cuda" else float("inf"),
    )
    place = torch.device(device)
    splits = {
        "train": On(place, (100, dimensions)),
        "test": On(place, (20, dimensions)),
    }
    torch.set_num_threads(threads)
    try:
        assert dlsa._groups([0, 1, 2], splits, 100, 0.5) == groups
    finally:
        torch.set_num_threads(before)
