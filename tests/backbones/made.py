"""What the tests of both objectives share: settings, images, comparisons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from replication.core.settings import MachineSettings, PacoSettings
from replication.images.batches import ImageSplit

CPU = MachineSettings(device="cpu", devices=1, precision="32-true", workers=0)
# What both objectives' settings have.
TRAINING: dict[str, Any] = {
    "network": "resnet8_cifar",
    "pretrained": None,
    "interpolation": "bilinear",
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.25, 0.5],
    "epochs": 2,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "seed": 0,
}
_PACO = {
    **{"image_size": 16, "resize": 16, "lr": 0.05, "batch_size": 16},
    **{"query_view": "cifar_strong", "key_view": "cifar_sim", "freeze": False},
    **{"warmup_epochs": 1, "queue_size": 32, "projection_dim": 8},
    **{"key_momentum": 0.9, "temperature": 0.2, "alpha": 0.05},
    **dict.fromkeys(("beta", "gamma", "supt"), 1.0),
}


def paco_settings(**changes: Any) -> PacoSettings:
    """Small settings of PaCo, with changes by name."""
    return PacoSettings(**TRAINING | _PACO | changes)


def images(number: int = 24, side: int = 8, seed: int = 0) -> ImageSplit:
    """Three classes told apart by the channel that is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    shape = (number, 3, side, side)
    pixels = torch.randint(100, shape, generator=generator, dtype=torch.uint8)
    pixels[torch.arange(number), labels] += 120
    return ImageSplit(labels, pixels, ())


def as_files(split: ImageSplit, folder: Path) -> ImageSplit:
    """The same split with its images in files."""
    folder.mkdir(exist_ok=True)
    paths = tuple(folder / f"{row:03d}.png" for row in range(len(split)))
    for image, path in zip(split.pixels, paths, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return ImageSplit(split.labels, None, paths)


def silent(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
    """Report of a run that nobody watches."""


class Killed(Exception):
    """Stands for a kill after an epoch."""


class TwoProcesses:
    """Stands for a Fabric of two processes, where sizes are checked."""

    world_size = 2


def equal(one: Any, other: Any) -> bool:
    """Nested containers of tensors, bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other
