"""The two views of an image that PaCo contrasts: a query's and a key's.

A view of a sample follows from the epoch's seed and the sample alone: neither the
number of worker processes, nor of devices, nor the batch it falls into changes it.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import pil_to_tensor

from replication.data.decoding import decode
from replication.data.images import ImageSplit, mixed_seed, normalise
from replication.files import BadInput
from replication.settings import ImageSettings, View

# Pillow's Gaussian blur, PaCo's, reaches 6 pixels at the largest sigma of 2.
_BLUR = v2.GaussianBlur(kernel_size=13, sigma=(0.1, 2.0))
# timm's scale, PaCo's: 10 is the strongest; each operation happens half of the time.
# torchvision's RandAugment has 31 steps, other operations and leaves none out.
_RAND_AUGMENT = "rand-n2-m10-mstd0.5"
_IMAGENET_MEAN = (124, 116, 104)
_GREY = 128


class Cutout(v2.Transform):
    """Black out a square around a random pixel, cut off at the image's edges.

    Implements: not in the paper: DeVries and Taylor (2017), one hole.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the centre: any pixel of the image, each as likely."""
        height, width = functional.get_size(flat_inputs[0])
        return {
            "row": int(torch.randint(height, ())),
            "column": int(torch.randint(width, ())),
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """(..., H, W) -> the same, with a hole."""
        half = self.side // 2
        top, left = max(params["row"] - half, 0), max(params["column"] - half, 0)
        holed = inpt.clone()
        bottom, right = params["row"] + half, params["column"] + half
        holed[..., top:bottom, left:right] = 0
        return holed


class RandAugment(v2.Transform):
    """timm's RandAugment, fed from PyTorch's random numbers.

    Implements: not in the paper: RandAugment as PaCo uses it.
    """

    def __init__(self, config: str) -> None:
        super().__init__()
        self.augment = rand_augment_transform(config, {"img_mean": _IMAGENET_MEAN})

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """(3, H, W) uint8 -> the same; the caller's other generators are left alone."""
        seed = int(torch.randint(2**32, ()))
        with _seeded_outside_torch(seed):
            augmented = self.augment(functional.to_pil_image(inpt))
        return functional.pil_to_tensor(augmented)


@contextmanager
def _seeded_outside_torch(seed: int) -> Iterator[None]:
    kept = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _randcls(size: int) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.0),
            RandAugment(_RAND_AUGMENT),
        ]
    )


def _sim(size: int) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.0),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([_BLUR], 0.5),
            v2.RandomHorizontalFlip(0.5),
        ]
    )


def _cifar_strong(size: int) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomCrop(size, padding=4),
            v2.RandomHorizontalFlip(0.5),
            v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=_GREY),
            Cutout(16),
        ]
    )


def _cifar_sim(size: int) -> v2.Compose:
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([_BLUR], 0.5),
        ]
    )


def _glyph(size: int) -> v2.Compose:
    """The stand-in's: nothing is mirrored or turned, that would make another glyph."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(
                size, scale=(0.6, 1.0), ratio=(0.9, 1.1), antialias=True
            ),
            v2.ColorJitter(0.4, 0.4, 0.4, 0.0),
        ]
    )


_VIEWS = {
    "randcls": _randcls,
    "sim": _sim,
    "cifar_strong": _cifar_strong,
    "cifar_sim": _cifar_sim,
    "glyph": _glyph,
}


def paco_views(
    kind_query: View, kind_key: View, image_size: int
) -> tuple[v2.Compose, v2.Compose]:
    """Augmentations of queries and of keys.

    Implements: not in the paper: PaCo's views.

    Args:
        kind_query: of the query's view.
        kind_key: of the key's view.
        image_size: pixels a side that come out; `cifar_strong` expects to get them.

    Returns:
        Two maps of one image, (3, H, W) uint8 -> (3, image_size, image_size) uint8,
        that draw from PyTorch's global random numbers.
    """
    return _VIEWS[kind_query](image_size), _VIEWS[kind_key](image_size)


def view_batches(
    images: ImageSplit,
    order: Tensor,
    batch_size: int,
    query: v2.Transform,
    key: v2.Transform,
    settings: ImageSettings,
    device: torch.device,
    workers: int,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Both views of each image, normalised, in a given order.

    Args:
        images: the training split, on the CPU.
        order: (n,) indices into it, none twice: this process's share of the epoch.
        batch_size: images a batch; the last may be smaller.
        query: augmentation of one image for its query.
        key: augmentation of one image for its key.
        settings: mean and std; any section that has both.
        device: where batches are wanted.
        workers: processes that decode and augment.
        seed: of this epoch's views, the same on every process.

    Yields:
        Queries and keys (B, 3, H, W) float32 and labels (B,) int64, on the device.

    Raises:
        BadInput: an image cannot be decoded.
    """
    loader = DataLoader(
        _Views(images, order, query, key, seed),
        batch_size=batch_size,
        num_workers=workers,
        # A generator of its own: a loader without one draws from the caller's.
        generator=torch.Generator(),
        worker_init_fn=_single_threaded,
        collate_fn=_collated,
        pin_memory=device.type == "cuda",
    )
    for batch in loader:
        if isinstance(batch, str):
            raise BadInput(batch)
        queries, keys, labels = (part.to(device, non_blocking=True) for part in batch)
        yield normalise(queries, settings), normalise(keys, settings), labels


def _single_threaded(_: int) -> None:
    torch.set_num_threads(1)


def _collated(items: list[Any]) -> Any:
    """A batch; or, in words, why there is none: an error raised in a worker process
    would reach the reader as a page of two processes' tracebacks."""
    problems = [item for item in items if isinstance(item, str)]
    return problems[0] if problems else default_collate(items)


class _Views(Dataset):
    """Decodes one image and makes its two views; or says what is wrong with it."""

    def __init__(
        self,
        images: ImageSplit,
        order: Tensor,
        query: v2.Transform,
        key: v2.Transform,
        seed: int,
    ) -> None:
        self.images, self.order, self.seed = images, order, seed
        self.query, self.key = query, key

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor] | str:
        row = int(self.order[position])
        if self.images.pixels is not None:
            image = self.images.pixels[row]
        else:
            path = self.images.paths[row]
            try:
                image = pil_to_tensor(decode(path.read_bytes(), path))
            except BadInput as error:
                return str(error)
            except OSError as error:
                return f"{path}: expected a whole image, got {error.strerror}"
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the caller's accelerator as well.
            torch.default_generator.manual_seed(mixed_seed(self.seed, row))
            return self.query(image), self.key(image), self.images.labels[row]
