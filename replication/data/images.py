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
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from replication.data.decoding import decode
from replication.files import BadInput, read_arrays, read_table
from replication.settings import BackboneSettings, ImageSettings

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
    decoded = _Decoded(images, order, augmentation(settings), seed)
    yield from _loaded(decoded, batch_size, settings, device, workers)


def plain_batches(
    images: ImageSplit,
    batch_size: int,
    settings: ImageSettings,
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
    decoded = _Decoded(images, order, v2.Compose(_centred(settings)), seed=0)
    yield from _loaded(decoded, batch_size, settings, device, workers)


def _loaded(
    decoded: "_Decoded",
    batch_size: int,
    settings: ImageSettings,
    device: torch.device,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from worker processes; what went wrong in one of them is raised here."""
    loader = DataLoader(
        decoded,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_collated,
        generator=torch.Generator(),
        worker_init_fn=_single_threaded,
        pin_memory=device.type == "cuda",
    )
    for batch in loader:
        if isinstance(batch, BadInput):
            raise batch
        pixels, labels = batch
        yield (
            normalise(pixels.to(device, non_blocking=True), settings),
            labels.to(device, non_blocking=True),
        )


def augmentation(settings: BackboneSettings) -> v2.Transform:
    """The plain recipe's augmentation of one image, as torchvision transforms."""
    size = settings.image_size
    if settings.augmentation == "imagenet":
        return v2.Compose(
            [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
        )
    if settings.augmentation == "none":
        return v2.Compose(_centred(settings))
    crop = v2.RandomCrop(size, padding=_CIFAR_PADDING)
    return v2.Compose([*_centred(settings), crop, v2.RandomHorizontalFlip()])


def _centred(settings: ImageSettings) -> list[v2.Transform]:
    """Shorter side resized, centre cropped; never padded."""
    shorter = max(settings.resize, settings.image_size)
    return [v2.Resize(shorter, antialias=True), v2.CenterCrop(settings.image_size)]


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


def normalise(pixels: Tensor, settings: ImageSettings) -> Tensor:
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


def mixed_seed(*parts: int) -> int:
    """A seed of its own for each sequence of numbers, such as (seed, epoch, sample).

    Implements: not in the paper: the finaliser of SplitMix64, chained.

    Args:
        parts: at or above 0.

    Returns:
        0 .. 2^63 - 1; its lowest 32 bits, all that PyTorch's CPU generator takes, are
        mixed as well.
    """
    mixed = 0
    for part in parts:
        mixed = ((mixed ^ part) + 0x9E3779B97F4A7C15) % 2**64
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def worker_count(workers: str | int) -> int:
    """How many processes decode: as set, or one fewer than this machine has cores."""
    if workers == "auto":
        return max(len(os.sched_getaffinity(0)) - 1, 0)
    return int(workers)


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)


def _collated(
    samples: list[tuple[Tensor, Tensor] | BadInput],
) -> tuple[Tensor, Tensor] | BadInput:
    """A batch, or the first refusal: a worker's exception would lose its one line."""
    for sample in samples:
        if isinstance(sample, BadInput):
            return sample
    return tuple(default_collate(samples))


class _Decoded(Dataset):
    """Decodes and transforms one image; what is drawn follows from its position.

    Implements: not in the paper: the number of worker processes changes no batch, and
    an image that an order names twice is augmented in two ways.
    """

    def __init__(
        self, images: ImageSplit, order: Tensor, transform: v2.Transform, seed: int
    ) -> None:
        self.images, self.order, self.transform = images, order, transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor] | BadInput:
        row = int(self.order[position])
        try:
            image = self._image(row)
        except BadInput as error:
            return error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(self.seed, position))
            return self.transform(image), self.images.labels[row]

    def _image(self, row: int) -> Tensor:
        if self.images.pixels is not None:
            return self.images.pixels[row]
        path = self.images.paths[row]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(
                f"{path}: expected a whole image, got {error.strerror}"
            ) from None
        return pil_to_tensor(decode(content, path))
