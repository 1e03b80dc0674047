"""Images as batches: the one place where pixels become what a network sees.

Small images are kept decoded and travel to the device once; augmentation is then one
gather for a whole batch. Large images are decoded and augmented by worker processes.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from replication.files import BadInput, read_arrays, read_table
from replication.settings import BackboneSettings

_CIFAR_PADDING = 4


@dataclass(frozen=True)
class ImageSplit:
    """One split of a benchmark.

    Fields: `labels` (N,) int64 on the CPU; `pixels` (N, 3, H, W) uint8 where the images
    are kept decoded; else None, and `paths` (N,) of the files.
    """

    labels: Tensor
    pixels: Tensor | None
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_split(folder: Path, split: str, root: Path | None) -> ImageSplit:
    """Read one split of what `prepare` wrote.

    Args:
        folder: what `prepare` wrote.
        split: train, val or test.
        root: of the image files, where they are not kept decoded.
    """
    index = read_table(folder / "index.csv")
    mine = (index["split"] == split).to_numpy()
    labels = torch.from_numpy(index["label"].to_numpy()[mine].astype(np.int64))
    packed = folder / "pixels.safetensors"
    if packed.is_file():
        pixels = torch.from_numpy(read_arrays(packed)[split])
        return ImageSplit(labels, pixels.permute(0, 3, 1, 2).contiguous(), ())
    if root is None:
        raise BadInput(f"{folder}: expected pixels.safetensors, found none")
    return ImageSplit(labels, None, _paths(index, mine, root))


def _paths(index: pd.DataFrame, mine: np.ndarray, root: Path) -> tuple[Path, ...]:
    return tuple(root / path for path in index["path"].to_numpy()[mine])


def training_batches(
    images: ImageSplit,
    order: Tensor,
    batch_size: int,
    settings: BackboneSettings,
    device: torch.device,
    workers: int,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented, normalised batches in a given order.

    Args:
        images: the training split.
        order: (n,) indices into it: this process's share of the epoch.
        batch_size: images a batch; the last may be smaller.
        settings: augmentation, size, mean and std.
        device: where batches are wanted.
        workers: processes that decode, where there is something to decode.
        seed: of this epoch's augmentation on this process.

    Yields:
        (B, 3, H, W) float32 and (B,) int64, on the device.
    """
    generator = torch.Generator().manual_seed(seed)
    if images.pixels is not None and settings.augmentation in ("cifar", "none"):
        for rows in order.split(batch_size):
            pixels = images.pixels[rows.to(images.pixels.device)].to(device)
            if settings.augmentation == "cifar":
                pixels = crop_and_flip(pixels, generator)
            yield normalise(pixels, settings), images.labels[rows].to(device)
        return
    loader = DataLoader(
        _Decoded(images, order, augmentation(settings)),
        batch_size=batch_size,
        num_workers=workers,
        generator=generator,
        worker_init_fn=_single_threaded,
        pin_memory=device.type == "cuda",
    )
    for pixels, labels in loader:
        yield (
            normalise(pixels.to(device, non_blocking=True), settings),
            labels.to(device, non_blocking=True),
        )


def plain_batches(
    images: ImageSplit,
    batch_size: int,
    settings: BackboneSettings,
    device: torch.device,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised batches in their own order, resized and centre cropped: for testing.

    Yields:
        (B, 3, H, W) float32 and (B,) int64, on the device.
    """
    order = torch.arange(len(images))
    if images.pixels is not None:
        for rows in order.split(batch_size):
            pixels = images.pixels[rows].to(device)
            yield normalise(pixels, settings), images.labels[rows].to(device)
        return
    centre = v2.Compose(
        [
            v2.Resize(settings.resize, antialias=True),
            v2.CenterCrop(settings.image_size),
        ]
    )
    loader = DataLoader(
        _Decoded(images, order, centre),
        batch_size=batch_size,
        num_workers=workers,
        worker_init_fn=_single_threaded,
    )
    for pixels, labels in loader:
        yield normalise(pixels.to(device), settings), labels.to(device)


def augmentation(settings: BackboneSettings) -> v2.Transform:
    """The plain recipe's augmentation of one image, as torchvision transforms."""
    size = settings.image_size
    if settings.augmentation == "imagenet":
        return v2.Compose(
            [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
        )
    fit = [v2.Resize(settings.resize, antialias=True), v2.CenterCrop(size)]
    if settings.augmentation == "none":
        return v2.Compose(fit)
    crop = v2.RandomCrop(size, padding=_CIFAR_PADDING)
    return v2.Compose([*fit, crop, v2.RandomHorizontalFlip()])


def crop_and_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4 with black, crop back at random, mirror half: one gather for the batch.

    Args:
        pixels: (B, 3, H, W) uint8.
        generator: on the CPU.

    Returns:
        (B, 3, H, W) uint8.
    """
    batch, _, height, width = pixels.shape
    device = pixels.device
    shift = torch.randint(2 * _CIFAR_PADDING + 1, (2, batch, 1), generator=generator)
    mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    rows = (shift[0] + torch.arange(height)).to(device)
    columns = torch.arange(width)
    columns = torch.where(mirrored, columns.flip(0), columns) + shift[1]
    columns = columns.to(device)
    padded = torch.nn.functional.pad(pixels, (_CIFAR_PADDING,) * 4)
    sample = torch.arange(batch, device=device)[:, None, None]
    cut = padded[sample, :, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def normalise(pixels: Tensor, settings: BackboneSettings) -> Tensor:
    """Bring bytes to zero mean and unit variance a channel, channels innermost.

    Args:
        pixels: (B, 3, H, W) uint8.

    Returns:
        (B, 3, H, W) float32 in channels-last memory.
    """
    mean = torch.tensor(settings.mean, device=pixels.device).view(1, 3, 1, 1)
    std = torch.tensor(settings.std, device=pixels.device).view(1, 3, 1, 1)
    values = pixels.to(torch.float32, memory_format=torch.channels_last)
    return values.div_(255).sub_(mean).div_(std)


def worker_count(workers: str | int) -> int:
    """How many processes decode: as set, or one fewer than this machine has cores."""
    if workers == "auto":
        return max(len(os.sched_getaffinity(0)) - 1, 0)
    return int(workers)


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)


class _Decoded(Dataset):
    """Decodes and transforms one image; named when it cannot be decoded."""

    def __init__(
        self, images: ImageSplit, order: Tensor, transform: v2.Transform
    ) -> None:
        self.images, self.order, self.transform = images, order, transform

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        row = int(self.order[position])
        if self.images.pixels is not None:
            image = self.images.pixels[row]
        else:
            path = self.images.paths[row]
            try:
                image = decode_image(str(path), mode=ImageReadMode.RGB)
            except RuntimeError as error:
                first = str(error).splitlines()[0]
                raise BadInput(f"{path}: expected a whole image, got {first}") from None
        return self.transform(image), self.images.labels[row]
