"""The folders that the paper's data sets come in: where a listed image lies.

A list names its images as one archive lays them out; other archives of the same images
have other folders. Which one it is, is decided once for all images, by what the folders
hold: a folder is read once, no image is asked for by itself.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from replication.core.files import BadInput
from replication.data.devkit import check_devkit
from replication.data.listing import Listing, first_of
from replication.data.lists import Published, read_lists


def _homes(folders: Sequence[str], forms: Sequence[str]) -> tuple[str, ...]:
    return tuple(folder + form for folder in folders for form in forms)


_ILSVRC = "ILSVRC/Data/CLS-LOC"
_PLACES = ("data_256/", "data_large/", "data_256_standard/", "data_large_standard/")
_PLACES_FORMS = ("<class>/", "<class>/<subclass>/", "<letter>/<class>/")
# Benchmark -> first folder of a listed path -> where its images may lie, in the order
# in which they are looked for: Places365's archives, and what torchvision makes of
# them; ImageNet's, its validation images in classes or not, and the competition's tree.
_HOMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "places_lt": {
        "train": _homes(("train/", *_PLACES), _PLACES_FORMS),
        "val": _homes(("val/", "val_256/", "val_large/"), (*_PLACES_FORMS, "")),
    },
    "imagenet_lt": {
        "train": _homes(("train/", f"{_ILSVRC}/train/"), ("<class>/",)),
        "val": _homes(("val/", f"{_ILSVRC}/val/"), ("<class>/", "")),
    },
    "inat18": {"train_val2018": _homes(("train_val2018/", "2018/", ""), ("<class>/",))},
}


def _place(home: str, listed: str) -> str:
    """Where a listed image, `train/<class>/<image>`, lies below the root.

    Within letters or with subclasses, the class a-b of Places365 is a/b.
    """
    folder, _, name = listed.partition("/")[2].rpartition("/")
    if "<letter>" in home or "<subclass>" in home:
        folder = folder.replace("-", "/")
    place = home.replace("/<subclass>", "").replace("<letter>", folder[:1])
    return place.replace("<class>", folder) + name


def list_official(root: Path, published: Published, thinned: bool) -> Listing:
    """List the images that the field's lists name, wherever the archive put them.

    Raises BadInput: the lists are not fit to be used, an image is not there, or the
    devkit's labels are others than the list's.
    """
    lists = read_lists(root, published, thinned)
    parts = lists.splits.values()
    paths = np.concatenate([part.paths for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    splits = np.repeat([*lists.splits], [len(part.labels) for part in parts])
    tops = np.array([path.partition("/")[0] for path in paths])
    there = np.zeros(len(paths), bool)
    layout: dict[str, str] = {}
    problems = []
    for top in dict.fromkeys(tops.tolist()):
        rows = np.flatnonzero(tops == top)
        homes = _HOMES[published.benchmark].get(top, (f"{top}/<class>/",))
        home, paths[rows], there[rows] = _best_home(root, homes, paths[rows])
        layout[top] = home
        if not there[rows].any():
            words = ", ".join(homes)
            problems.append(f"{root}: expected images in one of {words}, got none")
    if not there.all():
        gone = paths[~there]
        counts = zip(*np.unique(splits[~there], return_counts=True), strict=True)
        words = ", ".join(f"{number:,} of {split}" for split, number in counts)
        lines = [f"{root}/{path}: expected an image, found nothing" for path in gone]
        problems = [
            f"{root}: expected the {len(paths):,} images of the lists, found "
            f"{there.sum():,}; missing: {words}",
            *problems,
            *first_of(lines, root, "missing images"),
        ]
    devkit, wrong = check_devkit(root, published.benchmark, lists)
    if problems or wrong:
        raise BadInput(problems + wrong)
    origin = {
        "lists": {
            split: {
                "file": listed.place.name,
                "blob": listed.blob,
                "images": len(listed.labels),
                "published": lists.published[split],
            }
            for split, listed in lists.splits.items()
        },
        "published_counts": lists.published_counts,
        "layout": layout,
        "devkit": devkit,
    }
    paths = paths.astype(str)
    return Listing(root, paths, labels, splits, lists.class_names, origin)


def _best_home(
    root: Path, homes: Sequence[str], listed: np.ndarray
) -> tuple[str, list[str], np.ndarray]:
    """The first home that holds every image, or else the one that holds most.

    Returns the home, where it has each image, and (n,) bool: which ones it holds.
    """
    best, most = homes[0], np.zeros(len(listed), bool)
    for home in homes:
        if most.all() or not (root / home.partition("<")[0]).is_dir():
            continue
        held = _held(root, [_place(home, path) for path in listed])
        if held.sum() > most.sum():
            best, most = home, held
    return best, [_place(best, path) for path in listed], most


def _held(root: Path, paths: Sequence[str]) -> np.ndarray:
    """Which files are there, (n,) bool; each of their folders is read once."""
    parts = [path.rpartition("/") for path in paths]
    folders = list({folder for folder, _, _ in parts})
    with ThreadPoolExecutor() as threads:
        names = threads.map(lambda folder: _names(root / folder), folders)
        names_in = dict(zip(folders, names, strict=True))
    return np.array([name in names_in[folder] for folder, _, name in parts])


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise BadInput(
            f"{folder}: expected a folder that can be read, got {error.strerror}"
        ) from None
