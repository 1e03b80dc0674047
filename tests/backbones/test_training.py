"""Training: the schedule, the order, the first steps, resuming, refusals."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric

from replication.backbones.training import (
    History,
    learning_rate,
    make_fabric,
    share_of,
    train_epochs,
    train_network,
    validated,
)
from replication.core.settings import BackboneSettings, MachineSettings
from replication.images.batches import ImageSplit
from tests.backbones.made import (
    CPU,
    Killed,
    TwoProcesses,
    as_files,
    equal,
    images,
    silent,
)


def machine(device: str) -> MachineSettings:
    return CPU.model_copy(update={"device": device})


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric(CPU)


def train(
    fabric: Fabric,
    settings: BackboneSettings,
    resume: Path,
    split: ImageSplit | None = None,
    val: ImageSplit | None = None,
    report: Any = silent,
) -> tuple[torch.nn.Module, History]:
    split = split or images()
    return train_network(fabric, split, val, 3, settings, 0, resume, report)


# --- the schedule


def rates(settings: BackboneSettings) -> list[float]:
    return [learning_rate(settings, epoch) for epoch in range(settings.epochs)]


def test_cosine_by_hand(backbone_settings) -> None:
    """After w epochs of warm-up: lr / 2 (1 + cos(pi (e - w + 1) / (E - w + 1)))."""
    settings = backbone_settings(lr=2.0, epochs=5, warmup_epochs=0)
    thirds = [1 + math.cos(math.pi * k / 6) for k in (1, 2, 3, 4, 5)]
    assert rates(settings) == pytest.approx(thirds)
    settings = backbone_settings(lr=2.0, epochs=5, warmup_epochs=2)
    root = math.sqrt(0.5)
    assert rates(settings) == pytest.approx([1, 2, 1 + root, 1, 1 - root])


def test_steps_at_80_and_90_percent(backbone_settings) -> None:
    """x 0.1 after 320 of 400 epochs, x 0.01 after 360."""
    settings = backbone_settings(
        lr=0.05, epochs=400, warmup_epochs=10, schedule="steps"
    )
    got = rates(settings)
    assert got[9:320] == pytest.approx([0.05] * 311)
    assert got[320:360] == pytest.approx([0.005] * 40)
    assert got[360:] == pytest.approx([0.0005] * 40)


# --- the order


@given(samples=st.integers(0, 60), part=st.integers(1, 6), world=st.integers(1, 4))
def test_shares_make_up_the_global_batches(samples, part, world) -> None:
    """Every batch is what one process would have seen; fewer than `world` are left."""
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(samples))
    batch_size = part * world
    shares = [share_of(order, batch_size, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    steps = [share.split(part) for share in shares]
    together = [torch.cat(parts) for parts in zip(*steps, strict=True)]
    left = len(order) - sum(map(len, together))
    assert 0 <= left < world
    assert torch.equal(torch.cat(together), order[: samples - left])
    assert all(len(batch) == batch_size for batch in together[:-1])


# --- training


def test_training_learns_what_is_easy(fabric, backbone_settings, tmp_path) -> None:
    settings = backbone_settings(epochs=6, lr=0.05)
    val = images(30, seed=1)
    network, rows = train(fabric, settings, tmp_path, images(48), val)
    assert [row["lr"] for row in rows] == rates(settings)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["val_accuracy"] > 0.8
    again = validated(fabric, val, settings, 0, network)
    assert again == {"val_accuracy": rows[-1]["val_accuracy"]}


def test_last_batch_of_one_image_is_no_crash(
    fabric, backbone_settings, tmp_path
) -> None:
    """Maps of 1x1 and one image: batch-norm has no variance to take."""
    settings = backbone_settings(network="test_resnet", batch_size=8, epochs=1)
    _, rows = train(fabric, settings, tmp_path, images(9, side=32))
    assert math.isfinite(rows[0]["train_loss"])


# --- resuming


@pytest.mark.parametrize(("source", "killed_in"), [("packed", 1), ("files", 2)])
def test_resumed_run_equals_one_that_was_not_stopped(
    fabric, backbone_settings, tmp_path, source, killed_in
) -> None:
    """Bit for bit: weights, batch-norm statistics, history."""
    settings = backbone_settings(
        augmentation="cifar", epochs=4, warmup_epochs=1, image_size=8, resize=8
    )
    split = images() if source == "packed" else as_files(images(), tmp_path / "images")
    val = images(12, seed=1)
    whole = train(fabric, settings, tmp_path / "whole", split, val)
    told = []

    def report(epoch: int, _: int, __: Mapping[str, float]) -> None:
        told.append(epoch)
        if told == list(range(killed_in + 1)):
            raise Killed

    resume = tmp_path / "resumed"
    with pytest.raises(Killed):
        train(fabric, settings, resume, split, val, report)
    torch.manual_seed(99)
    resumed = train(fabric, settings, resume, split, val, report)
    assert told == [*range(killed_in + 1), *range(killed_in, 4)]
    assert whole[1] == resumed[1]
    assert equal(whole[0].state_dict(), resumed[0].state_dict())


class Pair(torch.nn.Module):
    """A weight that is trained and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = torch.nn.Parameter(torch.ones(3))
        self.stays = torch.nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self) -> torch.Tensor:
        return (self.moves * self.stays).square().sum()


def test_first_epochs_of_any_model_by_hand(fabric, backbone_settings, tmp_path) -> None:
    """w = 1, gradient 2 w, decay 0.5, momentum 0.9, warm-up: rates 0.05 and 0.1.

    Step 1: v = 2.5, w = 0.875. Step 2: v = 0.9 * 2.5 + 2.5 * 0.875 = 4.4375,
    w = 0.875 - 0.1 * 4.4375 = 0.43125. Losses 3 w^2.
    """
    settings = backbone_settings(
        epochs=2, lr=0.1, warmup_epochs=2, momentum=0.9, weight_decay=0.5
    )

    def step(module: Any, optimiser: Any, _: int) -> dict[str, float]:
        loss = module()
        optimiser.zero_grad()
        fabric.backward(loss)
        optimiser.step()
        return {"loss": loss.item()}

    model, told = Pair(), []
    history = train_epochs(
        fabric, model, settings, tmp_path, step, lambda module: {"seen": 1},
        lambda *arguments: told.append(arguments),
    )  # fmt: skip
    losses = pytest.approx([3.0, 3 * 0.875**2])
    assert [row["loss"] for row in history] == losses
    torch.testing.assert_close(model.moves.data, torch.full((3,), 0.43125))
    assert torch.equal(model.stays.data, torch.ones(3))
    assert [(row["lr"], row["seen"]) for row in history] == [(0.05, 1), (0.1, 1)]
    assert [row.pop("devices") for row in history] == [1, 1]
    assert told == [(epoch, 2, history[epoch]) for epoch in range(2)]


# --- refusals


def test_loss_that_is_not_finite_is_refused(
    fabric, backbone_settings, tmp_path, refused
) -> None:
    """And no state is left that a later run would take up."""
    settings = backbone_settings(lr=1e30)
    assert refused(lambda: train(fabric, settings, tmp_path)) == [
        "backbone: the loss is not finite in epoch 1, step 2; a smaller ce.lr may help"
    ]
    assert list(tmp_path.iterdir()) == []


def test_batch_that_does_not_divide_is_refused(
    fabric, backbone_settings, tmp_path, refused
) -> None:
    settings = backbone_settings(batch_size=7)
    assert refused(lambda: train(TwoProcesses(), settings, tmp_path)) == [
        "ce.batch_size: expected a multiple of the 2 devices, got 7"
    ]


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
}


def test_more_processes_than_devices_are_refused(refused, monkeypatch) -> None:
    """And of several processes, none can have a device by its number."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert refused(lambda: make_fabric(machine("auto"))) == [
        "machine.devices: expected at most the 1 that each process sees on its "
        "machine, got 2"
    ]
    assert refused(lambda: make_fabric(machine("cuda:0"))) == [
        "machine.device: expected one process for cuda:0, got 4"
    ]


def test_a_batch_job_without_srun_trains_alone(monkeypatch) -> None:
    """Fabric would refuse it, or wait for the job's other tasks."""
    for name, value in {"NTASKS": "4", "PROCID": "0", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert make_fabric(CPU).world_size == 1


def test_tasks_of_srun_must_be_counted_by_machine(refused, monkeypatch) -> None:
    names = ("NTASKS", "STEP_NUM_TASKS")
    for name in names:
        monkeypatch.setenv(f"SLURM_{name}", "4")
    (problem,) = refused(lambda: make_fabric(CPU))
    assert problem.startswith("srun: ") and "--ntasks-per-node" in problem
