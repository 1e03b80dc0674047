"""Where images come from: what is refused, what is kept, what is drawn."""

import hashlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from replication.core.files import read_yaml
from replication.core.settings import DataSettings, load
from replication.data.sources import Prepared, list_folder, prepare
from replication.samples.shots import class_counts, exponential_counts, shot_groups

ROOT = Path(__file__).resolve().parents[2]
WHOLE = {"train/a": 2, "train/b": 3, "test/a": 1, "test/b": 1}


def data_settings(images: Path | None, **changes: Any) -> DataSettings:
    plain = {
        "benchmark": "own",
        "images": None if images is None else str(images),
        "features": None,
        "published_classes": None,
        "image_size": 32,
        "resize": 32,
        "imbalance_factor": None,
        "validation_per_class": 0,
        "seed": 0,
        "stand_in": images is None,
        "num_classes": 10,
        "num_images": 600,
        "test_per_class": 3,
    }
    return DataSettings(**(plain | changes))


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


def test_order_does_not_hang_on_the_file_system(tmp_path, write_images) -> None:
    forwards = write_images(tmp_path / "1", WHOLE)
    backwards = write_images(tmp_path / "2", dict(reversed(WHOLE.items())))
    for root, order in ((forwards, 1), (backwards, -1)):
        for i in list(range(12))[::order]:
            image = Image.new("RGB", (32, 32), (i, i, i))
            image.save(root / "train" / "a" / f"z{i}.png")
    assert list_folder(forwards).paths.tolist() == list_folder(backwards).paths.tolist()


@pytest.mark.parametrize("missing", [("train",), ("test",), ("train", "test")])
def test_missing_split_is_refused(tmp_path, write_images, refused, missing) -> None:
    kept = {key: n for key, n in WHOLE.items() if key.split("/")[0] not in missing}
    root = write_images(tmp_path, kept)
    assert refused(lambda: prepared(root)) == [
        f"{root}: expected a folder {split}/, found none" for split in missing
    ]


def test_train_without_classes_is_refused(tmp_path, write_images, refused) -> None:
    root = write_images(tmp_path, {"test/a": 1})
    (root / "train").mkdir()
    assert refused(lambda: prepared(root)) == [
        f"{root}/train: expected a folder a class, found none"
    ]


def test_empty_class_folder_is_refused(tmp_path, write_images, refused) -> None:
    root = write_images(tmp_path, {**WHOLE, "train/c": 0, "test/c": 1})
    assert refused(lambda: prepared(root)) == [
        f"{root}/train/c: expected images, found an empty folder"
    ]


def test_class_without_test_images_is_refused(tmp_path, write_images, refused) -> None:
    root = write_images(tmp_path, {**WHOLE, "train/c": 1})
    assert refused(lambda: prepared(root)) == [
        f"{root}/test: expected images of class c, found no such folder"
    ]


@pytest.mark.parametrize("split", ["val", "test"])
def test_class_never_trained_is_refused(tmp_path, write_images, refused, split) -> None:
    root = write_images(tmp_path, {**WHOLE, f"{split}/c": 1})
    assert refused(lambda: prepared(root)) == [
        f"{root}/{split}/c: expected a class of train/, found no such class there"
    ]


def test_classes_that_differ_in_case_alone_are_refused(
    tmp_path, write_images, refused
) -> None:
    root = write_images(tmp_path, {**WHOLE, "train/A": 1, "test/A": 1})
    if len(os.listdir(root / "train")) == 2:
        pytest.skip("this file system does not tell a from A")
    assert refused(lambda: prepared(root)) == [
        f"{root}/train: expected class names that differ by more than case, got A and a"
    ]


def test_everything_wrong_with_the_folders_is_said_at_once(
    tmp_path, write_images, refused
) -> None:
    root = write_images(
        tmp_path, {**WHOLE, "train/c": 1, "train/d": 0, "test/d": 0, "val/x": 1}
    )
    assert refused(lambda: prepared(root)) == [
        f"{root}/test: expected images of class c, found no such folder",
        f"{root}/val/x: expected a class of train/, found no such class there",
        f"{root}/train/d: expected images, found an empty folder",
        f"{root}/test/d: expected images, found an empty folder",
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


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "ppm"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("image_size", [32, 96])
def test_truncated_image_is_refused(
    tmp_path, write_images, refused, ending, share, image_size
) -> None:
    root = write_images(tmp_path, WHOLE)
    place = root / "train" / "b" / f"9.{ending}"
    Image.open(root / "train" / "a" / "0.png").save(place)
    assert len(prepared(root, image_size=image_size, resize=image_size).hashes) == 8
    damaged(place, share)
    (problem,) = refused(
        lambda: prepared(root, image_size=image_size, resize=image_size)
    )
    assert problem.startswith(f"{place}: expected a whole image, got ")


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path, write_images, refused, content) -> None:
    root = write_images(tmp_path, WHOLE)
    place = root / "test" / "a" / "x.png"
    place.write_bytes(content)
    (problem,) = refused(lambda: prepared(root))
    assert problem.startswith(f"{place}: expected a whole image, got ")


def test_refusal_of_an_image_is_the_same_each_time(
    tmp_path, write_images, refused
) -> None:
    """No address of an object in memory: it tells a reader nothing."""
    root = write_images(tmp_path, WHOLE)
    (root / "test" / "a" / "x.png").write_bytes(b"")
    (problem,) = refused(lambda: prepared(root))
    assert " at 0x" not in problem


def test_folder_with_the_name_of_an_image_is_refused(
    tmp_path, write_images, refused
) -> None:
    root = write_images(tmp_path, WHOLE)
    place = root / "train" / "a" / "x.png"
    place.mkdir()
    (problem,) = refused(lambda: prepared(root))
    assert problem.startswith(f"{place}: expected a whole image, got ")


def test_too_large_an_image_is_refused(
    tmp_path, write_images, refused, monkeypatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    root = write_images(tmp_path, WHOLE)
    problems = refused(lambda: prepared(root))
    assert len(problems) == 7
    assert all("expected a whole image, got Image size" in line for line in problems)


@pytest.mark.parametrize("broken", [10, 13])
def test_ten_broken_images_are_named_and_the_rest_counted(
    tmp_path, write_images, refused, broken
) -> None:
    root = write_images(tmp_path, {**WHOLE, "train/a": 20})
    for i in range(broken):
        damaged(root / "train" / "a" / f"{i}.png", 0.5)
    named = sorted(f"{i}.png" for i in range(broken))[:10]
    problems = refused(lambda: prepared(root))
    for name, problem in zip(named, problems, strict=False):
        place = root / "train" / "a" / name
        assert problem.startswith(f"{place}: expected a whole image, got ")
    rest = [f"{root}: 3 more images like these"] if broken > 10 else []
    assert problems[10:] == rest


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


def noise(side: int = 32) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


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


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("shorter", [8, 64, 200])
def test_other_sizes_are_resized(tmp_path, wide, shorter) -> None:
    """Away from the borders of the bands, the green third remains."""
    size = (3 * shorter, shorter) if wide else (shorter, 3 * shorter)
    pixels = only_image(tmp_path, bands(*size, wide), "x.png")
    assert pixels.shape == (32, 32, 3)
    assert (pixels[4:-4, 4:-4] == [0, 255, 0]).all()


def test_shape_is_kept_when_resized(tmp_path) -> None:
    """A disc in a wide image is as tall as it is wide afterwards."""
    y, x = np.mgrid[:128, :192]
    disc = ((y - 63.5) ** 2 + (x - 95.5) ** 2 < 48**2).astype(np.uint8) * 255
    pixels = only_image(tmp_path, Image.fromarray(disc), "x.png")[:, :, 0] > 127
    assert np.ptp(np.flatnonzero(pixels.any(0))) == np.ptp(
        np.flatnonzero(pixels.any(1))
    )


def test_large_images_are_not_kept(tmp_path, write_images) -> None:
    root = write_images(tmp_path, WHOLE)
    assert prepared(root, image_size=64).pixels.shape == (7, 64, 64, 3)
    large = prepared(root, image_size=65)
    assert large.pixels is None
    assert large.hashes.tolist() == prepared(root).hashes.tolist()


# --- thinning


def counts_of(got: Prepared, split: str) -> list[int]:
    mine = got.listing.labels[got.listing.splits == split]
    return class_counts(mine, len(got.listing.class_names)).tolist()


THICK = {f"train/{c}": 12 for c in "abc"} | {f"test/{c}": 2 for c in "abc"}


def test_thinning_follows_the_profile_and_holds_out_what_is_left(
    tmp_path, write_images
) -> None:
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


def test_val_that_the_folder_brings_is_kept(tmp_path, write_images) -> None:
    root = write_images(tmp_path, {**THICK, "val/a": 1, "val/c": 3})
    got = prepared(root, imbalance_factor=4.0, validation_per_class=5)
    assert counts_of(got, "train") == [12, 6, 3]
    assert counts_of(got, "val") == [1, 0, 3]
    val = got.listing.paths[got.listing.splits == "val"]
    assert all(path.startswith("val/") for path in val)


# --- CIFAR-100


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


@pytest.fixture(scope="module")
def some_cifar(shared, tmp_path_factory) -> Path:
    """Three classes of CIFAR-100 as an image folder: 30 train, 5 test images each."""
    archive = shared / "data" / "cifar100.tar"
    if not archive.is_file():
        pytest.skip(f"{archive} is not on this machine")
    left = {
        f"{split}/{name}": number
        for split, number in (("train", 30), ("test", 5))
        for name in ("apple", "bee", "wolf")
    }
    root = tmp_path_factory.mktemp("cifar")
    with tarfile.open(archive) as images:
        for member in images:
            folder = os.path.dirname(member.name)
            if member.isfile() and left.get(folder):
                left[folder] -= 1
                images.extract(member, root, filter="data")
            if not any(left.values()):
                break
    assert not any(left.values())
    return root


def test_cifar_images_are_kept_as_they_are(some_cifar) -> None:
    got = prepared(some_cifar, imbalance_factor=10.0, validation_per_class=20)
    assert got.listing.class_names == ("apple", "bee", "wolf")
    assert counts_of(got, "train") == [30, 9, 3]
    assert counts_of(got, "val") == [0, 20, 20]
    assert counts_of(got, "test") == [5, 5, 5]
    for path, pixels in zip(got.listing.paths, got.pixels, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(some_cifar / path)))


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
    params = read_yaml(ROOT / "params.yaml")
    params["data"][key] = value
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    (problem,) = refused(lambda: prepare(load(path).data("places_lt"), tmp_path))
    assert f"data.{key}" in problem and str(value) in problem


def test_a_stand_in_too_small_to_show_a_glyph_is_refused(tmp_path, refused) -> None:
    assert refused(lambda: prepare(data_settings(None, image_size=15), tmp_path)) == [
        "params.yaml: view.image_size: expected at least 16 pixels, to draw the "
        "stand-in, got 15"
    ]
