"""Official layouts: where a listed image lies, what is missing, what is checked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from replication.core.settings import DataSettings
from replication.data import sources
from replication.data.layouts import list_official
from replication.data.lists import (
    Published,
    published_order,
    read_published,
    remarks,
)
from replication.data.sources import list_images, prepare
from replication.stages.prepare import index_of, summarise
from tests.data.official import (
    BENCHMARKS,
    as_listed,
    cut,
    places_archives,
    published,
    text,
    write,
)
from tests.data.test_sources import data_settings

Place = Callable[[str], str]


def moved(old: str, new: str) -> Place:
    """Replace a pattern at the start of each path."""
    return lambda path: re.sub(f"^{old}", new, path)


def flat(path: str) -> str:
    return moved("val/[^/]+/", "val/")(path)


def nested(path: str) -> str:
    """apartment_building-outdoor/ as apartment_building/outdoor/."""
    return path.replace("-", "/")


ILSVRC = "ILSVRC/Data/CLS-LOC"
# Benchmark, how its images are placed, and the home of each first folder of a list.
LAYOUTS: list[tuple[str, Place, str]] = [
    ("places_lt", as_listed, "train/<class>/ val/<class>/"),
    ("places_lt", moved("val/[^/]+/", "val_large/"), "train/<class>/ val_large/"),
    ("places_lt", nested, "train/<class>/<subclass>/ val/<class>/<subclass>/"),
    ("places_lt", places_archives, "data_256/<letter>/<class>/ val_256/"),
    ("imagenet_lt", as_listed, "train/<class>/ val/<class>/"),
    (
        "imagenet_lt",
        lambda path: f"{ILSVRC}/{flat(path)}",
        f"{ILSVRC}/train/<class>/ {ILSVRC}/val/",
    ),
    ("inat18", as_listed, "train_val2018/<class>/"),
    ("inat18", moved("train_val2018/", ""), "<class>/"),
]


@pytest.mark.parametrize(("benchmark", "place", "homes"), LAYOUTS)
def test_listed_images_are_found_in_every_layout(
    shared, tmp_path, benchmark, place, homes
) -> None:
    lines = cut(shared, benchmark)
    known = published(benchmark, lines)
    write(tmp_path, known, lines, place)
    listing = list_official(tmp_path, known, thinned=False)
    listed = [line.split() for part in lines.values() for line in part]
    assert listing.paths.tolist() == [place(path) for path, _ in listed]
    assert listing.labels.tolist() == [int(label) for _, label in listed]
    splits = [split for split, part in lines.items() for _ in part]
    assert listing.splits.tolist() == splits
    assert all((tmp_path / path).is_file() for path in listing.paths)
    tops = ("train_val2018",) if benchmark == "inat18" else ("train", "val")
    assert listing.origin == {
        "lists": {
            split: {
                "file": one.file,
                "blob": one.blob,
                "images": len(lines[split]),
                "published": True,
            }
            for split, one in known.lists.items()
        },
        "published_counts": True,
        "layout": dict(zip(tops, homes.split(), strict=True)),
        "devkit": False if benchmark == "imagenet_lt" else None,
    }


@pytest.fixture
def laid_out(
    shared, tmp_path, monkeypatch
) -> Callable[..., tuple[Path, Published, dict[str, list[str]]]]:
    """A benchmark of nine classes, its images laid out; `prepare` believes in it."""

    def make(
        benchmark: str, place: Place = as_listed, name: str = "root"
    ) -> tuple[Path, Published, dict[str, list[str]]]:
        lines = cut(shared, benchmark)
        known = published(benchmark, lines)
        monkeypatch.setattr(sources, "read_published", lambda _: known)
        return write(tmp_path / name, known, lines, place), known, lines

    return make


def settings_of(root: Path, benchmark: str, **changes: Any) -> DataSettings:
    return data_settings(root, benchmark=benchmark, **changes)


def test_layout_changes_nothing_but_the_paths(laid_out, tmp_path) -> None:
    """The data's hash, by which runs are told apart, does not hang on the folders."""
    found = []
    for number, place in enumerate((as_listed, places_archives)):
        root, *_ = laid_out("places_lt", place, str(number))
        settings = settings_of(root, "places_lt")
        got = prepare(settings, tmp_path)
        found.append((index_of(got), summarise(got, settings)))
    (index, summary), (other_index, other_summary) = found
    assert summary["hash"] == other_summary["hash"]
    assert index.drop(columns="path").equals(other_index.drop(columns="path"))
    assert summary["origin"]["layout"] != other_summary["origin"]["layout"]
    assert summary["class_names"][8] == "apartment_building-outdoor"
    assert summary["images"] == {"train": 27, "val": 9, "test": 18}


# --- what is missing


def test_folder_that_is_missing_is_said_with_all_that_were_looked_for(
    laid_out, tmp_path, refused
) -> None:
    root, _, lines = laid_out("imagenet_lt", moved("val/", "validation/"))
    problems = refused(lambda: list_images(settings_of(root, "imagenet_lt"), tmp_path))
    assert problems[:3] == [
        f"{root}: expected the 54 images of the lists, found 36; missing: 18 of test",
        f"{root}: expected images in one of val/<class>/, val/, "
        "ILSVRC/Data/CLS-LOC/val/<class>/, ILSVRC/Data/CLS-LOC/val/, got none",
        f"{root}/{lines['test'][0].split()[0]}: expected an image, found nothing",
    ]
    assert len(problems) == 13


def test_fuller_layout_wins_where_two_are_there(laid_out, tmp_path, refused) -> None:
    """A half-unpacked archive beside a nearly whole one: the latter is named."""
    root, _, lines = laid_out("places_lt", places_archives)
    first = lines["train"][0].split()[0]
    (root / first).parent.mkdir(parents=True)
    (root / first).write_bytes((root / places_archives(first)).read_bytes())
    gone = places_archives(lines["train"][1].split()[0])
    (root / gone).unlink()
    assert refused(lambda: list_images(settings_of(root, "places_lt"), tmp_path)) == [
        f"{root}: expected the 54 images of the lists, found 53; missing: 1 of train",
        f"{root}/{gone}: expected an image, found nothing",
    ]


def test_root_without_lists_or_splits_is_refused(
    tmp_path, write_images, refused
) -> None:
    root = write_images(tmp_path, {"train/n01440764": 1, "val/n01440764": 1})
    expected = (
        f"{root}: expected ImageNet_LT_train.txt, ImageNet_LT_val.txt, "
        "ImageNet_LT_test.txt there or in lists/, or folders train/<class>/ and "
        "test/<class>/, found neither"
    )

    def problems() -> list[str]:
        return refused(lambda: list_images(settings_of(root, "imagenet_lt"), root))

    assert problems() == [expected]
    (root / "ilsvrc/lists").mkdir(parents=True)
    (root / "ilsvrc/lists/ImageNet_LT_val.txt").write_text("")
    assert problems() == [f"{expected}; such lie in {root}/ilsvrc: give that"]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_plain_folders_of_a_benchmark_are_numbered_as_the_field_does(
    shared, tmp_path, benchmark
) -> None:
    """Every class of the real lists: as text, iNaturalist's 8,142 would all move."""
    known = read_published(benchmark)
    assert known is not None
    place = shared / "data" / benchmark / known.lists["test"].file
    parts = [line.rpartition(" ") for line in place.read_text().splitlines()]
    folder_of = {int(label): path.split("/")[-2] for path, _, label in parts}
    order = published_order(tmp_path, sorted(folder_of.values()), known)
    assert dict(enumerate(order)) == dict(sorted(folder_of.items()))


def test_a_plain_folder_of_other_counts_is_said(
    laid_out, tmp_path, write_images
) -> None:
    _, _, lines = laid_out("places_lt")
    names = tuple(dict.fromkeys(line.split("/")[-2] for line in lines["train"]))
    images = {f"{split}/{name}": 1 for split in ("train", "test") for name in names}
    root = write_images(tmp_path / "plain", images)
    listing = list_images(settings_of(root, "places_lt"), tmp_path)
    assert listing.class_names == names and listing.origin is None
    assert listing.notes == (
        "The class counts of this folder are not the published ones.",
    )
    thinned = settings_of(root, "places_lt", imbalance_factor=2.0)
    assert list_images(thinned, tmp_path).notes == ()


def test_plain_folder_of_other_classes_is_not_a_benchmarks(
    tmp_path, write_images, refused
) -> None:
    root = write_images(tmp_path, {"train/a": 2, "test/a": 1})
    assert refused(lambda: list_images(settings_of(root, "places_lt"), root)) == [
        f"{root}/train: expected the 365 classes of places_lt, by their names in its "
        "lists, got 1 others; put Places_LT_train.txt, Places_LT_val.txt, "
        "Places_LT_test.txt there, or give images of your own as inputs.own"
    ]


def test_lists_that_number_classes_otherwise_are_refused(laid_out, refused) -> None:
    """Two classes change numbers in every list: counts and folders still agree."""
    root, known, lines = laid_out("places_lt")
    other = {"0": "1", "1": "0"}
    for split, one in known.lists.items():
        parts = [line.split() for line in lines[split]]
        swapped = [f"{path} {other.get(label, label)}" for path, label in parts]
        (root / one.file).write_text(text(swapped))
    assert refused(lambda: list_official(root, known, thinned=False)) == [
        f"{root}/Places_LT_train.txt: expected classes numbered as published, got "
        "others: the rows of released weights would be other classes; images of your "
        "own belong under inputs.own"
    ]


def test_list_that_is_not_the_published_one_is_called_so(laid_out, tmp_path) -> None:
    root, known, lines = laid_out("places_lt")
    assert remarks(list_official(root, known, False), known, False) == []
    (root / "Places_LT_test.txt").write_text(text(reversed(lines["test"])))
    listing = list_official(root, known, thinned=False)
    assert listing.origin is not None
    blob = listing.origin["lists"]["test"]["blob"]
    assert remarks(listing, known, thinned=False) == [
        f"Places_LT_test.txt is not the published list (git blob {blob}, published "
        f"{known.lists['test'].blob}); its class counts are the published ones."
    ]


# --- ImageNet's devkit


def write_devkit(folder: Path, lines: list[str]) -> tuple[Path, list[int]]:
    """meta.mat and the labels of 50,000 images, right for the listed ones."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [line.split()[0].split("/") for line in lines]
    wnids = sorted({wnid for _, wnid, _ in parts}, reverse=True)
    synsets = np.zeros(
        len(wnids), [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    )
    for number, wnid in enumerate(wnids, 1):
        synsets[number - 1] = (number, wnid, f"words of {wnid}")
    scipy.io.savemat(folder / "meta.mat", {"synsets": synsets})
    labels = np.ones(50000, int)
    numbers = [int(name.split("_")[2].split(".")[0]) for _, _, name in parts]
    for number, (_, wnid, _) in zip(numbers, parts, strict=True):
        labels[number - 1] = wnids.index(wnid) + 1
    truth = folder / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text(text(map(str, labels)))
    return truth, numbers


def test_devkit_is_held_against_the_test_list(laid_out, refused) -> None:
    root, known, lines = laid_out("imagenet_lt", flat)
    truth, numbers = write_devkit(root / "ILSVRC2012_devkit_t12/data", lines["test"])
    origin = list_official(root, known, thinned=False).origin
    assert origin is not None and origin["devkit"] is True
    labels = truth.read_text().split()
    labels[numbers[0] - 1] = "1"
    labels[numbers[2] - 1] = "77"
    truth.write_text(text(labels))
    listed = [line.split("/")[1] for line in lines["test"]]
    place = root / "ImageNet_LT_test.txt"
    assert refused(lambda: list_official(root, known, thinned=False)) == [
        f"{truth}:{numbers[0]}: expected {listed[0]}, as in {place}:1, got "
        f"{max(listed)}",
        f"{truth}:{numbers[2]}: expected {listed[2]}, as in {place}:3, got 77",
    ]


def test_devkit_that_cannot_be_used_is_refused(laid_out, refused) -> None:
    root, known, lines = laid_out("imagenet_lt")
    truth, _ = write_devkit(root, lines["test"])
    truth.write_text("")
    problems = refused(lambda: list_official(root, known, thinned=False))
    assert len(problems) == 11
    assert problems[0].endswith(", got no line")
    assert problems[10] == f"{truth}: 8 more labels like these"
    (root / "meta.mat").write_bytes(b"no MATLAB file" * 20)
    (problem,) = refused(lambda: list_official(root, known, thinned=False))
    assert problem.startswith(f"{root}/meta.mat: expected the devkit's synsets, got ")
