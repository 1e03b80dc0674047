"""Training: the schedule, the order, resuming, several processes."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from PIL import Image

from replication.backbones import training
from replication.backbones.extraction import extract_features
from replication.backbones.networks import build_network
from replication.backbones.training import (
    Trained,
    accuracy,
    decoders,
    epoch_order,
    learning_rate,
    make_fabric,
    share_of,
    train_epochs,
    train_network,
)
from replication.core.files import read_json, read_state, write_json, write_state
from replication.core.ranks import Rank
from replication.core.settings import BackboneSettings, ImageSettings, MachineSettings
from replication.images.batches import ImageSplit, normalise, training_batches

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def machine(device: str = "cpu", devices: int = 1) -> MachineSettings:
    return MachineSettings(
        device=device, devices=devices, precision="32-true", workers=0
    )


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric(machine())


def images(number: int = 24, side: int = 8, seed: int = 0) -> ImageSplit:
    """Three classes told apart by the channel that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    pixels = torch.randint(
        100, (number, 3, side, side), generator=generator, dtype=torch.uint8
    )
    pixels[torch.arange(number), labels] += 120
    return ImageSplit(labels, pixels, ())


def silent(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
    """Report of a run that nobody watches."""


def train(
    fabric: Fabric,
    settings: BackboneSettings,
    resume: Path,
    split: ImageSplit | None = None,
    val: ImageSplit | None = None,
    report: Any = silent,
) -> Trained:
    split = split or images()
    return train_network(fabric, split, val, 3, settings, 0, resume, report)


def same(one: Trained, other: Trained) -> bool:
    states = one.network.state_dict(), other.network.state_dict()
    return one.history == other.history and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


# --- the schedule


def rates(settings: BackboneSettings) -> list[float]:
    return [learning_rate(settings, epoch) for epoch in range(settings.epochs)]


def test_warm_up_rises_to_the_full_rate(backbone_settings) -> None:
    settings = backbone_settings(lr=0.5, epochs=20, warmup_epochs=5)
    assert rates(settings)[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_cosine_by_hand(backbone_settings) -> None:
    """After w epochs of warm-up: lr / 2 (1 + cos(pi (e - w + 1) / (E - w + 1)))."""
    settings = backbone_settings(lr=2.0, epochs=5, warmup_epochs=0)
    thirds = [1 + math.cos(math.pi * k / 6) for k in (1, 2, 3, 4, 5)]
    assert rates(settings) == pytest.approx(thirds)
    settings = backbone_settings(lr=2.0, epochs=5, warmup_epochs=2)
    root = math.sqrt(0.5)
    assert rates(settings) == pytest.approx([1, 2, 1 + root, 1, 1 - root])


def test_cosine_ends_low_but_above_zero(backbone_settings) -> None:
    last = rates(backbone_settings(lr=1.0, epochs=400, warmup_epochs=10))[-1]
    assert 0 < last < 1e-4


def test_steps_at_80_and_90_percent(backbone_settings) -> None:
    """x 0.1 after 320 of 400 epochs, x 0.01 after 360."""
    settings = backbone_settings(
        lr=0.05, epochs=400, warmup_epochs=10, schedule="steps"
    )
    got = rates(settings)
    assert got[9:320] == pytest.approx([0.05] * 311)
    assert got[320:360] == pytest.approx([0.005] * 40)
    assert got[360:] == pytest.approx([0.0005] * 40)


@given(
    epochs=st.integers(1, 500),
    warmup=st.integers(0, 600),
    schedule=st.sampled_from(["cosine", "steps"]),
)
def test_rate_is_above_zero_and_falls_after_the_warm_up(
    backbone_settings, epochs, warmup, schedule
) -> None:
    settings = backbone_settings(
        lr=0.3, epochs=epochs, warmup_epochs=warmup, schedule=schedule
    )
    got = rates(settings)
    assert all(0 < rate <= 0.3 * (1 + 1e-12) for rate in got)
    rising, falling = got[:warmup], got[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


# --- the order


def test_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in range(4)]
    assert all(order.sort().values.tolist() == list(range(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)
    assert torch.equal(epoch_order(50, 1, 3), orders[-1])


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


def test_one_process_sees_the_whole_order() -> None:
    order = torch.arange(10)
    assert torch.equal(share_of(order, 4, 0, 1), order)


# --- training


def test_training_learns_what_is_easy(fabric, backbone_settings, tmp_path) -> None:
    settings = backbone_settings(epochs=6, lr=0.05)
    got = train(fabric, settings, tmp_path, images(48), images(30, seed=1))
    assert [row["lr"] for row in got.history] == rates(settings)
    assert got.history[-1]["train_loss"] < got.history[0]["train_loss"]
    assert got.history[-1]["val_accuracy"] > 0.8
    assert got.history[-1]["val_accuracy"] == accuracy(
        fabric, got.network, images(30, seed=1), settings, 0
    )


def test_loss_of_the_first_step_by_hand(fabric, backbone_settings, tmp_path) -> None:
    """One epoch of one batch: the metrics are those of the untrained network."""
    settings = backbone_settings(epochs=1, batch_size=24)
    split = images(24)
    got = train(fabric, settings, tmp_path, split)
    network = build_network(settings.network, 3, None, settings.seed).train()
    logits = network(normalise(split.pixels, settings))
    loss = torch.nn.functional.cross_entropy(logits, split.labels).item()
    (row,) = got.history
    assert row["train_loss"] == pytest.approx(loss, rel=1e-4)
    correct = (logits.argmax(1) == split.labels).float().mean().item()
    assert row["train_accuracy"] == pytest.approx(correct)
    assert "val_accuracy" not in row


def test_training_follows_its_seed(fabric, backbone_settings, tmp_path) -> None:
    runs = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)
        settings = backbone_settings(augmentation="cifar", seed=seed)
        runs.append(train(fabric, settings, tmp_path / str(i)))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_each_epoch_visits_every_image_in_another_order(
    fabric, backbone_settings, tmp_path, monkeypatch
) -> None:
    orders, seeds = [], []

    def watched(*given: Any) -> Any:
        batches = training_batches(*given)

        def epoch(order: torch.Tensor, seed: int) -> Any:
            orders.append(order.tolist())
            seeds.append(seed)
            return batches(order, seed)

        return epoch

    monkeypatch.setattr(training, "training_batches", watched)
    train(fabric, backbone_settings(epochs=3), tmp_path)
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert len(set(seeds)) == 3


def test_report_is_told_each_epoch(fabric, backbone_settings, tmp_path) -> None:
    told = []
    got = train(
        fabric,
        backbone_settings(epochs=3),
        tmp_path,
        report=lambda *arguments: told.append(arguments),
    )
    rows = [row | {"devices": 1} for *_, row in told]
    assert [one[:2] for one in told] == [(epoch, 3) for epoch in range(3)]
    assert rows == got.history


def test_last_batch_of_one_image_is_no_crash(
    fabric, backbone_settings, tmp_path
) -> None:
    """Maps of 1x1 and one image: batch-norm has no variance to take."""
    settings = backbone_settings(network="test_resnet", batch_size=8, epochs=1)
    got = train(fabric, settings, tmp_path, images(9, side=32))
    assert math.isfinite(got.history[0]["train_loss"])


# --- resuming


class Killed(Exception):
    """Stands for a kill after an epoch."""


def as_files(split: ImageSplit, folder: Path) -> ImageSplit:
    folder.mkdir()
    paths = []
    assert split.pixels is not None
    for i, image in enumerate(split.pixels):
        paths.append(folder / f"{i:03d}.png")
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(paths[-1])
    return ImageSplit(split.labels, None, tuple(paths))


@pytest.mark.parametrize("source", ["packed", "files"])
@pytest.mark.parametrize("killed_in", [1, 2])
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
    assert same(whole, resumed)


def test_finished_run_is_taken_up_as_it_is(fabric, backbone_settings, tmp_path) -> None:
    settings = backbone_settings()
    first = train(fabric, settings, tmp_path)

    def report(*_: Any) -> None:
        raise AssertionError("nothing was left to train")

    assert same(first, train(fabric, settings, tmp_path, report=report))


class Pair(torch.nn.Module):
    """A weight that is trained and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = torch.nn.Parameter(torch.ones(3))
        self.stays = torch.nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self) -> torch.Tensor:
        return (self.moves * self.stays).square().sum()


def one_step(fabric: Fabric, killed_in: int | None = None) -> Any:
    """Epochs of one step each; the rate falls, and one of them may be killed."""

    def step(
        module: torch.nn.Module, optimiser: torch.optim.Optimizer, epoch: int
    ) -> dict[str, float]:
        if epoch == killed_in:
            raise Killed
        for group in optimiser.param_groups:
            group["lr"] = 0.1 / (epoch + 1)
        loss = module()
        optimiser.zero_grad()
        fabric.backward(loss)
        optimiser.step()
        return {"loss": loss.item()}

    return step


def test_first_epochs_of_any_model_by_hand(fabric, backbone_settings, tmp_path) -> None:
    """w = 1, gradient 2 w, decay 0.5, momentum 0.9, rates 0.1 and 0.05.

    Step 1: v = 2.5, w = 0.75. Step 2: v = 0.9 * 2.5 + 2.5 * 0.75 = 4.125,
    w = 0.75 - 0.05 * 4.125 = 0.54375. Losses 3 w^2.
    """
    settings = backbone_settings(epochs=2, lr=0.1, momentum=0.9, weight_decay=0.5)
    model, told = Pair(), []
    history = train_epochs(
        fabric, model, settings, tmp_path, one_step(fabric),
        lambda *arguments: told.append(arguments),
    )  # fmt: skip
    assert [row["loss"] for row in history] == pytest.approx([3.0, 3 * 0.75**2])
    torch.testing.assert_close(model.moves.data, torch.full((3,), 0.54375))
    assert torch.equal(model.stays.data, torch.ones(3))
    assert told == [(epoch, 2, {"loss": history[epoch]["loss"]}) for epoch in range(2)]
    assert [row["devices"] for row in history] == [1, 1]


def test_weights_that_are_not_trained_are_not_decayed_either(
    fabric, backbone_settings, tmp_path
) -> None:
    """They are no part of the optimiser, but of the state."""
    settings = backbone_settings(epochs=1, weight_decay=0.5)
    groups = []

    def watched(
        module: torch.nn.Module, optimiser: torch.optim.Optimizer, epoch: int
    ) -> dict[str, float]:
        groups.extend(optimiser.param_groups)
        return {}

    train_epochs(fabric, Pair(), settings, tmp_path, watched, silent)
    (group,) = groups
    assert [len(weight) for weight in group["params"]] == [3]
    assert group["weight_decay"] == 0.5
    (state,) = tmp_path.iterdir()
    assert set(read_state(state)["model"]) == {"moves", "stays"}


@pytest.mark.parametrize("killed_in", [0, 1, 3])
def test_killed_epochs_are_taken_up_where_they_were(
    fabric, backbone_settings, tmp_path, killed_in
) -> None:
    """With momentum and history; what was done is not done again."""
    settings = backbone_settings(epochs=4, weight_decay=0.5)
    whole, resumed, told = Pair(), Pair(), []
    expected = train_epochs(
        fabric, whole, settings, tmp_path / "whole", one_step(fabric), silent
    )
    folder = tmp_path / "resumed"
    with pytest.raises(Killed):
        train_epochs(
            fabric, Pair(), settings, folder, one_step(fabric, killed_in), silent
        )
    history = train_epochs(
        fabric, resumed, settings, folder, one_step(fabric),
        lambda epoch, *_: told.append(epoch),
    )  # fmt: skip
    assert told == list(range(killed_in, 4))
    assert history == expected
    assert torch.equal(resumed.moves.data, whole.moves.data)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_state_is_refused(
    fabric, backbone_settings, tmp_path, refused, share
) -> None:
    settings = backbone_settings(epochs=1)
    train(fabric, settings, tmp_path)
    (state,) = tmp_path.iterdir()
    content = state.read_bytes()
    state.write_bytes(content[: int(share * len(content))])
    (problem,) = refused(lambda: train(fabric, settings, tmp_path))
    assert problem.startswith(f"{state}: expected a file of plain tensors, got ")


# --- refusals


def test_loss_that_is_not_finite_is_refused(
    fabric, backbone_settings, tmp_path, refused
) -> None:
    """And no state is left that a later run would take up."""
    settings = backbone_settings(lr=1e30)
    (problem,) = refused(lambda: train(fabric, settings, tmp_path))
    assert problem.startswith("backbone: the loss is not finite in epoch 1")
    assert list(tmp_path.iterdir()) == []


def test_refusal_of_a_loss_names_the_step(
    fabric, backbone_settings, tmp_path, refused
) -> None:
    """The line names stage, epoch and step."""
    settings = backbone_settings(lr=1e30)
    (problem,) = refused(lambda: train(fabric, settings, tmp_path))
    assert "step" in problem


def test_batch_that_does_not_divide_is_refused(
    fabric, backbone_settings, tmp_path, refused
) -> None:
    class Two:
        """Stands for a Fabric of two processes."""

        world_size = 2

    settings = backbone_settings(batch_size=7)
    assert refused(lambda: train(Two(), settings, tmp_path)) == [
        "backbone.batch_size: expected a multiple of the 2 devices, got 7"
    ]


def test_device_that_is_not_there_is_refused(refused, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:1"):
        assert refused(lambda device=device: make_fabric(machine(device))) == [
            f"device: expected a device of this machine, got {device!r}"
        ]


def test_more_processes_than_devices_are_refused(refused, monkeypatch) -> None:
    """Whoever started them; and of several, none can have a device by its number."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(os, "environ", Rank(1, 4, 1, 2).environment())
    assert refused(lambda: make_fabric(machine("auto"))) == [
        "devices: expected at most the 1 that each process sees on its machine, got 2"
    ]
    assert refused(lambda: make_fabric(machine("cuda:0"))) == [
        "device: expected one of 1 devices and one process, got 'cuda:0' and 4"
    ]


@pytest.mark.parametrize(
    ("cores", "rank", "expected"),
    [
        (16, None, 15),
        (16, Rank(0, 8, 0, 4), 3),
        (2, Rank(0, 8, 0, 4), 0),
        (4, Rank(0, 8, 0, 4, bound=True), 3),
    ],
    ids=["alone", "four share", "too few", "srun gave each its own"],
)
def test_processes_of_a_machine_share_its_cores(
    monkeypatch, cores, rank, expected
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    environment = rank.environment() if rank else {}
    if rank and rank.bound:
        environment["SLURM_CPUS_PER_TASK"] = str(cores)
    monkeypatch.setattr(os, "environ", environment)
    assert decoders("auto") == expected
    assert decoders(5) == 5


def test_number_of_a_device_that_is_not_there_is_refused(refused, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    (problem,) = refused(lambda: make_fabric(machine("cuda:7")))
    assert problem.startswith("device: expected ") and "'cuda:7'" in problem


# --- two processes

# Rates that do not depend on how many epochs there are: runs of one and of two agree.
TWO_SETTINGS = {"epochs": 2, "lr": 0.05, "batch_size": 8, "schedule": "steps"}
NETWORKS = ("resnet8_cifar", "test_convnext")  # with batch-norm, and without
TWO = """
import os
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import TorchElasticEnvironment

from replication.core.ranks import find_rank
from replication.backbones.training import make_fabric, train_epochs, train_network
from replication.images.batches import ImageSplit
from replication.core.files import read_json, read_state, write_json, write_state
from replication.core.settings import BackboneSettings, MachineSettings
from replication.core.together import start_others

if find_rank(os.environ) is None:
    start_others(2)
folder = Path(sys.argv[1])
torch.set_num_threads(1)
fabric = make_fabric(
    MachineSettings(device="cpu", devices=2, precision="32-true", workers=0)
)
given = read_state(folder / "images.pt")
split = ImageSplit(given["labels"], given["pixels"], ())
val = ImageSplit(split.labels[:11], split.pixels[:11], ())
for network, settings in read_json(folder / "settings.json").items():

    def trained(epochs, resume):
        # The first process alone finds a state.
        place = folder / resume / network if fabric.is_global_zero else None
        recipe = BackboneSettings(**settings | {"epochs": epochs})
        return train_network(fabric, split, val, 3, recipe, 0, place, lambda *_: None)

    trained(1, "stopped")
    for kind in ("resume", "begun"):
        got = trained(2, kind)
        name = f"{network}-{kind}-{fabric.global_rank}"
        write_state(folder / f"{name}.pt", dict(got.network.named_parameters()))
        write_json(folder / f"{name}.json", got.history)

# Half precision as on a GPU, where a scale keeps small gradients from vanishing.
settings = BackboneSettings(**settings)
seen = {"scales": [], "weights": []}
for epochs in (1, 2):  # the second run resumes the first
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    half = Fabric(accelerator="cpu", devices=2, strategy="ddp",
                  plugins=[TorchElasticEnvironment(), precision])
    half.launch()
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)

    def one_epoch(module, optimiser, epoch):
        large = epoch == 0 and half.global_rank == 1
        loss = module(torch.ones(1, 1)).sum().float()
        optimiser.zero_grad()
        half.backward(loss * torch.inf if large else loss)
        optimiser.step()
        return {}

    recipe = settings.model_copy(
        update={"epochs": epochs, "lr": 0.25, "weight_decay": 0.0}
    )
    train_epochs(half, model, recipe, folder / "half", one_epoch, lambda *_: None)
    seen["scales"].append(scaler.get_scale())
    seen["weights"].append(model.weight.item())
write_json(folder / f"scale-{half.global_rank}.json", seen)
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory, backbone_settings) -> Path:
    """Folder of what two processes trained on the CPU, through gloo.

    `resume`: both epochs; `begun`: the second, the first being one process's;
    `stopped`: the first, and no more.
    """
    folder = tmp_path_factory.mktemp("two")
    split = images(26, side=32)
    write_state(folder / "images.pt", {"labels": split.labels, "pixels": split.pixels})
    plain = {}
    for network in NETWORKS:
        settings = backbone_settings(network=network, **TWO_SETTINGS)
        plain[network] = settings.model_dump()
        begun = folder / "begun" / network
        train(make_fabric(machine()), settings.model_copy(update={"epochs": 1}), begun,
              split, eleven(split))  # fmt: skip
    write_json(folder / "settings.json", plain)
    script = folder / "two.py"
    script.write_text(TWO)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def eleven(split: ImageSplit) -> ImageSplit:
    """An odd number of images: two processes' shares of them differ."""
    assert split.pixels is not None
    return ImageSplit(split.labels[:11], split.pixels[:11], ())


def one(fabric: Fabric, settings: BackboneSettings, resume: Path) -> Trained:
    """What one process makes of the same, from wherever its state stands."""
    split = images(26, side=32)
    return train(fabric, settings, resume, split, eleven(split))


@pytest.mark.parametrize("network", NETWORKS)
def test_two_processes_end_with_the_same_weights(two, network) -> None:
    first, other = (read_state(two / f"{network}-resume-{rank}.pt") for rank in (0, 1))
    assert first.keys() == other.keys()
    assert all(torch.equal(first[key], other[key]) for key in first)
    histories = [read_json(two / f"{network}-resume-{rank}.json") for rank in (0, 1)]
    assert histories[0] == histories[1] and len(histories[0]) == 2
    assert all(math.isfinite(row["train_loss"]) for row in histories[0])
    assert [row["devices"] for row in histories[0]] == [2, 2]


def differences(
    weights: dict[str, torch.Tensor], history: list[dict[str, float]], by_one: Trained
) -> dict[str, float]:
    """Largest differences from one process: of losses, and of the features' values."""
    settings = ImageSettings(network="test_convnext", image_size=32, resize=32,
                             mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.5])  # fmt: skip
    features = []
    for state in (weights, dict(by_one.network.named_parameters())):
        network = build_network("test_convnext", 3, None, 0)
        network.load_state_dict(state)
        split = images(26, side=32)
        features.append(extract_features(network, split, settings, CPU, 0))
    losses = [[row["train_loss"] for row in rows] for rows in (history, by_one.history)]
    return {
        "features": float(np.abs(features[0] - features[1]).max()),
        "of": float(np.abs(features[1]).max()),
        "losses": float(np.abs(np.subtract(*losses)).max()),
    }


@pytest.mark.parametrize("kind", ["resume", "begun", "stopped"])
def test_two_processes_equal_one_where_images_do_not_mix(
    two, fabric, backbone_settings, tmp_path, kind
) -> None:
    """Without batch-norm the mean of two half batches' gradients is the batch's.

    Nor does it matter which of the epochs two processes trained: both, the second, or
    the first. Only the order of the sums differs; a thousandth part of what training
    moved would be found.
    """
    settings = backbone_settings(network="test_convnext", **TWO_SETTINGS)
    start = dict(build_network("test_convnext", 3, None, 0).named_parameters())
    expected = one(fabric, settings, tmp_path)
    if kind == "stopped":
        resumed = one(fabric, settings, two / kind / "test_convnext")
        history, got = resumed.history, dict(resumed.network.named_parameters())
    else:
        history = read_json(two / f"test_convnext-{kind}-0.json")
        got = read_state(two / f"test_convnext-{kind}-0.pt")
    moved = 0.0
    for key, value in expected.network.named_parameters():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=1e-6)
        moved = max(moved, (value - start[key]).abs().max().item())
    assert moved > 1e-3
    devices = {"resume": [2, 2], "begun": [1, 2], "stopped": [2, 1]}[kind]
    assert [row.pop("devices") for row in history] == devices
    for row, other in zip(history, expected.history, strict=True):
        assert row == pytest.approx({key: other[key] for key in row}, rel=1e-4)
    apart = differences(got, history, expected)
    assert apart["losses"] < 1e-5 and apart["features"] < 1e-5 * apart["of"]


@pytest.mark.parametrize("kind", ["resume", "begun", "stopped"])
def test_two_processes_have_batch_norm_of_their_own(
    two, fabric, backbone_settings, tmp_path, kind
) -> None:
    """As published: each normalises by its half of the batch; it trains as one does."""
    settings = backbone_settings(network="resnet8_cifar", **TWO_SETTINGS)
    by_one = one(fabric, settings, tmp_path).history
    if kind == "stopped":
        history = one(fabric, settings, two / kind / "resnet8_cifar").history
    else:
        history = read_json(two / f"resnet8_cifar-{kind}-0.json")
    losses = [[row["train_loss"] for row in rows] for rows in (by_one, history)]
    assert losses[1] != losses[0]
    assert losses[1][1] < losses[1][0]
    assert losses[1][1] == pytest.approx(losses[0][1], abs=0.2)  # chance has 1.1


def test_processes_share_the_scale_of_half_precision(two) -> None:
    """A gradient that is too large in one process halves the scale in all of them.

    Neither takes that step; and a resumed run goes on with the halved scale.
    """
    rows = [read_json(two / f"scale-{rank}.json") for rank in (0, 1)]
    assert rows[0] == rows[1]
    assert rows[0]["scales"] == [512, 512]
    assert rows[0]["weights"][0] == 1 and rows[0]["weights"][1] == 0.75
