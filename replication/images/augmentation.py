"""The two views of an image that PaCo contrasts: a query's and a key's."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from replication.core.settings import View
from replication.images.colour import jitter

_BLUR_SIGMA = (0.1, 2.0)
# timm's scale, PaCo's: 10 is the strongest; each operation happens half of the time.
# torchvision's RandAugment has 31 steps, other operations and leaves none out.
_RAND_AUGMENT = "rand-n2-m10-mstd0.5"
_IMAGENET_MEAN = (124, 116, 104)
_GREY = 128


class Cutout(v2.Transform):
    """DeVries and Taylor's (2017): black out a square around a random pixel."""

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


class GaussianBlur(v2.Transform):
    """Blur by a Gaussian of a random width, along rows and then along columns.

    It reaches 3 sigma, as Pillow's does, which PaCo takes. (torchvision's weighs all
    13 x 13 neighbours and takes eight times as long.)
    """

    def __init__(self, sigma: tuple[float, float]) -> None:
        super().__init__()
        self.sigma = sigma

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the width."""
        return {"sigma": float(torch.empty(()).uniform_(*self.sigma))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """(3, H, W) uint8 -> the same; borders are mirrored."""
        reach = max(math.ceil(3 * params["sigma"]), 1)
        distances = torch.arange(-reach, reach + 1) / params["sigma"]
        weights = torch.softmax(-(distances**2) / 2, dim=0).tolist()
        values = F.pad(inpt.float(), (reach,) * 4, mode="reflect")
        blurred = _weighed(_weighed(values, weights, dim=2), weights, dim=1)
        return blurred.round_().to(torch.uint8)


def _weighed(values: Tensor, weights: list[float], dim: int) -> Tensor:
    """Sum of a tensor's neighbours along one dimension; weights are symmetric."""
    reach = len(weights) // 2
    length = values.shape[dim] - 2 * reach
    total = values.narrow(dim, reach, length) * weights[reach]
    for near in range(reach):
        far = 2 * reach - near
        pair = values.narrow(dim, near, length) + values.narrow(dim, far, length)
        total.add_(pair, alpha=weights[near])
    return total


class RandAugment(v2.Transform):
    """timm's RandAugment, fed from PyTorch's random numbers."""

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
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _crop(size: int, least: float, **shape: Any) -> v2.RandomResizedCrop:
    return v2.RandomResizedCrop(size, scale=(least, 1.0), antialias=True, **shape)


def _blur() -> v2.RandomApply:
    return v2.RandomApply([GaussianBlur(_BLUR_SIGMA)], 0.5)


def _operations(kind: View, size: int) -> list[v2.Transform]:
    match kind:
        case "randcls":
            flip, augment = v2.RandomHorizontalFlip(), RandAugment(_RAND_AUGMENT)
            return [_crop(size, 0.08), flip, jitter(), augment]
        case "sim":
            grey, flip = v2.RandomGrayscale(0.2), v2.RandomHorizontalFlip()
            return [_crop(size, 0.08), jitter(), grey, _blur(), flip]
        case "cifar_strong":
            whole = [v2.Resize(size, antialias=True), v2.CenterCrop(size)]
            crop, flip = v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip()
            policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=_GREY)
            return [*whole, crop, flip, policy, Cutout(16)]
        case "cifar_sim":
            flip = v2.RandomHorizontalFlip()
            often = v2.RandomApply([jitter(0.1)], 0.8)
            return [_crop(size, 0.2), flip, often, v2.RandomGrayscale(0.2), _blur()]
        case "glyph":  # nothing mirrored or turned: that would make another glyph
            return [_crop(size, 0.6, ratio=(0.9, 1.1)), jitter()]


def paco_views(
    kind_query: View, kind_key: View, image_size: int
) -> tuple[v2.Compose, v2.Compose]:
    """Augmentations of queries and of keys.

    Returns two maps of one image, (3, H, W) uint8 -> (3, image_size, image_size) uint8,
    that draw from PyTorch's global random numbers.
    """
    query, key = (_operations(kind, image_size) for kind in (kind_query, kind_key))
    return v2.Compose(query), v2.Compose(key)
