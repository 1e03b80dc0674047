"""Two processes train what one would: by cross-entropy and by PaCo, through gloo."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from replication.backbones.networks import build_network
from replication.backbones.training import make_fabric, train_network
from replication.core.files import read_json, write_json
from replication.core.settings import BackboneSettings
from replication.core.state import read_state, write_state
from replication.images.batches import ImageSplit
from tests.backbones.made import CPU, equal, images, paco_settings, silent
from tests.made import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
# Without batch-norm, whose statistics each process has for itself.
NETWORK = "test_convnext"
SCRIPT = """
import sys
from pathlib import Path

import torch

from replication.backbones.networks import build_network, features_of
from replication.backbones.paco import (
    Paco, PacoSettings, contrast_step, log_class_prior, train_paco
)
from replication.backbones.training import make_fabric, train_network
from replication.core.files import read_json, write_json
from replication.core.state import read_state, write_state
from replication.core.settings import BackboneSettings, MachineSettings
from replication.images.batches import ImageSplit

folder = Path(sys.argv[1])
torch.set_num_threads(1)
machine = MachineSettings(device="cpu", devices=1, precision="32-true", workers=0)
fabric = make_fabric(machine)
rank, devices = fabric.global_rank, fabric.world_size
given = read_state(folder / "given.pt")
split = ImageSplit(given["labels"], given["pixels"], ())
val = ImageSplit(split.labels[:11], split.pixels[:11], ())
recipes = read_json(folder / "settings.json")

def by_cross_entropy(epochs, resume):
    # The first process alone finds a state.
    place = folder / resume if rank == 0 else None
    recipe = BackboneSettings(**recipes["ce"] | {"epochs": epochs})
    return train_network(fabric, split, val, 3, recipe, 0, place, lambda *_: None)

if devices == 2:
    by_cross_entropy(1, "the first")
    for kind in ("both", "the second"):
        network, rows = by_cross_entropy(2, kind)
        write_state(folder / f"{kind}-{rank}.pt", dict(network.named_parameters()))
        write_json(folder / f"{kind}-{rank}.json", rows)

# PaCo's steps, batch-norm off. The second process starts with a queue, and weights, of
# its own.
settings = PacoSettings(**recipes["paco"])
log_prior = log_class_prior(torch.tensor([5, 3, 2]))
paco = Paco(build_network("resnet8_cifar", 3, None, rank), 8, 32, 0.9, rank)
module, optimiser = fabric.setup(paco, torch.optim.SGD(
    [w for w in paco.parameters() if w.requires_grad], lr=0.05, momentum=0.9
))
started = paco.queue.clone()
module.train()
for part in paco.modules():
    if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
        part.eval()
losses, gradients = [], []
for queries, keys, labels, shuffle in given["steps"]:
    mine = slice(rank * 16 // devices, (rank + 1) * 16 // devices)
    loss, _ = contrast_step(
        fabric, module, paco, queries[mine], keys[mine], labels[mine], shuffle,
        log_prior, settings,
    )
    optimiser.zero_grad()
    fabric.backward(loss)
    gradients.append([w.grad.clone() for w in paco.parameters() if w.requires_grad])
    optimiser.step()
    losses.append(fabric.all_reduce(loss.detach(), reduce_op="mean"))
stepped = {
    "losses": torch.stack(losses), "gradients": gradients, "started": started,
    "features": features_of(paco.encoder_q, given["steps"][0][0]).detach(),
    "queue": paco.queue, "queue_labels": paco.queue_labels, "pointer": paco.pointer,
}

# Batch-norm on: what the processes share stays equal, also through a resumed run.
for epochs in (1, 2):
    recipe = PacoSettings(**recipes["paco"] | {"epochs": epochs})
    network, history = train_paco(
        fabric, split, val, 3, torch.bincount(split.labels), recipe, 0,
        folder / f"resume{devices}", lambda *_: None,
    )
weights = dict(network.named_parameters())
found = {"stepped": stepped, "weights": weights, "history": history}
write_state(folder / f"{devices}-{rank}.pt", found)
fabric.barrier()
"""


@pytest.fixture(scope="module")
def recipe(backbone_settings) -> BackboneSettings:
    # Rates that do not depend on how many epochs there are.
    return backbone_settings(network=NETWORK, epochs=2, lr=0.05, schedule="steps")


def by_one(recipe: BackboneSettings, resume: Path, epochs: int) -> Any:
    """What one process makes of the same, from wherever its state stands."""
    split = images(26, 32)
    assert split.pixels is not None
    # An odd number of images: two processes' shares of them differ.
    val = ImageSplit(split.labels[:11], split.pixels[:11], ())
    recipe = recipe.model_copy(update={"epochs": epochs})
    return train_network(make_fabric(CPU), split, val, 3, recipe, 0, resume, silent)


@pytest.fixture(scope="module")
def made(tmp_path_factory, recipe) -> Path:
    """Folder of what two processes, and for PaCo one as well, made."""
    folder = tmp_path_factory.mktemp("two")
    generator = torch.Generator().manual_seed(0)
    steps = [
        [
            torch.randn(16, 3, 8, 8, generator=generator),
            torch.randn(16, 3, 8, 8, generator=generator),
            torch.randint(3, (16,), generator=generator),
            torch.randperm(16, generator=generator),
        ]
        for _ in range(4)
    ]
    split = images(26, 32)
    given = {"steps": steps, "labels": split.labels, "pixels": split.pixels}
    write_state(folder / "given.pt", given)
    paco = paco_settings(image_size=32, resize=32)
    write_json(
        folder / "settings.json", {"ce": recipe.model_dump(), "paco": paco.model_dump()}
    )
    by_one(recipe, folder / "the second", 1)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(script), str(folder)],
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(folder)])
        runpy.run_path(str(script))
    return folder


@pytest.mark.parametrize("trained", ["both", "the first", "the second"])
def test_two_processes_equal_one_where_images_do_not_mix(
    made, recipe, tmp_path, trained
) -> None:
    """Whichever of two epochs two processes train; only the order of sums differs."""
    start = dict(build_network(NETWORK, 3, None, 0).named_parameters())
    expected, rows = by_one(recipe, tmp_path, 2)
    if trained == "the first":
        network, history = by_one(recipe, made / trained, 2)
        got = dict(network.named_parameters())
    else:
        histories = [read_json(made / f"{trained}-{rank}.json") for rank in (0, 1)]
        states = [read_state(made / f"{trained}-{rank}.pt") for rank in (0, 1)]
        assert histories[0] == histories[1] and equal(*states)
        history, got = histories[0], states[0]
    moved = 0.0
    for key, value in expected.named_parameters():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=1e-6)
        moved = max(moved, (value - start[key]).abs().max().item())
    assert moved > 1e-3
    devices = {"both": [2, 2], "the first": [2, 1], "the second": [1, 2]}[trained]
    assert [row.pop("devices") for row in history] == devices
    for row, other in zip(history, rows, strict=True):
        assert row == pytest.approx({key: other[key] for key in row}, rel=1e-4)


@pytest.fixture(scope="module")
def paco(made) -> list[dict[str, Any]]:
    """What one process made, and the first and second of two."""
    return [read_state(made / f"{name}.pt") for name in ("1-0", "2-0", "2-1")]


def test_two_processes_take_the_steps_of_one(paco) -> None:
    """Losses, gradients and features; weights move and the queue wraps."""
    one, zero, other = (part["stepped"] for part in paco)
    torch.testing.assert_close(zero["losses"], one["losses"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(zero["features"], one["features"], rtol=1e-4, atol=1e-5)
    for step in range(4):
        torch.testing.assert_close(
            zero["gradients"][step], one["gradients"][step], rtol=1e-3, atol=1e-6
        )
    for name in ("losses", "features", "gradients"):
        assert equal(zero[name], other[name])


def test_two_processes_have_one_queue(paco) -> None:
    """Started from the first's; then filled in the order of the global batch."""
    one, zero, other = (part["stepped"] for part in paco)
    assert torch.equal(zero["started"], one["started"])
    for name in ("started", "queue", "queue_labels", "pointer"):
        assert torch.equal(zero[name], other[name])
    torch.testing.assert_close(zero["queue"], one["queue"], rtol=1e-4, atol=1e-5)
    assert torch.equal(zero["queue_labels"], one["queue_labels"])
    assert not torch.equal(zero["queue"], zero["started"])


def test_two_processes_train_one_network(paco) -> None:
    """With each process's own batch statistics; and resumed from the first's state."""
    one, zero, other = paco
    assert len(zero["history"]) == 2
    assert zero["history"] == other["history"]
    assert equal(zero["weights"], other["weights"])
    assert not equal(zero["weights"], one["weights"])
