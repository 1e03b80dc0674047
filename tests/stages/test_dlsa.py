"""One variant under a seed: what was fitted is not fitted again."""

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

CLASSES, DIMENSIONS = 5, 8
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
CLASSIFIER = ClassifierSettings(
    lr=0.1, batch_size=32, epochs=3, evaluate_every=1, second_terms="drawn"
)


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
        {0: head},
        FILTER,
        CASCADE,
        CLASSIFIER,
        folder,
        comparator=True,
    )


def silent(*_: object) -> None:
    """Report to nobody."""


def test_filters_of_a_run_that_was_killed_are_taken_up(tmp_path, monkeypatch) -> None:
    """Killed between filters and classifiers: the filters are not fitted again."""
    undisturbed, killed = cascades(tmp_path / "u"), cascades(tmp_path / "k")
    undisturbed.decide(0, silent)
    with monkeypatch.context() as patch:
        patch.setattr(dlsa, "decide", lambda *_: (_ for _ in ()).throw(KeyError))
        with pytest.raises(KeyError):
            killed.decide(0, silent)
    assert not killed.decided(0).exists()
    monkeypatch.setattr(dlsa, "fit_chains", lambda *_: pytest.fail("fitted again"))
    killed.decide(0, silent)
    files = undisturbed.decided(0), killed.decided(0)
    arrays, again = map(read_arrays, files)
    protocols = {"validated", "as_released"}
    comparators = {f"plain.{protocol}" for protocol in protocols}
    assert arrays.keys() == again.keys() == protocols | comparators
    for protocol, predicted in arrays.items():
        assert predicted.tolist() == again[protocol].tolist()
    about, later = map(read_about, files)
    assert about["filters"] == later["filters"]
    assert about["classifiers"] == later["classifiers"]
    assert about["timing"].keys() == {"epoch_seconds", "seconds_per_1000"}
