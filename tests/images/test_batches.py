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
from replication.core.settings import BackboneSettings, DataSettings
from replication.data.sources import IMAGE_ENDINGS, list_folder, read_images
from replication.images.batches import (
    ImageSplit,
    crop_and_flip,
    normalise,
    plain_batches,
    read_split,
    training_batches,
    worker_count,
)

CPU = torch.device("cpu")


def noise(number: int, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        256, (number, 3, side, side), generator=generator, dtype=torch.uint8
    )


def packed(number: int) -> ImageSplit:
    return ImageSplit(torch.arange(number) % 5, noise(number), ())


def save(pixels: Tensor, path: Path) -> Path:
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture
def as_files(tmp_path) -> Callable[[ImageSplit], ImageSplit]:
    """The same split with its images in files."""

    def write(split: ImageSplit) -> ImageSplit:
        assert split.pixels is not None
        paths = [
            save(image, tmp_path / f"{i:03d}.png")
            for i, image in enumerate(split.pixels)
        ]
        return ImageSplit(split.labels, None, tuple(paths))

    return write


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


def windows(image: Tensor) -> dict[tuple[int, int, bool], Tensor]:
    """Every crop of an image padded by 4 with black, as it is and mirrored."""
    _, height, width = image.shape
    padded = torch.zeros(3, height + 8, width + 8, dtype=image.dtype)
    padded[:, 4:-4, 4:-4] = image
    return {
        (top, left, mirrored): cut.flip(2) if mirrored else cut
        for top in range(9)
        for left in range(9)
        for cut in [padded[:, top : top + height, left : left + width]]
        for mirrored in (False, True)
    }


def test_crop_and_flip_is_one_of_162_windows_each_as_likely() -> None:
    images = noise(600, 8)
    got = crop_and_flip(images, torch.Generator().manual_seed(0))
    assert got.shape == images.shape and got.dtype == torch.uint8
    chosen = []
    for image, cut in zip(images, got, strict=True):
        found = [
            place
            for place, window in windows(image).items()
            if torch.equal(window, cut)
        ]
        assert len(found) == 1
        chosen += found
    tops, lefts, mirrored = np.array(chosen).T
    for shifts in (tops, lefts):
        # 600 draws of 9: 66.7 each, standard deviation 7.7; five of them.
        assert np.abs(np.bincount(shifts, minlength=9) - 600 / 9).max() < 39
    assert abs(mirrored.sum() - 300) < 62
    # Drawn apart: each pair is about as frequent as its parts say.
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 5 / np.sqrt(600)
    assert abs(np.corrcoef(tops, mirrored)[0, 1]) < 5 / np.sqrt(600)


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


@pytest.mark.parametrize("workers", [0, 1])
def test_packed_and_file_images_are_the_same_at_test_time(
    backbone_settings, as_files, workers
) -> None:
    split, settings = packed(10), backbone_settings()
    one = joined(plain_batches(split, 4, settings, CPU, 0))
    other = joined(plain_batches(as_files(split), 4, settings, CPU, workers))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


@pytest.mark.parametrize("resize", [16, 32, 40])
def test_no_border_is_added_at_test_time(backbone_settings, tmp_path, resize) -> None:
    """A white image stays white, whatever `resize` is."""
    path = tmp_path / "white.png"
    Image.new("RGB", (48, 64), "white").save(path)
    settings = backbone_settings(resize=resize, mean=[0.5] * 3, std=[0.5] * 3)
    split = ImageSplit(torch.zeros(1, dtype=torch.int64), None, (path,))
    pixels, _ = joined(plain_batches(split, 1, settings, CPU, 0))
    assert pixels.shape == (1, 3, 32, 32)
    assert (pixels == 1).all()


KINDS = [
    *[("png", mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16")],
    *[("jpg", mode) for mode in ("RGB", "L", "CMYK")],
    *[(ending, "RGB") for ending in ("webp", "bmp", "ppm")],
]


@pytest.mark.parametrize(("ending", "mode"), KINDS)
def test_what_prepare_accepts_is_read_the_same_from_files(
    backbone_settings, tmp_path, ending, mode
) -> None:
    """Packed at 32 pixels a side, decoded at training time above 64: one image."""
    assert f".{ending}" in IMAGE_ENDINGS
    grey = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) * 64
    colours = Image.fromarray(noise(1)[0].permute(1, 2, 0).numpy())
    image = Image.fromarray(grey) if mode == "I;16" else colours.convert(mode)
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        image.save(tmp_path / split / "a" / f"x.{ending}")
    data = DataSettings(
        benchmark="own",
        images=str(tmp_path),
        features=None,
        published_classes=None,
        image_size=32,
        resize=32,
        imbalance_factor=None,
        validation_per_class=0,
        seed=0,
        stand_in=False,
        num_classes=3,
        num_images=1,
        test_per_class=1,
    )
    listing = list_folder(tmp_path)
    _, pixels = read_images(listing, data)
    assert pixels is not None
    settings = backbone_settings(mean=[0.5] * 3, std=[0.5] * 3)
    labels = torch.from_numpy(listing.labels)
    kept = ImageSplit(labels, torch.from_numpy(pixels).permute(0, 3, 1, 2), ())
    files = ImageSplit(labels, None, tuple(tmp_path / p for p in listing.paths))
    one, _ = joined(plain_batches(kept, 2, settings, CPU, 0))
    other, _ = joined(plain_batches(files, 2, settings, CPU, 0))
    # Decoders of lossy formats may differ by rounding: 2 of 255 levels.
    torch.testing.assert_close(one, other, rtol=0, atol=2 * 2 / 255)


# --- training batches


@pytest.mark.parametrize("augmentation", ["none", "cifar", "imagenet"])
@pytest.mark.parametrize("in_files", [False, True])
def test_training_batches_follow_their_seed(
    backbone_settings, as_files, augmentation, in_files
) -> None:
    """And nothing else: not what the process drew before."""
    split = as_files(packed(10)) if in_files else packed(10)
    settings = backbone_settings(augmentation=augmentation)
    order = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    first, again, other = (
        joined(epoch(split, order, 3, settings, 0, seed)) for seed in (1, 1, 2)
    )
    for pixels, labels in (first, again, other):
        assert pixels.shape == (8, 3, 32, 32) and pixels.dtype == torch.float32
        assert torch.equal(labels, split.labels[order])
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[0], other[0]) == (augmentation == "none")


@pytest.mark.parametrize("augmentation", ["cifar", "imagenet"])
def test_number_of_workers_changes_no_batch(
    backbone_settings, as_files, augmentation
) -> None:
    """Workers are a matter of speed (MachineSettings)."""
    split = as_files(packed(8))
    settings = backbone_settings(augmentation=augmentation)
    order = torch.arange(8).flip(0)
    none, one, two = (
        joined(epoch(split, order, 3, settings, workers, 7))[0] for workers in (0, 1, 2)
    )
    assert torch.equal(one, two)
    assert torch.equal(none, one)


@pytest.mark.parametrize("augmentation", ["cifar", "imagenet"])
@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("batch_size", [3, 6])
def test_an_image_drawn_twice_is_augmented_twice(
    backbone_settings, as_files, augmentation, in_files, batch_size
) -> None:
    """Class-balanced orders name an image often: in one batch, and over batches."""
    split = as_files(packed(3)) if in_files else packed(3)
    settings = backbone_settings(augmentation=augmentation)
    order = torch.tensor([2, 2, 0, 2, 1, 2])
    pixels, labels = joined(epoch(split, order, batch_size, settings, 0, 7))
    assert torch.equal(labels, split.labels[order])
    drawn = pixels[order == 2]
    assert len({image.numpy().tobytes() for image in drawn}) == 4


def test_what_is_drawn_follows_from_the_place_in_the_order(
    backbone_settings, as_files
) -> None:
    """Another batch size cuts the same augmented images differently."""
    split, settings = as_files(packed(4)), backbone_settings(augmentation="imagenet")
    order = torch.tensor([3, 3, 1, 0])
    by_two, by_three = (
        joined(epoch(split, order, size, settings, 0, 7))[0] for size in (2, 3)
    )
    assert torch.equal(by_two, by_three)
    other = joined(epoch(split, order.flip(0), 2, settings, 0, 7))[0]
    assert not torch.equal(by_two, other.flip(0))


@pytest.mark.parametrize("in_files", [False, True])
def test_batches_leave_the_global_generator_alone(
    backbone_settings, as_files, in_files
) -> None:
    split = as_files(packed(4)) if in_files else packed(4)
    settings = backbone_settings(augmentation="cifar")
    before = torch.get_rng_state()
    list(epoch(split, torch.arange(4), 2, settings, 0, 0))
    list(plain_batches(split, 2, settings, CPU, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_unaugmented_training_images_are_those_of_test_time(backbone_settings) -> None:
    split, settings = packed(6), backbone_settings(augmentation="none")
    order = torch.tensor([5, 0, 3])
    pixels, _ = joined(epoch(split, order, 2, settings, 0, 0))
    plain, _ = joined(plain_batches(split, 6, settings, CPU, 0))
    assert torch.equal(pixels, plain[order])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_corrupt_file_is_refused_by_name(
    backbone_settings, as_files, refused, workers, content
) -> None:
    split = as_files(packed(4))
    path = split.paths[2]
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    settings = backbone_settings(augmentation="imagenet")
    order = torch.arange(4)
    for batches in (
        lambda: epoch(split, order, 2, settings, workers, 0),
        lambda: plain_batches(split, 2, settings, CPU, workers),
    ):
        (problem,) = refused(lambda batches=batches: list(batches()))
        assert problem.startswith(f"{path}: expected a whole image, got ")


# --- workers that stay


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_that_stay_make_the_batches_of_fresh_ones(
    backbone_settings, as_files, workers
) -> None:
    """A later epoch hangs on its own order and seed, whatever was there before it."""
    split, settings = as_files(packed(8)), backbone_settings(augmentation="imagenet")
    epochs = [(torch.arange(8), 1), (torch.tensor([5, 5, 2]), 2), (torch.arange(8), 1)]
    kept = training_batches(split, 3, settings, CPU, workers)
    for order, seed in epochs:
        pixels, labels = joined(kept(order, seed))
        fresh, _ = joined(epoch(split, order, 3, settings, 0, seed))
        assert torch.equal(pixels, fresh)
        assert torch.equal(labels, split.labels[order])


def test_an_epoch_that_was_left_leaves_nothing_to_the_next(
    backbone_settings, as_files
) -> None:
    split, settings = as_files(packed(8)), backbone_settings(augmentation="imagenet")
    kept = training_batches(split, 1, settings, CPU, 1)
    next(kept(torch.arange(8), 1))
    pixels, labels = joined(kept(torch.tensor([6, 3]), 2))
    fresh, _ = joined(epoch(split, torch.tensor([6, 3]), 1, settings, 0, 2))
    assert torch.equal(pixels, fresh) and labels.tolist() == [1, 3]


def test_workers_stay_between_epochs_and_end_with_their_loader(
    backbone_settings, as_files
) -> None:
    split, settings = as_files(packed(4)), backbone_settings(augmentation="imagenet")
    before = set(multiprocessing.active_children())
    kept = training_batches(split, 2, settings, CPU, 1)
    there = []
    for seed in range(2):
        list(kept(torch.arange(4), seed))
        there.append(set(multiprocessing.active_children()) - before)
    assert there[0] == there[1] and len(there[0]) == 1
    del kept
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("workers", [0, 1])
def test_file_that_breaks_between_epochs_is_refused_by_name(
    backbone_settings, as_files, refused, workers
) -> None:
    split, settings = as_files(packed(4)), backbone_settings(augmentation="imagenet")
    before = set(multiprocessing.active_children())
    kept = training_batches(split, 2, settings, CPU, workers)
    list(kept(torch.arange(4), 0))
    split.paths[3].unlink()
    (problem,) = refused(lambda: list(kept(torch.arange(4), 1)))
    assert problem == (
        f"{split.paths[3]}: expected a whole image, got No such file or directory"
    )
    assert set(multiprocessing.active_children()) <= before


# --- what prepare wrote


def index() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["train/a/1.png", "test/a/1.png", "train/b/1.png"],
            "label": [0, 0, 1],
            "split": ["train", "test", "train"],
            "hash": ["0" * 16] * 3,
        }
    )


def test_split_is_read_with_its_pixels(tmp_path) -> None:
    write_table(tmp_path / "index.csv", index())
    pixels = noise(2)
    arrays = {"train": pixels.permute(0, 2, 3, 1), "test": pixels[:1], "val": pixels}
    write_arrays(tmp_path / "pixels.safetensors", arrays)
    split = read_split(tmp_path, "train", None)
    assert len(split) == 2
    assert split.labels.tolist() == [0, 1]
    assert split.pixels is not None and torch.equal(split.pixels, pixels)


def test_split_is_read_with_its_paths(tmp_path, refused) -> None:
    write_table(tmp_path / "index.csv", index())
    split = read_split(tmp_path, "train", Path("/images"))
    assert split.pixels is None and split.labels.tolist() == [0, 1]
    assert split.paths == (Path("/images/train/a/1.png"), Path("/images/train/b/1.png"))
    assert refused(lambda: read_split(tmp_path, "train", None)) == [
        f"{tmp_path}: expected pixels.safetensors, found none"
    ]


def test_automatic_workers_leave_one_core_and_are_not_too_many(monkeypatch) -> None:
    for cores, workers in ((1, 0), (4, 3), (17, 16), (96, 16)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert worker_count("auto") == workers
    assert worker_count("auto", sharing=8) == 11
    assert worker_count(5) == worker_count(5, sharing=8) == 5
    assert worker_count(40) == 40
