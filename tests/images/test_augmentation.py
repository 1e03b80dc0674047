"""Views: what they are made of, how often each thing happens, seeds."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from replication.images.augmentation import (
    Cutout,
    GaussianBlur,
    RandAugment,
    paco_views,
)
from replication.images.batches import (
    ImageSplit,
    augmentation,
    mixed_seed,
    view_batches,
)
from replication.images.colour import ColorJitter

CPU = torch.device("cpu")
KINDS = ("randcls", "sim", "cifar_strong", "cifar_sim")
ALL_KINDS = (*KINDS, "glyph")  # the stand-in's
CHANNELS = SimpleNamespace(mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.5])


def picture(height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """Smooth, in colour, unlike its mirror image, nowhere black."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(
        coarse, (height, width), mode="bilinear", align_corners=True
    )
    return (20 + 220 * smooth[0]).byte()


def split(number: int = 12, side: int = 32) -> ImageSplit:
    pixels = torch.stack([picture(side, side, seed) for seed in range(number)])
    return ImageSplit(torch.arange(number) % 5, pixels, ())


def batches(
    images: ImageSplit,
    order: Tensor,
    kinds: tuple[str, str] = ("cifar_strong", "cifar_sim"),
    batch_size: int = 4,
    size: int = 32,
    workers: int = 0,
    seed: int = 0,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    views = paco_views(*kinds, size)
    epoch = view_batches(images, views, batch_size, CHANNELS, CPU, workers)
    return list(epoch(order, seed))


def joined(parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# In the order of PaCo's released code.
OPERATIONS = {
    "randcls": "RandomResizedCrop RandomHorizontalFlip ColorJitter RandAugment",
    "sim": "RandomResizedCrop ColorJitter RandomGrayscale RandomApply "
    "RandomHorizontalFlip",
    "cifar_strong": "Resize CenterCrop RandomCrop RandomHorizontalFlip AutoAugment "
    "Cutout",
    "cifar_sim": "RandomResizedCrop RandomHorizontalFlip RandomApply RandomGrayscale "
    "RandomApply",
    "glyph": "RandomResizedCrop ColorJitter",
}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_operations_are_those_of_the_list(kind) -> None:
    other = "sim" if kind == "randcls" else "randcls"
    for view in (paco_views(kind, other, 32)[0], paco_views(other, kind, 32)[1]):
        names = [type(part).__name__ for part in view.transforms]
        assert names == OPERATIONS[kind].split()


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        *((kind, (32, 32)) for kind in ALL_KINDS),
        *((kind, (50, 40)) for kind in ALL_KINDS),
    ],
)
def test_view_is_bytes_of_the_size_asked(kind, side) -> None:
    view, _ = paco_views(kind, kind, 32)
    before = picture(*side)
    got = view(before)
    assert got.shape == (3, 32, 32) and got.dtype == torch.uint8
    assert torch.equal(before, picture(*side))


# --- glyphs


def half_white(side: int = 32) -> Tensor:
    """White on the left, black on the right."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    image[:, :, : side // 2] = 255
    return image


def test_glyph_view_mirrors_nothing_and_turns_nothing() -> None:
    """A mirrored or turned glyph is another glyph.

    At most 0.27 of the width is cut off, so that the edge stays inside; the jitter
    leaves white brighter than black. Rows are alike before and after, up to rounding.
    """
    torch.manual_seed(0)
    view, _ = paco_views("glyph", "glyph", 32)
    for _ in range(400):
        wide, high = view(half_white()).int(), view(half_white().mT).int()
        assert wide[:, :, :16].sum() > wide[:, :, 16:].sum()
        assert high[:, :16].sum() > high[:, 16:].sum()
        assert (wide - wide[:, :1]).abs().max() <= 1
        assert (high - high[:, :, :1]).abs().max() <= 1


# --- jitter


@pytest.mark.parametrize("hue", [0.0, 0.1])
def test_jitter_is_that_of_torchvision(hue) -> None:
    """From the same draws, but for rounding, which later steps may enlarge."""
    ranges = (0.4, 0.4, 0.4, hue)
    ours, theirs = ColorJitter(*ranges), v2.ColorJitter(*ranges)
    equal = []
    for seed in range(60):
        image = picture(40, 24, seed)
        torch.manual_seed(seed)
        found = ours(image)
        torch.manual_seed(seed)
        expected = theirs(image)
        assert found.dtype == torch.uint8 and torch.equal(image, picture(40, 24, seed))
        difference = (found.int() - expected.int()).abs()
        assert difference.float().mean() < 0.1 and difference.max() <= 8
        equal.append((difference == 0).float().mean())
    assert torch.stack(equal).mean() > 0.99


def test_decouples_augmentation_is_crop_flip_and_then_colours(
    backbone_settings,
) -> None:
    """Without hue; iNat18 has no jitter."""
    crop = ["RandomResizedCrop", "RandomHorizontalFlip"]
    for kind, names in (
        ("imagenet", crop),
        ("imagenet_jitter", [*crop, "ColorJitter"]),
    ):
        parts = augmentation(backbone_settings(augmentation=kind)).transforms
        assert [type(part).__name__ for part in parts] == names
    jitter = parts[-1]
    ranges = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    assert ranges == ((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), None)


def test_number_of_threads_changes_no_view() -> None:
    """Worker processes have one thread, this process as many as there are cores."""
    images = split(2, side=300)
    order, kinds, threads = torch.arange(2), ("randcls", "sim"), torch.get_num_threads()
    alone = [joined(batches(images, order, kinds, size=300, seed=i)) for i in range(4)]
    torch.set_num_threads(3)
    try:
        for i, views in enumerate(alone):
            assert same(joined(batches(images, order, kinds, size=300, seed=i)), views)
    finally:
        torch.set_num_threads(threads)


# --- blur


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_that_of_torchvision(sigma) -> None:
    """Up to one level, from what lies beyond 3 sigma, and from rounding."""
    rough = torch.randint(
        256, (3, 40, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    before = rough.clone()
    blur = GaussianBlur((0.1, 2.0))
    found = blur.transform(rough, {"sigma": sigma})
    assert found.dtype == torch.uint8 and torch.equal(rough, before)
    expected = v2.functional.gaussian_blur(rough, [13, 13], [sigma, sigma])
    assert (found.int() - expected.int()).abs().max() <= 1


# --- cutout


def test_cutout_of_16_at_every_pixel() -> None:
    """By hand: rows centre - 8 .. centre + 7, cut off at edges; the rest is kept."""
    image, cutout = picture() + 1, Cutout(16)
    for row, column in ((0, 0), (8, 8), (16, 20), (31, 31), (3, 30)):
        got = cutout.transform(image, {"row": row, "column": column})
        inside = torch.zeros(32, 32, dtype=torch.bool)
        for i in range(row - 8, row + 8):
            for j in range(column - 8, column + 8):
                if 0 <= i < 32 and 0 <= j < 32:
                    inside[i, j] = True
        assert torch.equal(got == 0, inside.expand(3, -1, -1))
        assert torch.equal(got[:, ~inside], image[:, ~inside])


# --- RandAugment


def test_rand_augment_leaves_other_generators_alone() -> None:
    augment = RandAugment("rand-n2-m10-mstd0.5")
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(0)
    first = [augment(picture()) for _ in range(10)]
    assert (random.random(), np.random.rand()) == expected
    torch.manual_seed(0)
    again = [augment(picture()) for _ in range(10)]
    assert same(tuple(first), tuple(again))
    assert any(not torch.equal(first[0], other) for other in first[1:])


# --- batches


def test_views_follow_the_seed_and_the_sample_alone() -> None:
    """Not on shares, batches or workers; the caller's draws are left alone."""
    images, order = split(), torch.randperm(12, generator=torch.Generator())
    torch.manual_seed(9)
    expected = torch.rand(4)
    torch.manual_seed(9)
    whole = joined(batches(images, order, batch_size=12))
    assert torch.equal(torch.rand(4), expected)
    other = joined(batches(images, order, seed=2))
    assert not torch.equal(whole[0], other[0]) and not torch.equal(whole[1], other[1])
    assert same(whole, joined(batches(images, order, batch_size=5)))
    assert same(whole, joined(batches(images, order, workers=2)))
    halves = [joined(batches(images, half)) for half in order.split(6)]
    assert same(whole, joined(halves))


# --- seeds


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), st.integers(0, 3))
def test_seed_depends_on_every_part_and_their_order(parts, which) -> None:
    seed = mixed_seed(*parts)
    assert 0 <= seed < 2**63 and seed == mixed_seed(*parts)
    which %= len(parts)
    changed = [*parts]
    changed[which] ^= 1
    assert mixed_seed(*changed) != seed
    assert mixed_seed(*parts, 0) != seed
    if parts != parts[::-1]:
        assert mixed_seed(*parts[::-1]) != seed
