"""Loading, on one core: from image files to normalised batches on the device.

The reference is the common recipe: Pillow decodes and transforms, and each view
becomes normalised floats by itself.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter
from timm.data.auto_augment import rand_augment_transform
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from replication.core.settings import BackboneSettings
from replication.data.decoding import decode
from replication.images.augmentation import paco_views, view_batches
from replication.images.batches import ImageSplit, plain_batches, training_batches

Size = Mapping[str, int]
Work = Callable[[], Any]

_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Detail of four sizes, strongest first: such a JPEG has about as many bytes a pixel as
# a photograph.
_DETAIL = ((4, 90), (16, 50), (64, 40), (250, 90))


def write_photographs(folder: Path, size: Size) -> tuple[Path, ...]:
    """B JPEGs of smoothed noise, quality 90, of the size of a photograph."""
    paths = []
    for number in range(size["B"]):
        generator = torch.Generator().manual_seed(number)
        levels = torch.full((1, 3, size["height"], size["width"]), 128.0)
        for cells, strength in _DETAIL:
            coarse = torch.rand(1, 3, cells, cells, generator=generator) - 0.5
            levels += strength * F.interpolate(coarse, levels.shape[2:], mode="bicubic")
        pixels = levels[0].clamp(0, 255).byte().permute(1, 2, 0)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels.contiguous().numpy()).save(paths[-1], quality=90)
    return tuple(paths)


@contextmanager
def _one_core() -> Iterator[None]:
    """As in a worker process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _work(size: Size, epoch: Callable[[ImageSplit], Any]) -> Work:
    """Photographs in a folder that goes with the work."""
    folder = tempfile.TemporaryDirectory()
    paths = write_photographs(Path(folder.name), size)
    images = ImageSplit(torch.zeros(len(paths), dtype=torch.int64), None, paths)

    def work() -> None:
        assert Path(folder.name).is_dir()
        with _one_core():
            epoch(images)

    return work


def _settings(size: Size) -> BackboneSettings:
    return BackboneSettings(
        network="resnet50",
        pretrained=None,
        image_size=size["pixels"],
        resize=size["pixels"] * 8 // 7,
        mean=_MEAN,
        std=_STD,
        augmentation="imagenet",
        epochs=1,
        lr=0.1,
        momentum=0.9,
        weight_decay=0.0,
        batch_size=size["B"],
        warmup_epochs=0,
        schedule="cosine",
        seed=0,
    )


# --- ours


def plain_training(size: Size, device: torch.device) -> Work:
    """Cross-entropy's: random crop, mirrored or not."""

    def epoch(images: ImageSplit) -> None:
        made = training_batches(images, size["B"], _settings(size), device, 0)
        list(made(torch.arange(len(images)), 0))

    return _work(size, epoch)


def paco_training(size: Size, device: torch.device) -> Work:
    """PaCo's two views of each image on ImageNet-LT and iNat18: randcls and sim."""
    views = paco_views("randcls", "sim", size["pixels"])

    def epoch(images: ImageSplit) -> None:
        made = view_batches(images, size["B"], *views, _settings(size), device, 0)
        list(made(torch.arange(len(images)), 0))

    return _work(size, epoch)


def extraction(size: Size, device: torch.device) -> Work:
    """Resized and cut out of the middle."""
    return _work(
        size,
        lambda images: list(
            plain_batches(images, size["B"], _settings(size), device, 0)
        ),
    )


# --- the reference


def _recipe(*steps: Any) -> transforms.Compose:
    normalised = transforms.Normalize(_MEAN, _STD)
    return transforms.Compose([*steps, transforms.ToTensor(), normalised])


def _by_pillow(size: Size, device: torch.device, *recipes: transforms.Compose) -> Work:
    def view(recipe: transforms.Compose, images: list[Image.Image]) -> Tensor:
        return torch.stack([recipe(image) for image in images]).to(device)

    def epoch(images: ImageSplit) -> list[Tensor]:
        decoded = [decode(path.read_bytes(), path) for path in images.paths]
        return [view(recipe, decoded) for recipe in recipes]

    return _work(size, epoch)


def reference_plain_training(size: Size, device: torch.device) -> Work:
    """torchvision's recipe for ImageNet."""
    recipe = _recipe(
        transforms.RandomResizedCrop(size["pixels"]), transforms.RandomHorizontalFlip()
    )
    return _by_pillow(size, device, recipe)


def reference_paco_training(size: Size, device: torch.device) -> Work:
    """The same two views, as PaCo's released code puts them together."""
    pixels, jitter = size["pixels"], transforms.ColorJitter(0.4, 0.4, 0.4, 0.0)
    blur = transforms.Lambda(
        lambda image: image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2)))
    )
    flip = transforms.RandomHorizontalFlip()
    grey = tuple(round(255 * mean) for mean in _MEAN)
    augment = rand_augment_transform("rand-n2-m10-mstd0.5", {"img_mean": grey})
    randcls = _recipe(transforms.RandomResizedCrop(pixels), flip, jitter, augment)
    sim = _recipe(
        transforms.RandomResizedCrop(pixels),
        jitter,
        transforms.RandomGrayscale(0.2),
        transforms.RandomApply([blur], 0.5),
        flip,
    )
    return _by_pillow(size, device, randcls, sim)


def reference_extraction(size: Size, device: torch.device) -> Work:
    """torchvision's recipe for testing."""
    recipe = _recipe(
        transforms.Resize(size["pixels"] * 8 // 7),
        transforms.CenterCrop(size["pixels"]),
    )
    return _by_pillow(size, device, recipe)


WAYS = {
    "load to train": (plain_training, reference_plain_training),
    "load PaCo's views": (paco_training, reference_paco_training),
    "load to extract": (extraction, reference_extraction),
}
