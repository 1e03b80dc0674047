"""Views: what they are made of, how often each thing happens, seeds."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from replication.images.augmentation import (
    ColorJitter,
    Cutout,
    GaussianBlur,
    RandAugment,
    mixed_seed,
    paco_views,
    view_batches,
)
from replication.images.batches import ImageSplit

CPU = torch.device("cpu")
KINDS = ("randcls", "sim", "cifar_strong", "cifar_sim")
ALL_KINDS = (*KINDS, "glyph")  # the stand-in's
CHANNELS = SimpleNamespace(mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.5])
RAW = SimpleNamespace(mean=[0.0, 0.0, 0.0], std=[1 / 255] * 3)


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
    section: SimpleNamespace = CHANNELS,
    workers: int = 0,
    seed: int = 0,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    views = paco_views(*kinds, size)
    epoch = view_batches(images, batch_size, *views, section, CPU, workers)
    return list(epoch(order, seed))


def joined(parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- the operations: those of PaCo's released code, and the stand-in's


def plain(transform: v2.Transform) -> tuple:
    """A transform's kind and what sets it, in numbers."""
    match transform:
        case v2.RandomResizedCrop():
            return ("resized crop", *transform.size, *transform.scale)
        case v2.RandomCrop():
            return ("crop", *transform.size, *set(transform.padding))
        case v2.RandomHorizontalFlip():
            return ("flip", transform.p)
        case v2.RandomGrayscale():
            return ("gray", transform.p)
        case v2.ColorJitter():
            ranges = transform.brightness, transform.contrast, transform.saturation
            return ("jitter", *ranges, transform.hue)
        case GaussianBlur():
            return ("blur", *transform.sigma)
        case v2.RandomApply():
            return ("maybe", transform.p, *map(plain, transform.transforms))
        case v2.AutoAugment():
            return ("AutoAugment", transform.policy)
        case Cutout():
            return ("cutout", transform.side)
        case RandAugment():
            first = transform.augment.ops[0]
            layers, strength = transform.augment.num_layers, first.magnitude
            return ("RandAugment", layers, strength, first.magnitude_std, first.prob)
    raise AssertionError(f"not in the list: {transform}")


JITTER = ("jitter", (0.6, 1.4), (0.6, 1.4), (0.6, 1.4))
BLUR = ("maybe", 0.5, ("blur", 0.1, 2.0))
OPERATIONS = {
    "randcls": [
        ("resized crop", 224, 224, 0.08, 1.0),
        ("flip", 0.5),
        (*JITTER, None),
        ("RandAugment", 2, 10, 0.5, 0.5),
    ],
    "sim": [
        ("resized crop", 224, 224, 0.08, 1.0),
        (*JITTER, None),
        ("gray", 0.2),
        BLUR,
        ("flip", 0.5),
    ],
    "cifar_strong": [
        ("crop", 32, 32, 4),
        ("flip", 0.5),
        ("AutoAugment", v2.AutoAugmentPolicy.CIFAR10),
        ("cutout", 16),
    ],
    "cifar_sim": [
        ("resized crop", 32, 32, 0.2, 1.0),
        ("flip", 0.5),
        ("maybe", 0.8, (*JITTER, (-0.1, 0.1))),
        ("gray", 0.2),
        BLUR,
    ],
    "glyph": [("resized crop", 224, 224, 0.6, 1.0), (*JITTER, None)],
}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_operations_are_those_of_the_list(kind) -> None:
    size = 32 if kind.startswith("cifar") else 224
    other = "sim" if kind == "randcls" else "randcls"
    for view in (paco_views(kind, other, size)[0], paco_views(other, kind, size)[1]):
        assert [plain(part) for part in view.transforms] == OPERATIONS[kind]


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        *((kind, (32, 32)) for kind in ALL_KINDS),
        # cifar_strong is for images that have the size asked.
        *((kind, (50, 40)) for kind in ALL_KINDS if kind != "cifar_strong"),
    ],
)
def test_view_is_bytes_of_the_size_asked(kind, side) -> None:
    view, _ = paco_views(kind, kind, 32)
    before = picture(*side)
    got = view(before)
    assert got.shape == (3, 32, 32) and got.dtype == torch.uint8
    assert torch.equal(before, picture(*side))


# --- how often, by simulation: limits are 5 standard deviations of a fair draw


def step(kind: str, name: type) -> v2.Transform:
    view, _ = paco_views(kind, kind, 32)
    (found,) = [part for part in view.transforms if isinstance(part, name)]
    return found


def step_inside(kind: str, name: type) -> v2.Transform:
    """One that happens or not."""
    view, _ = paco_views(kind, kind, 32)
    maybe = [part for part in view.transforms if isinstance(part, v2.RandomApply)]
    (found,) = [part for one in maybe for part in one.transforms]
    assert isinstance(found, name)
    return found


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


def test_jitter_by_hand() -> None:
    """One pixel (200, 100, 0): its grey is 59.78 + 58.7 = 118.48, which counts 118."""
    pixel = torch.tensor([200, 100, 0], dtype=torch.uint8).view(3, 1, 1)
    for step, factor, expected in (
        (0, 1.3, [255, 130, 0]),
        (0, 0.55, [110, 55, 0]),
        (1, 0.5, [159, 109, 59]),
        (1, 1.5, [241, 91, 0]),
        (2, 0.5, [159, 109, 59]),
    ):
        factors = [factor if step == each else None for each in range(4)]
        names = ("brightness", "contrast", "saturation", "hue")
        params = {f"{n}_factor": f for n, f in zip(names, factors, strict=True)}
        params["fn_idx"] = torch.arange(4)
        found = ColorJitter(0.4, 0.4, 0.4, 0.0).transform(pixel, params)
        assert found.flatten().tolist() == expected


# --- blur


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.7, 1.0, 1.6, 2.0])
def test_blur_is_that_of_torchvision(sigma) -> None:
    """Up to one level, from what lies beyond 3 sigma, and from rounding."""
    rough = torch.randint(
        256, (3, 40, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    before = rough.clone()
    blur = step_inside("sim", GaussianBlur)
    found = blur.transform(rough, {"sigma": sigma})
    assert found.dtype == torch.uint8 and torch.equal(rough, before)
    expected = v2.functional.gaussian_blur(rough, [13, 13], [sigma, sigma])
    assert (found.int() - expected.int()).abs().max() <= 1


def test_blur_of_a_point_by_hand() -> None:
    """Sigma 1: exp(-d^2 / 2) over its sum 2.5059, d = -3 .. 3, in both directions."""
    point = torch.zeros(3, 9, 9, dtype=torch.uint8)
    point[:, 4, 4] = 255
    found = step_inside("sim", GaussianBlur).transform(point, {"sigma": 1.0})
    weights = torch.tensor([0.0, 0.0044, 0.0540, 0.2420, 0.3991])
    weights = torch.cat([weights, weights[:-1].flip(0)])
    expected = (255 * weights[:, None] * weights).expand(3, -1, -1)
    assert (found - expected).abs().max() <= 0.55


# --- cutout


def test_cutout_of_16_at_every_pixel() -> None:
    """By hand: rows centre - 8 .. centre + 7, cut off at edges; the rest is kept."""
    image, cutout = picture() + 1, step("cifar_strong", Cutout)
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
    augment = step("randcls", RandAugment)
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


def test_batches_are_normalised() -> None:
    images, order = split(), torch.arange(12)
    raw = joined(batches(images, order, section=RAW))
    got = joined(batches(images, order))
    for bytes_, values in zip(raw[:2], got[:2], strict=True):
        torch.testing.assert_close(bytes_, bytes_.round(), atol=1e-3, rtol=0)
        assert 200 < bytes_.max() < 256
        for channel in range(3):
            mean, std = CHANNELS.mean[channel], CHANNELS.std[channel]
            expected = (bytes_[:, channel] / 255 - mean) / std
            torch.testing.assert_close(values[:, channel], expected)


def test_views_follow_the_seed_alone() -> None:
    images, order = split(), torch.arange(12)
    torch.manual_seed(5)
    first = joined(batches(images, order, seed=1))
    torch.manual_seed(6)
    assert same(first, joined(batches(images, order, seed=1)))
    other = joined(batches(images, order, seed=2))
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[1], other[1])


def test_batches_shares_and_workers_change_no_view() -> None:
    images, order = split(), torch.randperm(12, generator=torch.Generator())
    whole = joined(batches(images, order, batch_size=12))
    assert same(whole, joined(batches(images, order, batch_size=5)))
    assert same(whole, joined(batches(images, order, workers=2)))
    halves = [joined(batches(images, half)) for half in order.split(6)]
    assert same(whole, joined(halves))


@pytest.mark.parametrize("kinds", [("cifar_strong", "cifar_sim"), ("randcls", "sim")])
def test_callers_random_numbers_are_left_alone(kinds) -> None:
    """Also between two batches, while the iterator is under way."""
    images, order = split(), torch.arange(12)
    torch.manual_seed(9)
    expected = torch.rand(4)
    torch.manual_seed(9)
    views = paco_views(*kinds, 32)
    got = []
    for _ in view_batches(images, 4, *views, CHANNELS, CPU, 0)(order, 0):
        got.append(torch.rand(1))
    got.append(torch.rand(1))
    assert torch.equal(torch.cat(got), expected)


def test_files_and_packed_pixels_give_the_same_views(tmp_path) -> None:
    packed = split(6)
    assert packed.pixels is not None
    paths = []
    for i, image in enumerate(packed.pixels):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(paths[-1])
    files = ImageSplit(packed.labels, None, tuple(paths))
    order = torch.tensor([4, 0, 5])
    assert same(joined(batches(packed, order)), joined(batches(files, order)))


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_file_is_one_line(tmp_path, refused, workers) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    images = ImageSplit(torch.zeros(1, dtype=torch.int64), None, (path,))
    (problem,) = refused(
        lambda: batches(images, torch.tensor([0]), ("sim", "sim"), workers=workers)
    )
    assert problem.startswith(f"{path}: expected a whole image, got ")


def test_workers_that_stay_make_the_views_of_fresh_ones() -> None:
    images = split()
    kept = view_batches(images, 5, *paco_views("sim", "sim", 16), CHANNELS, CPU, 2)
    for order, seed in ((torch.arange(12), 1), (torch.arange(12).flip(0), 2)):
        fresh = batches(images, order, ("sim", "sim"), 4, 16, seed=seed)
        assert same(joined(list(kept(order, seed))), joined(fresh))


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
