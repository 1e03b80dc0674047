"""One variant under a seed: what was fitted is not fitted again."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from replication.classifiers.heads import Term
from replication.core.files import read_about, read_arrays, read_json, read_table
from replication.core.settings import (
    CascadeSettings,
)
from replication.protocols import PROTOCOLS, Protocol, rungs_of
from replication.samples.features import Samples
from replication.stages import dlsa
from tests.sections import checkout

CLASSES, DIMENSIONS, CPU = 5, 8, torch.device("cpu")
_OWN = {"lambda_mle": 2.0, "lambda_bal": 0.6, "lambda_pure": 0.03, "num_clusters": 6}
FILTER = checkout.FILTER.model_copy(update={**_OWN, "sigma": 0.1, "lr": 0.01})
CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
CLASSIFIER = checkout.CLASSIFIER.model_copy(update={"lr": 0.1, "epochs": 3})


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
        {key: tuple(rungs_of(protocol)) for key, protocol in PROTOCOLS.items()},
    )


def silent(*_: object) -> None:
    """Report to nobody."""


@pytest.mark.parametrize("done", [0, 1])
def test_what_a_killed_run_had_fitted_is_taken_up(
    tmp_path, monkeypatch, done: int
) -> None:
    """Killed before the rungs of a protocol: what was before is not fitted again."""
    undisturbed, killed = cascades(tmp_path / "u"), cascades(tmp_path / "k")
    undisturbed.decide(CPU, silent)
    climb, asked = dlsa.Setup.climb, []

    def spy(setup: dlsa.Setup, names: object, protocol: Protocol) -> object:
        asked.append(protocol.key)
        return climb(setup, names, protocol)

    def kill(*arguments: object) -> object:
        if len(asked) == done:
            raise KeyError
        return spy(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(dlsa.Setup, "climb", kill)
        with pytest.raises(KeyError):
            killed.decide(CPU, silent)
    monkeypatch.setattr(dlsa, "fit_chains", lambda *_: pytest.fail("fitted again"))
    monkeypatch.setattr(dlsa.Setup, "climb", spy)
    killed.decide(CPU, silent)
    assert asked == ["validated", "as_released"]
    assert not list(killed.folder.glob("fit-*"))  # the states of finished fits
    for kind, key in product(("filters", "rungs"), PROTOCOLS):
        files = [some.file(kind, 0, key) for some in (undisturbed, killed)]
        arrays, again = map(read_arrays, files)
        assert arrays.keys() == again.keys()
        for name, values in arrays.items():
            assert np.array_equal(values, again[name], equal_nan=True), name
        about, later = map(read_about, files)
        assert about == later


def test_the_tables_hold_every_rung_and_who_had_left(tmp_path, capsys) -> None:
    """`predictions` and `plain` are two of the ladder's; log P(x) is of who remains.

    Of five classes, tested as often, a head of zeros is right on one.
    """
    some = cascades(tmp_path / "resume")
    some.decide(CPU, silent)
    labels = {split: some.splits[split].labels.numpy() for split in ("train", "test")}
    dlsa._write(tmp_path, some, labels)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "its head: Overall 20.0 % (as_released), 20.0 % (validated)"
    ladder = read_table(tmp_path / "ladder.predictions.safetensors")
    assert set(ladder["rung"]) == set(rungs_of(PROTOCOLS["as_released"]))
    for file, rung in (("predictions", "drawn"), ("plain.predictions", "plain")):
        table = read_table(tmp_path / f"{file}.safetensors")
        same = ladder[ladder["rung"] == rung]["prediction"]
        assert table["prediction"].tolist() == same.tolist()
    arrays = read_arrays(tmp_path / "likelihoods.safetensors")
    filters = read_json(tmp_path / "diagnostics.json")["0"]["filters"]["validated"]
    for depth, diagnosis in enumerate(filters, start=1):
        values = arrays[f"0.validated.{depth}.test"]
        of_split = diagnosis["splits"]["test"]
        assert np.isfinite(values).sum() == of_split["samples"]
        assert np.nanmean(values) == pytest.approx(of_split["log_likelihood"], rel=1e-5)
    assert filters[0]["splits"]["test"]["samples"] == len(labels["test"])
