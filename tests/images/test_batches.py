"""Images as batches: order, colours, augmentation, workers."""

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from replication.core.files import write_arrays, write_table
from replication.core.settings import BackboneSettings
from replication.data.folders import list_folder
from replication.data.sources import read_images
from replication.images.batches import (
    ImageSplit,
    crop_and_flip,
    normalise,
    plain_batches,
    read_split,
    training_batches,
    worker_count,
)
from tests.backbones import made

CPU = torch.device("cpu")


def noise(number: int, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        256, (number, 3, side, side), generator=generator, dtype=torch.uint8
    )


def packed(number: int) -> ImageSplit:
    return ImageSplit(torch.arange(number) % 5, noise(number), ())


@pytest.fixture
def as_files(tmp_path) -> Callable[[ImageSplit], ImageSplit]:
    """The same split with its images in files."""
    return lambda split: made.as_files(split, tmp_path)


def epoch(
    split: ImageSplit,
    order: Tensor,
    batch_size: int,
    settings: BackboneSettings,
    workers: int,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of a loader of its own."""
    return training_batches(split, batch_size, settings, CPU, workers)(order, seed)


def joined(batches) -> tuple[Tensor, Tensor]:
    pixels, labels = zip(*batches, strict=True)
    return torch.cat(pixels), torch.cat(labels)


# --- crop and flip


def test_crop_and_flip_is_a_window_of_the_padded_image_each_as_likely() -> None:
    images = noise(600, 8)
    got = crop_and_flip(images, torch.Generator().manual_seed(0))
    assert got.dtype == torch.uint8
    padded = torch.nn.functional.pad(images, (4,) * 4)
    both = torch.stack([padded, padded.flip(3)])
    windows = both.unfold(3, 8, 1).unfold(4, 8, 1).movedim(2, 4)  # mirrored, B, 9, 9
    equal = (windows == got[:, None, None]).flatten(4).all(4)
    assert (equal.sum((0, 2, 3)) == 1).all()
    # 600 draws of 9: 66.7 each, standard deviation 7.7; five of them.
    for shifts in (equal.sum((0, 1, 3)), equal.sum((0, 1, 2))):
        assert (shifts - 600 / 9).abs().max() < 39
    assert abs(int(equal[1].sum()) - 300) < 62
    # Drawn apart: no window is frequent.
    assert equal.sum(1).max() < 600 / 162 + 5 * np.sqrt(600 / 162) + 1


# --- colours


def test_normalise_by_hand(backbone_settings) -> None:
    settings = backbone_settings(mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.5])
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    got = normalise(pixels.expand(2, 3, 4, 4), settings)
    assert got.dtype == torch.float32
    expected = torch.tensor([-2.0, (0.2 - 0.5) / 0.25, (1 - 0.6) / 0.5])
    torch.testing.assert_close(got[1, :, 2, 3], expected)


# --- test-time batches


def by_hand(pixels: Tensor, settings: BackboneSettings) -> Tensor:
    mean = torch.tensor(settings.mean).view(3, 1, 1)
    std = torch.tensor(settings.std).view(3, 1, 1)
    return torch.stack([(image / 255 - mean) / std for image in pixels])


def test_plain_batches_keep_the_order(backbone_settings) -> None:
    split, settings = packed(10), backbone_settings()
    batches = list(plain_batches(split, 4, settings, CPU, 0))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    pixels, labels = joined(batches)
    assert torch.equal(labels, split.labels)
    torch.testing.assert_close(pixels, by_hand(split.pixels, settings))


@pytest.mark.parametrize(
    ("ending", "mode"), [("png", "RGBA"), ("png", "I;16"), ("jpg", "RGB")]
)
def test_what_prepare_packs_is_read_the_same_from_files(
    backbone_settings, tmp_path, ending, mode
) -> None:
    """Packed up to 64 pixels a side, decoded at training time above: one image."""
    grey = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 64
    colours = Image.fromarray(noise(1)[0].permute(1, 2, 0).numpy())
    image = Image.fromarray(grey) if mode == "I;16" else colours.convert(mode)
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        image.save(tmp_path / split / "a" / f"x.{ending}")
    listing = list_folder(tmp_path)
    settings = backbone_settings()
    _, _, pixels, _ = read_images(listing, 32, 32, Image.Resampling.BILINEAR)
    labels = torch.from_numpy(listing.labels)
    kept = ImageSplit(labels, torch.from_numpy(pixels).permute(0, 3, 1, 2), ())
    files = ImageSplit(labels, None, tuple(tmp_path / p for p in listing.paths))
    one, _ = joined(plain_batches(kept, 2, settings, CPU, 0))
    other, _ = joined(plain_batches(files, 2, settings, CPU, 1))
    assert torch.equal(one, other)


# --- training batches


AUGMENTATIONS = ("cifar", "imagenet", "imagenet_jitter")


@pytest.mark.parametrize("augmentation", ["none", *AUGMENTATIONS])
@pytest.mark.parametrize("in_files", [False, True])
def test_training_batches_follow_their_seed(
    backbone_settings, as_files, augmentation, in_files
) -> None:
    """And nothing else; what the process itself draws is left alone."""
    split = as_files(packed(10)) if in_files else packed(10)
    settings = backbone_settings(augmentation=augmentation)
    order = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    before = torch.get_rng_state()
    first, again, other = (
        joined(epoch(split, order, 3, settings, 0, seed)) for seed in (1, 1, 2)
    )
    for pixels, labels in (first, again, other):
        assert pixels.shape == (8, 3, 32, 32) and pixels.dtype == torch.float32
        assert torch.equal(labels, split.labels[order])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[0], other[0]) == (augmentation == "none")


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_image_drawn_twice_is_augmented_twice(
    backbone_settings, as_files, augmentation
) -> None:
    """Class-balanced orders name an image often: in one batch, and over batches."""
    settings = backbone_settings(augmentation=augmentation)
    order = torch.tensor([2, 2, 0, 2, 1, 2])
    for split in (packed(3), as_files(packed(3))):
        pixels, _ = joined(epoch(split, order, 3, settings, 0, 7))
        assert len({image.numpy().tobytes() for image in pixels[order == 2]}) == 4


def test_workers_stay_between_epochs_and_change_no_batch(
    backbone_settings, as_files
) -> None:
    """Nor does the batch size, or an epoch that was left before its end."""
    split, settings = as_files(packed(8)), backbone_settings(augmentation="imagenet")
    before = set(multiprocessing.active_children())
    batches = training_batches(split, 3, settings, CPU, 2)
    next(batches(torch.arange(8), 5))
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    for order, seed in ((torch.arange(8), 1), (torch.tensor([5, 5, 2]), 2)):
        pixels, labels = joined(batches(order, seed))
        alone, _ = joined(epoch(split, order, 2, settings, 0, seed))
        assert torch.equal(pixels, alone)
        assert torch.equal(labels, split.labels[order])
    assert set(multiprocessing.active_children()) - before == workers
    del batches
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("workers", [0, 1])
def test_file_that_breaks_between_epochs_is_refused_by_name(
    backbone_settings, as_files, refused, workers
) -> None:
    split, settings = as_files(packed(4)), backbone_settings(augmentation="imagenet")
    before = set(multiprocessing.active_children())
    batches = training_batches(split, 2, settings, CPU, workers)
    list(batches(torch.arange(4), 0))
    split.paths[3].unlink()
    problem = f"{split.paths[3]}: expected a whole image, got No such file or directory"
    assert refused(lambda: list(batches(torch.arange(4), 1))) == [problem]
    plain = plain_batches(split, 2, settings, CPU, workers)
    assert refused(lambda: list(plain)) == [problem]
    assert set(multiprocessing.active_children()) <= before


# --- what prepare wrote


def test_split_is_read_with_its_pixels_or_its_paths(tmp_path, refused) -> None:
    index = pd.DataFrame(
        {
            "path": ["train/a/1.png", "test/a/1.png", "train/b/1.png"],
            "label": [0, 0, 1],
            "split": ["train", "test", "train"],
            "hash": ["0" * 16] * 3,
        }
    )
    write_table(tmp_path / "index.csv", index)
    assert refused(lambda: read_split(tmp_path, "train", None)) == [
        f"{tmp_path}: expected pixels.safetensors, found none"
    ]
    split = read_split(tmp_path, "train", Path("/images"))
    assert split.pixels is None and split.labels.tolist() == [0, 1]
    assert split.paths == (Path("/images/train/a/1.png"), Path("/images/train/b/1.png"))
    pixels = noise(2)
    arrays = {"train": pixels.permute(0, 2, 3, 1), "test": pixels[:1], "val": pixels}
    write_arrays(tmp_path / "pixels.safetensors", arrays)
    split = read_split(tmp_path, "train", None)
    assert split.labels.tolist() == [0, 1] and torch.equal(split.pixels, pixels)


def test_automatic_workers_leave_one_core_and_are_not_too_many(monkeypatch) -> None:
    for cores, workers in ((1, 0), (4, 3), (17, 16), (96, 16)):
        monkeypatch.setattr("replication.images.batches.cores", lambda n=cores: n)
        assert worker_count("auto") == workers
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert worker_count("auto") == 11
    assert worker_count(40) == 40
