"""Training a network by cross-entropy, resumable at every epoch, on Lightning Fabric.

Every random choice of epoch e follows from (seed, e) alone: a run that was killed and
resumed passes through the same states as one that was not.
"""

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from replication.backbones.checkpoints import start_network
from replication.core.device import pick_device
from replication.core.files import BadInput
from replication.core.processes import launched
from replication.core.progress import Tell
from replication.core.settings import (
    BackboneSettings,
    ImageSettings,
    MachineSettings,
    PacoSettings,
)
from replication.core.state import read_state, write_state
from replication.images.batches import (
    Epoch,
    ImageSplit,
    looked_at_once,
    plain_batches,
    subset,
    training_batches,
    worker_count,
)

Recipe = BackboneSettings | PacoSettings
History = list[dict[str, float]]  # a row an epoch


def learning_rate(settings: Recipe, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0, by PaCo's schedules.

    Warm-up lr (e + 1) / w over w epochs; then the cosine, or steps of 0.1 at 80 % and
    0.01 at 90 % of the epochs.
    """
    lr, epochs, warmup = settings.lr, settings.epochs, settings.warmup_epochs
    if epoch < warmup:
        return lr * (epoch + 1) / warmup
    if settings.schedule == "steps":
        drops = (epoch >= 0.8 * epochs) + (epoch >= 0.9 * epochs)
        return lr * 0.1**drops
    done = (epoch - warmup + 1) / (epochs - warmup + 1)
    return 0.5 * lr * (1 + math.cos(math.pi * done))


def epoch_order(num_samples: int, seed: int, epoch: int) -> Tensor:
    """(N,) permutation in which an epoch visits the samples, in every process."""
    generator = torch.Generator().manual_seed(_stream_seed(seed, epoch, stream=0))
    return torch.randperm(num_samples, generator=generator)


def share_of(order: Tensor, batch_size: int, rank: int, world: int) -> Tensor:
    """One process's share: of each global batch, its own consecutive part.

    `order`: (N,) the epoch's order. `batch_size`: of all processes together; a multiple
    of `world`. Returns (n,) with n equal on all processes; fewer than `world` samples
    at the end, which do not divide evenly, are left out of the epoch.
    """
    whole = order[: len(order) - len(order) % world]
    parts = [batch.tensor_split(world)[rank] for batch in whole.split(batch_size)]
    return torch.cat(parts)


def make_fabric(machine: MachineSettings) -> Fabric:
    """This process's device, among those of all processes that train together.

    How many there are says the launcher alone: torchrun, srun, or none.

    Raises BadInput: a device that this machine does not have, or a job of SLURM that
    does not say how many of its tasks share a machine.
    """
    try:
        launcher = _launcher()
    except RuntimeError as error:  # SLURM's settings, by Fabric's own words
        raise BadInput(f"srun: {error}") from None
    by_srun = os.environ.get("SLURM_NTASKS_PER_NODE") or "1"
    here = int(os.environ.get("LOCAL_WORLD_SIZE", by_srun)) if launched() else 1
    world = launcher.world_size()
    accelerator, chosen = _devices(machine.device, here, world)
    fabric = Fabric(
        accelerator=accelerator,
        devices=chosen,
        num_nodes=world // here,
        strategy="ddp" if world > 1 else "auto",
        plugins=[launcher],
        precision=machine.precision,
    )
    fabric.launch()
    return fabric


def _launcher() -> ClusterEnvironment:
    """Not left to Fabric, which takes each job of SLURM that has tasks for srun's."""
    if not launched():
        return LightningEnvironment()
    torchrun = TorchElasticEnvironment.detect()
    return TorchElasticEnvironment() if torchrun else SLURMEnvironment()


def _devices(device: str, processes: int, world: int) -> tuple[str, int | list[int]]:
    """Fabric's words for the devices of this machine's processes."""
    picked, there = pick_device(device), torch.cuda.device_count()
    if picked.type == "cpu":
        return "cpu", processes
    if picked.index is not None and world > 1:
        raise BadInput(
            f"machine.device: expected one process for {device}, got {world}"
        )
    if processes > there:
        raise BadInput(
            f"machine.devices: expected at most the {there} that each process sees on "
            f"its machine, got {processes}"
        )
    return "cuda", processes if picked.index is None else [picked.index]


def train_network(
    fabric: Fabric,
    train: ImageSplit,
    val: ImageSplit | None,
    num_classes: int,
    settings: BackboneSettings,
    workers: str | int,
    resume: Path | None,
    report: Tell,
) -> tuple[nn.Module, History]:
    """Train a network by cross-entropy, the plain recipe of the field.

    `val` gives a curve, and nothing is chosen by it; the rest as in `train_epochs`.

    Raises BadInput: the loss is not finite, or the batch does not divide among devices.
    """
    if settings.batch_size % fabric.world_size:
        raise BadInput(
            f"ce.batch_size: expected a multiple of the {fabric.world_size} "
            f"devices, got {settings.batch_size}"
        )
    network = start_network(
        settings.network, num_classes, settings.pretrained, settings.seed
    ).to(memory_format=torch.channels_last)
    if settings.augmentation in ("cifar", "none"):  # else processes read the pixels
        pixels = None if train.pixels is None else train.pixels.to(fabric.device)
        train = ImageSplit(train.labels, pixels, train.paths)
    number = worker_count(workers)
    batches = training_batches(
        train, settings.batch_size // fabric.world_size, settings, fabric.device, number
    )

    one_epoch = partial(_one_epoch, fabric, batches, len(train), settings)
    look = partial(validated, fabric, val, settings, number)
    history = train_epochs(fabric, network, settings, resume, one_epoch, look, report)
    return network, history


def train_epochs(
    fabric: Fabric,
    model: nn.Module,
    settings: Recipe,
    resume: Path | None,
    one_epoch: Callable[[nn.Module, torch.optim.Optimizer, int], dict[str, float]],
    look: Callable[[nn.Module], dict[str, float]],
    report: Tell,
) -> History:
    """Train a model by SGD epoch after epoch, from wherever its state file stands.

    A run that is killed goes on where it was, on as many processes as it then has. The
    state is that of the first process: weights, momentum and gradient scale are the
    same in all, and DDP gives all of them the first one's batch-norm statistics.

    Args:
        model: trained in place; what does not require a gradient stays.
        resume: folder of the training state, written after each epoch by the first
            process, which alone needs it: the others get the state from there.
        one_epoch: trains (module, optimiser, epoch from 0); `look` looks at the module
            after it; what they return is that epoch's row, the same in all processes.
        report: told (epoch, epochs, metrics) after each epoch, in the first process.

    Returns a row an epoch, with the number of processes that trained it.
    """
    optimiser = torch.optim.SGD(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    state: dict[str, Any] = {}
    if fabric.is_global_zero and resume and (resume / "state.pt").is_file():
        state = read_state(resume / "state.pt")
    state = fabric.broadcast(state)
    history = state["history"] if state else []
    if state:
        model.load_state_dict(state["model"])
    module, optimiser = fabric.setup(model, optimiser)
    precision = fabric.strategy.precision
    if state:
        optimiser.load_state_dict(state["optimiser"])
        precision.load_state_dict(state["precision"])
    for epoch in range(len(history), settings.epochs):
        lr = learning_rate(settings, epoch)
        for group in optimiser.param_groups:
            group["lr"] = lr
        metrics = {"lr": lr, **one_epoch(module.train(), optimiser, epoch)}
        metrics |= look(module)
        history.append(metrics | {"devices": fabric.world_size})
        if resume is not None and fabric.is_global_zero:
            report(epoch, settings.epochs, metrics)
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "precision": precision.state_dict(),
                "history": history,
            }
            write_state(resume / "state.pt", state)
        # No process is an epoch ahead of the state that it would be resumed from.
        fabric.barrier()
    return history


def refuse_not_finite(losses: Tensor, epoch: int, objective: str) -> None:
    """Refuse an epoch's losses (steps,) where one is not finite."""
    finite = losses.isfinite()
    if not finite.all():
        raise BadInput(
            f"backbone: the loss is not finite in epoch {epoch + 1}, step "
            f"{int(finite.int().argmin()) + 1}; a smaller {objective}.lr may help"
        )


def _one_epoch(
    fabric: Fabric,
    batches: Epoch,
    num_images: int,
    settings: BackboneSettings,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    epoch: int,
) -> dict[str, float]:
    """Train for one epoch; loss and accuracy are those of the training batches."""
    rank, world = fabric.global_rank, fabric.world_size
    order = epoch_order(num_images, settings.seed, epoch)
    share = share_of(order, settings.batch_size, rank, world)
    seed = _stream_seed(settings.seed, epoch, stream=1 + rank)
    seen: list[Tensor] = []
    normed = any(isinstance(part, _BatchNorm) for part in module.modules())
    for pixels, labels in batches(share, seed):
        if normed and len(labels) == 1 and len(share) > 1:
            continue  # one image has no variance; the next epochs' orders take it in
        logits = module(pixels)
        loss = F.cross_entropy(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimiser.step()
        with torch.no_grad():
            correct = (logits.argmax(1) == labels).sum()
            size = torch.full((), float(len(labels)), device=labels.device)
            seen.append(torch.stack([loss.detach() * size, correct, size]))
    # (steps, 3), of all processes: a loss that one cannot use stops them all.
    steps = fabric.all_reduce(torch.stack(seen), reduce_op="sum")
    refuse_not_finite(steps[:, 0], epoch, "ce")
    loss_sum, correct, samples = steps.sum(0).tolist()
    return {"train_loss": loss_sum / samples, "train_accuracy": correct / samples}


@torch.no_grad()
def validated(
    fabric: Fabric,
    val: ImageSplit | None,
    settings: ImageSettings,
    workers: int,
    module: nn.Module,
) -> dict[str, float]:
    """Accuracy on the validation images as a metric; nothing where there are none.

    Each process looks at its share of the images; all take as many, for they pass
    through the module together: the last one's may be looked at twice, counted once.
    """
    if val is None or len(val) == 0:
        return {}
    module.eval()
    each = math.ceil(len(val) / fabric.world_size)
    rows = torch.arange(each) + fabric.global_rank * each
    batches = plain_batches(
        subset(val, rows % len(val)),
        looked_at_once(settings.image_size, fabric.device),
        settings,
        fabric.device,
        workers,
    )
    right = [module(pixels).argmax(1) == labels for pixels, labels in batches]
    counted = torch.cat(right) & (rows < len(val)).to(fabric.device)
    correct = fabric.all_reduce(counted.sum(), reduce_op="sum").item()
    return {"val_accuracy": correct / len(val)}


def _stream_seed(seed: int, epoch: int, stream: int) -> int:
    """A seed of its own for each (seed, epoch, stream).

    Not `mixed_seed`, which gives other orders: weights come out as they always did.
    """
    mixed = (seed + 1) * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + stream
    mixed &= 2**64 - 1
    mixed ^= mixed >> 31
    return (mixed * 0x94D049BB133111EB) % 2**63
