"""Where images come from: what is refused, what is kept, what is drawn."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from replication.core.settings import DataSettings, load
from replication.data.sources import Prepared, prepare
from replication.samples.shots import class_counts, exponential_counts, shot_groups
from tests.made import write_params

ROOT = Path(__file__).resolve().parents[2]
WHOLE = {"train/a": 2, "train/b": 3, "test/a": 1, "test/b": 1}


def data_settings(images: Path | None, **changes: Any) -> DataSettings:
    plain = {
        "images": None if images is None else str(images),
        "features": None,
        "stand_in": images is None,
        **{"image_size": 32, "resize": 32, "imbalance_factor": None, "seed": 0},
        **{"num_classes": 10, "num_images": 600, "test_per_class": 3},
        "validation_per_class": 0,
    }
    return load(ROOT / "params.yaml").data("own").model_copy(update=plain | changes)


def prepared(root: Path, **changes: Any) -> Prepared:
    return prepare(data_settings(root, **changes), root / "downloads")


def damaged(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


# --- image folders


def test_folder_becomes_an_index(tmp_path, write_images) -> None:
    root = write_images(tmp_path, {**WHOLE, "val/b": 2})
    (root / "train" / "a" / "notes.txt").write_text("no image")
    got = prepared(root)
    assert got.listing.class_names == ("a", "b")
    assert got.listing.paths.tolist() == [
        *("train/a/0.png", "train/a/1.png"),
        *("train/b/0.png", "train/b/1.png", "train/b/2.png"),
        *("val/b/0.png", "val/b/1.png"),
        *("test/a/0.png", "test/b/0.png"),
    ]
    assert got.listing.labels.tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 1]
    splits = ["train"] * 5 + ["val"] * 2 + ["test"] * 2
    assert got.listing.splits.tolist() == splits
    for i, path in enumerate(got.listing.paths):
        content = (root / path).read_bytes()
        assert got.hashes[i] == hashlib.sha256(content).hexdigest()[:16]
        expected = np.asarray(Image.open(root / path))
        np.testing.assert_array_equal(got.pixels[i], expected)


def test_missing_split_is_refused(tmp_path, write_images, refused) -> None:
    root = write_images(tmp_path, {"val/a": 1})
    expected = (
        f"{root}: expected folders train/ and test/, found no train/ and no test/"
    )
    assert refused(lambda: prepared(root)) == [expected]
    write_images(root, {"pets/Train/a": 1, "pets/testing/a": 1, "more/train/a": 1})
    assert refused(lambda: prepared(root)) == [
        f"{expected}; such lie in {root}/pets: give that"
    ]
    write_images(root, {"more/test/a": 1})
    assert refused(lambda: prepared(root)) == [
        f"{expected}; such lie in {root}/more and {root}/pets: give one of them"
    ]
    for split in ("train", "test"):
        (root / split).mkdir()
    assert refused(lambda: prepared(root)) == [
        f"{root}/train: expected a folder a class, found none"
    ]


def test_everything_wrong_with_the_folders_is_said_at_once(
    tmp_path, write_images, refused
) -> None:
    folders = {"train/A": 1, "test/A": 1, "train/c": 1, "train/d": 0, "test/d": 0}
    folders |= {"train/e ": 1, "test/e": 1, "val/x": 1}
    root = write_images(tmp_path, {**WHOLE, **folders})
    assert refused(lambda: prepared(root)) == [
        f"{root}/train: expected class names that differ by more than case and spaces "
        "around them, got 'A' and 'a'",
        f"{root}/test: expected images of class 'c', found no such folder",
        f"{root}/test: expected images of class 'e ', found no such folder",
        f"{root}/val: expected classes of train/, got 'x'",
        f"{root}/test: expected classes of train/, got 'e', not 'e '",
        f"{root}/train/d: expected images, found none",
        f"{root}/test/d: expected images, found none",
    ]


def test_file_name_that_is_no_text_is_refused(tmp_path, write_images, refused) -> None:
    """A name that cannot be written to the index is said, not met later."""
    root = write_images(tmp_path, WHOLE)
    folder = os.fsencode(root / "train" / "a")
    os.rename(folder + b"/0.png", folder + b"/\xff.png")
    (problem,) = refused(lambda: prepared(root))
    assert problem.startswith(f"{root}/train/a")
    problem.encode()


# --- broken images


@pytest.mark.parametrize("image_size", [32, 96])
def test_ten_broken_images_are_named_and_the_rest_counted(
    tmp_path, write_images, refused, image_size
) -> None:
    root = write_images(tmp_path, {**WHOLE, "train/a": 20})
    folder = root / "train" / "a"
    for i in range(13):
        damaged(folder / f"{i}.png", i / 20)
    (folder / "0.png").unlink()
    (folder / "0.png").symlink_to("gone.png")
    problems = refused(lambda: prepared(root, image_size=image_size))
    names = sorted(f"{i}.png" for i in range(13))[:10]
    for name, problem in zip(names, problems, strict=False):
        assert problem.startswith(f"{folder / name}: expected a whole image, got ")
    assert problems[10:] == [f"{root}: 3 more images like these"]


# --- images of every kind


def only_image(root: Path, image: Image.Image, name: str, **changes: Any) -> np.ndarray:
    """What `prepare` keeps of one image."""
    for split in ("train", "test"):
        (root / split / "a").mkdir(parents=True, exist_ok=True)
        image.save(root / split / "a" / name)
    pixels = prepared(root, **changes).pixels
    assert pixels is not None and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[0], pixels[1])
    return pixels[0]


def bands(width: int, height: int, wide: bool) -> Image.Image:
    """Three equal bands, red, green, blue, along the longer side."""
    pixels = np.zeros((height, width, 3), np.uint8)
    along = pixels if not wide else pixels.transpose(1, 0, 2)
    for channel, part in enumerate(np.array_split(along, 3)):
        part[..., channel] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("side", [32, 40])
def test_centre_is_cropped(tmp_path, wide, side) -> None:
    """Shorter side as wanted: nothing is resized and the green third remains."""
    size = (3 * side, side) if wide else (side, 3 * side)
    pixels = only_image(tmp_path, bands(*size, wide), "x.png", resize=side)
    assert pixels.shape == (32, 32, 3)
    assert (pixels == [0, 255, 0]).all()
    size = (3 * 99, 99) if wide else (99, 3 * 99)
    resized = only_image(tmp_path, bands(*size, wide), "x.png", resize=side)
    assert (resized[4:-4, 4:-4] == [0, 255, 0]).all()
    large = prepared(tmp_path, image_size=65)
    assert large.pixels is None and len(large.hashes) == 2


def test_images_that_show_next_to_nothing_are_counted(tmp_path, write_images) -> None:
    """Dark ones only where they are many: one in a hundred is a photograph at night."""
    root = write_images(tmp_path, {"train/a": 100, "test/a": 50})
    assert prepared(root).notes == ()
    white = np.full((32, 32, 3), 255, np.uint8)
    Image.fromarray(white).save(root / "train/a/7.png")
    night = np.random.default_rng(0).integers(0, 64, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(night).save(root / "train/a/8.png")
    first = "1 of 150 images are of one colour throughout, the first train/a/7.png."
    assert prepared(root).notes == (first,)
    night[0, 0] += 1
    Image.fromarray(night).save(root / "test/a/8.png")
    assert prepared(root).notes == (
        first,
        "2 of 150 images have no pixel brighter than a quarter of the range, the first "
        "train/a/8.png.",
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_test_image_that_is_trained_on_makes_numbers_partial(
    tmp_path, write_images, kind
) -> None:
    """Also where it was saved in another way without loss, so that no byte is one."""
    root = write_images(tmp_path, WHOLE)
    with Image.open(root / "train/a/1.png") as image:
        image.save(root / "test/b/0.png", kind)
    got = prepared(root)
    assert got.doubts == ("1 of 2 test samples are training samples too",)
    assert got.notes == (
        f"{got.doubts[0]}, the first test/b/0.png (train/a/1.png).",
        f"1 of {len(got.listing.labels) - 1} different samples have more than one "
        "label, the first as train/a/1.png and test/b/0.png.",
    )


# --- thinning


def counts_of(got: Prepared, split: str) -> list[int]:
    mine = got.listing.labels[got.listing.splits == split]
    return class_counts(mine, len(got.listing.class_names)).tolist()


THICK = {f"train/{c}": 12 for c in "abc"} | {f"test/{c}": 2 for c in "abc"}


def test_thinning_follows_the_profile_and_holds_out_what_is_left(
    tmp_path, write_images
) -> None:
    """Unless the folder brings a val split of its own."""
    root = write_images(tmp_path, THICK)
    got = prepared(root, imbalance_factor=4.0, validation_per_class=5)
    assert counts_of(got, "train") == exponential_counts(12, 4.0, 3).tolist()
    assert counts_of(got, "train") == [12, 6, 3]
    assert counts_of(got, "val") == [0, 5, 5]
    assert counts_of(got, "test") == [2, 2, 2]
    assert len(set(got.listing.paths)) == len(got.listing.paths)
    assert all(
        path.startswith("train/")
        for path in got.listing.paths[got.listing.splits == "val"]
    )
    write_images(root, {"val/a": 1, "val/c": 3})
    got = prepared(root, imbalance_factor=4.0, validation_per_class=5)
    assert counts_of(got, "train") == [12, 6, 3]
    assert counts_of(got, "val") == [1, 0, 3]


def test_a_folder_that_is_long_tailed_in_another_order_is_said(
    tmp_path, write_images
) -> None:
    tail = {"train/a": 3, "train/b": 6, "train/c": 12} | {f"test/{c}": 2 for c in "abc"}
    got = prepared(write_images(tmp_path, tail), imbalance_factor=4.0)
    assert counts_of(got, "train") == [3, 6, 3]
    assert got.listing.notes[-1] == (
        "An imbalance factor of 4 leaves 12 images of class a, which has fewer (1 of 3 "
        "classes): is the folder long-tailed already?"
    )


# --- CIFAR-100


def test_other_data_is_not_called_cifar_100(tmp_path, write_images, refused) -> None:
    root = write_images(tmp_path, WHOLE)
    changes = {"benchmark": "cifar100_lt", "published_classes": 100}
    assert refused(lambda: prepared(root, **changes)) == [
        f"{root}: expected the 100 classes of cifar100_lt, got 2; images of your own "
        "belong under inputs.own"
    ]


def test_failed_download_is_refused(tmp_path, refused, monkeypatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR100", fail)
    settings = data_settings(Path("torchvision"), benchmark="cifar100_lt")
    assert refused(lambda: prepare(settings, tmp_path)) == [
        "inputs.cifar100_lt.images: torchvision could not download CIFAR-100 "
        "(OSError: no route to host); give the path of a folder train/<class>/, "
        "test/<class>/ instead"
    ]


def test_download_is_laid_out_as_a_folder(tmp_path, monkeypatch) -> None:
    class Few:
        """Six images of three classes, in place of the download."""

        classes = ("apple", "bee", "can")

        def __init__(self, root: str, train: bool, download: bool) -> None:
            generator = np.random.default_rng(int(train))
            self.data = generator.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
            self.targets = [2, 1, 0, 0, 1, 2]

    monkeypatch.setattr("torchvision.datasets.CIFAR100", Few)
    settings = data_settings(Path("torchvision"), benchmark="cifar100_lt")
    got = prepare(settings, tmp_path)
    assert got.listing.class_names == Few.classes
    train = Few("", True, False)
    order = np.argsort(train.targets, kind="stable")
    in_train = got.listing.splits == "train"
    np.testing.assert_array_equal(got.pixels[in_train], train.data[order])
    monkeypatch.setattr("torchvision.datasets.CIFAR100", None)
    again = prepare(settings, tmp_path)
    assert again.hashes.tolist() == got.hashes.tolist()


# --- the stand-in

Draw = Callable[..., Prepared]


@pytest.fixture
def draw(tmp_path) -> Draw:
    def call(benchmark: str, **changes: Any) -> Prepared:
        settings = data_settings(None, benchmark=benchmark, image_size=16, **changes)
        return prepare(settings, tmp_path)

    return call


@pytest.mark.parametrize(
    "benchmark", ["imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own"]
)
def test_stand_in_has_three_shot_groups_and_balanced_tests(draw, benchmark) -> None:
    got = draw(benchmark, validation_per_class=2)
    counts = np.array(counts_of(got, "train"))
    assert all(mask.any() for mask in shot_groups(counts).values())
    assert counts_of(got, "val") == [2] * 10
    assert counts_of(got, "test") == [3] * 10
    assert got.pixels.shape == (len(got.listing.labels), 16, 16, 3)
    assert len(set(got.listing.class_names)) == 10
    assert len(set(got.listing.paths)) == len(got.listing.paths)
    assert len(set(got.hashes)) == len(got.hashes)
    for pixels, digest in zip(got.pixels[::50], got.hashes[::50], strict=True):
        assert digest == hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("key", "value"), [("num_classes", 5000), ("num_classes", 300), ("num_images", 10)]
)
def test_stand_in_that_cannot_be_drawn_is_refused(
    tmp_path, refused, key, value
) -> None:
    """More classes than glyphs, fewer images than three shot groups need."""
    path = write_params(tmp_path, {f"data.{key}": value})
    (problem,) = refused(lambda: prepare(load(path).data("places_lt"), tmp_path))
    assert f"data.{key}" in problem and str(value) in problem


def test_a_stand_in_too_small_to_show_a_glyph_is_refused(tmp_path, refused) -> None:
    assert refused(lambda: prepare(data_settings(None, image_size=15), tmp_path)) == [
        "params.yaml: view.image_size: expected at least 16 pixels, to draw the "
        "stand-in, got 15"
    ]
