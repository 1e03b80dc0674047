"""Images as batches: the one place where pixels become what a network sees.

Small images are kept decoded and travel to the device once; augmentation is then one
gather for a whole batch. Large images are decoded and augmented by worker processes,
and travel as bytes; the device normalises them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from replication.core.cores import cores
from replication.core.files import BadInput, read_arrays, read_table
from replication.core.settings import BackboneSettings, ImageSettings
from replication.data.decoding import decode, read_image

if TYPE_CHECKING:  # a second to load: only where one is used
    from torchvision.transforms import v2


# (order, seed) -> the batches of one epoch: pixels, of each view, and labels.
Epoch = Callable[[Tensor, int], Iterator[tuple[Tensor, ...]]]

_CIFAR_PADDING = 4
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 16, 256
_CACHED_PIXELS = 2**18
# So many make some 2,000 images a second of PaCo's views, the dearest (bench/): about
# what one GPU can take, by estimate. More would cost memory and time to start.
_MOST_WORKERS = 16


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
    """Read one split of what `prepare` wrote to `folder`.

    `root` is that of the image files, where they are not kept decoded.
    """
    index = read_table(folder / "index.csv")
    index = index[index["split"] == split]
    labels = torch.tensor(index["label"].to_numpy(np.int64))
    packed = folder / "pixels.safetensors"
    if packed.is_file():
        pixels = torch.from_numpy(read_arrays(packed)[split])
        return ImageSplit(labels, pixels.permute(0, 3, 1, 2).contiguous(), ())
    if root is None:
        raise BadInput(f"{folder}: expected pixels.safetensors, found none")
    return ImageSplit(labels, None, tuple(root / path for path in index["path"]))


def subset(images: ImageSplit, rows: Tensor) -> ImageSplit:
    """Some images of a split, by their numbers (n,)."""
    pixels = None if images.pixels is None else images.pixels[rows]
    paths = tuple(images.paths[row] for row in rows) if images.paths else ()
    return ImageSplit(images.labels[rows], pixels, paths)


def training_batches(
    images: ImageSplit,
    batch_size: int,
    settings: BackboneSettings,
    device: torch.device,
    workers: int,
) -> Epoch:
    """Augmented, normalised batches, epoch after epoch.

    Returns a function of `order` (n,), indices into the images, this process's share of
    the epoch, and of the seed of the epoch's augmentation on this process. It yields
    (B, 3, H, W) float32 and (B,) int64, on the device; the last batch may be smaller.
    Its worker processes stay from one epoch to the next.
    """
    if images.pixels is not None and settings.augmentation in ("cifar", "none"):
        shifted = settings.augmentation == "cifar"
        return partial(_packed_epoch, images, batch_size, settings, device, shifted)
    loader = Loader(images, [augmentation(settings)], batch_size, device, workers)

    def epoch(order: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        seeds = (mixed_seed(seed, position) for position in range(len(order)))
        for pixels, labels in loader.batches(order, seeds):
            yield normalise(pixels, settings), labels

    return epoch


def _packed_epoch(
    images: ImageSplit,
    batch_size: int,
    settings: ImageSettings,
    device: torch.device,
    shifted: bool,
    order: Tensor,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for rows in order.split(batch_size):
        pixels = images.pixels[_sent(rows, images.pixels.device)].to(device)
        if shifted:
            pixels = crop_and_flip(pixels, generator)
        yield normalise(pixels, settings), _sent(images.labels[rows], device)


def _sent(values: Tensor, device: torch.device) -> Tensor:
    """A little from the CPU to a device, without waiting for what that still does."""
    return values.to(device, non_blocking=True)


def view_batches(
    images: ImageSplit,
    views: "Sequence[v2.Transform]",
    batch_size: int,
    settings: ImageSettings,
    device: torch.device,
    workers: int,
) -> Epoch:
    """Views of each image, normalised, epoch after epoch; as `training_batches`.

    A view follows from the epoch's seed and the image alone: neither the batch, nor the
    number of processes that decode or train changes it. No image is there twice.
    """
    loader = Loader(images, views, batch_size, device, workers)

    def epoch(order: Tensor, seed: int) -> Iterator[tuple[Tensor, ...]]:
        seeds = (mixed_seed(seed, row) for row in order.tolist())
        for *pixels, labels in loader.batches(order, seeds):
            yield *(normalise(view, settings) for view in pixels), labels

    return epoch


def plain_batches(
    images: ImageSplit,
    batch_size: int,
    settings: ImageSettings,
    device: torch.device,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the images' order, resized and centre cropped; nothing is drawn."""
    order = torch.arange(len(images))
    if images.pixels is not None:
        return _packed_epoch(images, batch_size, settings, device, False, order, 0)
    from torchvision.transforms import v2

    centred = v2.Compose(_centred(settings))
    return view_batches(images, [centred], batch_size, settings, device, workers)(
        order, 0
    )


def augmentation(settings: BackboneSettings) -> "v2.Transform":
    """The plain recipe's augmentation of one image, as torchvision transforms."""
    from torchvision.transforms import InterpolationMode, v2

    from replication.images.colour import jitter

    size, how = settings.image_size, InterpolationMode(settings.interpolation)
    crop = v2.RandomResizedCrop(size, interpolation=how, antialias=True)
    shift, flip = v2.RandomCrop(size, padding=_CIFAR_PADDING), v2.RandomHorizontalFlip()
    operations = {
        "cifar": [*_centred(settings), shift, flip],
        "imagenet": [crop, flip],
        "imagenet_jitter": [crop, flip, jitter()],
        "none": _centred(settings),
    }
    return v2.Compose(operations[settings.augmentation])


def _centred(settings: ImageSettings) -> "list[v2.Transform]":
    """Shorter side resized, centre cropped; never padded."""
    from torchvision.transforms import InterpolationMode, v2

    shorter = max(settings.resize, settings.image_size)
    how = InterpolationMode(settings.interpolation)
    resized = v2.Resize(shorter, interpolation=how, antialias=True)
    return [resized, v2.CenterCrop(settings.image_size)]


def crop_and_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pad (B, 3, H, W) by 4 with black, crop back at random, mirror half: one gather.

    The generator is on the CPU.
    """
    batch, _, height, width = pixels.shape
    device = pixels.device
    shift = torch.randint(2 * _CIFAR_PADDING + 1, (2, batch, 1), generator=generator)
    mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    rows = _sent(shift[0] + torch.arange(height), device)
    columns = torch.arange(width)
    columns = torch.where(mirrored, columns.flip(0), columns) + shift[1]
    columns = _sent(columns, device)
    padded = torch.nn.functional.pad(pixels, (_CIFAR_PADDING,) * 4)
    sample = torch.arange(batch, device=device)[:, None, None]
    cut = padded[sample, :, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def normalise(pixels: Tensor, settings: ImageSettings) -> Tensor:
    """Bytes (B, 3, H, W) to zero mean and unit variance a channel, float32.

    They come back in channels-last memory.
    """
    channels = torch.tensor([settings.mean, settings.std]).view(2, 1, 3, 1, 1)
    mean, std = _sent(channels, pixels.device)
    values = pixels.to(torch.float32, memory_format=torch.channels_last)
    return values.div_(255).sub_(mean).div_(std)


def mixed_seed(*parts: int) -> int:
    """A seed below 2^63 for each sequence of numbers such as (seed, epoch, sample).

    The finaliser of SplitMix64, chained: its lowest 32 bits, all that PyTorch's CPU
    generator takes, are mixed as well.
    """
    mixed = 0
    for part in parts:
        mixed = ((mixed ^ part) + 0x9E3779B97F4A7C15) % 2**64
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
        mixed ^= mixed >> 31
    return mixed >> 1


def worker_count(workers: str | int) -> int:
    """How many processes decode: as asked; auto leaves a core, and is not too many.

    Processes that torchrun started share the machine's cores; srun gives each its own.
    """
    if workers == "auto":
        sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return min(max(cores() // sharing - 1, 0), _MOST_WORKERS)
    return int(workers)


def looked_at_once(image_size: int, device: torch.device) -> int:
    """Images of a batch that nothing is learnt from.

    On a CPU a small one, whose maps stay in its cache: EfficientNet-Lite0 at 224 pixels
    reads 60 images a second by 16, 35 by 64 and 25 by 256 (one thread, an AMD EPYC).
    """
    if device.type != "cpu":
        return _MOST_AT_ONCE
    return min(max(_CACHED_PIXELS // image_size**2, _FEWEST_AT_ONCE), _MOST_AT_ONCE)


class Loader:
    """Batches of images that worker processes decode and transform.

    The number of worker processes changes no batch. They start with the first epoch,
    stay for those that follow, and end with this object.
    """

    def __init__(
        self,
        images: ImageSplit,
        views: "Sequence[v2.Transform]",
        batch_size: int,
        device: torch.device,
        workers: int,
    ) -> None:
        """Prepare; nothing starts yet. 0 workers: this process does it.

        `views` are transforms of one image, each to the same size; they draw from
        PyTorch's global random numbers.
        """
        self.device, self.plan = device, _Plan(batch_size)
        self.loader = DataLoader(
            _Decoded(images, views),
            batch_sampler=self.plan,
            num_workers=workers,
            persistent_workers=workers > 0,
            # Forked, whatever Python's default: only a worker whose parent is this
            # process notices that it was killed, and ends too.
            multiprocessing_context="fork" if workers else None,
            collate_fn=_collated,
            # A generator of its own: a loader without one draws from the caller's.
            generator=torch.Generator(),
            pin_memory=device.type == "cuda",
        )

    def batches(self, order: Tensor, seeds: Iterable[int]) -> Iterator[list[Tensor]]:
        """One epoch: images by their order (n,), what is drawn for each by its seed.

        Yields (B, 3, H, W) uint8 for each view, and labels (B,) int64, on the device.
        Raises BadInput: an image cannot be decoded.
        """
        self.plan.asked = zip(order.tolist(), seeds, strict=False)
        for batch in self.loader:
            if isinstance(batch, BadInput):
                del self.loader  # and with it the workers: nobody asks for more
                raise batch
            yield [part.to(self.device, non_blocking=True) for part in batch]


class _Plan:
    """Which images the epoch at hand asks for, each with its seed, in batches."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.asked: Iterator[tuple[int, int]] = iter(())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        while batch := list(islice(self.asked, self.batch_size)):
            yield batch


class _Decoded(Dataset):
    """Decodes one image and makes its views; what is drawn follows from its seed."""

    def __init__(self, images: ImageSplit, views: "Sequence[v2.Transform]") -> None:
        self.images, self.views = images, views

    def __getitem__(self, asked: tuple[int, int]) -> tuple[Tensor, ...] | BadInput:
        row, seed = asked
        try:
            image = self._image(row)
        except BadInput as error:  # raised in a worker, it would lose its one line
            return error
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the caller's accelerator as well.
            torch.default_generator.manual_seed(seed)
            return *(view(image) for view in self.views), self.images.labels[row]

    def _image(self, row: int) -> Tensor:
        if self.images.pixels is not None:
            return self.images.pixels[row]
        from torchvision.transforms.v2.functional import pil_to_tensor

        path = self.images.paths[row]
        return pil_to_tensor(decode(read_image(path), path))


def _collated(samples: list[tuple[Tensor, ...] | BadInput]) -> list[Tensor] | BadInput:
    refusals = [sample for sample in samples if isinstance(sample, BadInput)]
    return refusals[0] if refusals else default_collate(samples)
