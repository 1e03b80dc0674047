"""The folders that the paper's data sets come in: where a listed image lies.

A list names its images as one archive lays them out; other archives of the same images
have other folders. Which one it is, is decided once for all images, by what the folders
hold: a folder is read once, no image is asked for by itself.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from replication.core.files import BadInput, read_text
from replication.data.listing import SPLITS, Listing, first_of
from replication.data.lists import Lists, Published, class_folders, read_lists

# How a class's folder is written -> from as listed to that: the class a-b of Places365
# may be a/b.
_FORMS: Mapping[str, Callable[[str], str]] = {
    "<class>/": lambda listed: f"{listed}/",
    "<class>/<subclass>/": lambda listed: f"{listed.replace('-', '/')}/",
    "<letter>/<class>/": lambda listed: f"{listed[0]}/{listed.replace('-', '/')}/",
    "": lambda listed: "",
}


class Home(NamedTuple):
    """A folder that images may lie in, and how a class's folder is written in it."""

    folder: str
    form: str

    def place(self, listed: str) -> str:
        """Where a listed image, `train/<class>/<image>`, lies below the root."""
        class_folder, _, name = listed.partition("/")[2].rpartition("/")
        return f"{self.folder}{_FORMS[self.form](class_folder)}{name}"

    def __str__(self) -> str:
        return f"{self.folder}{self.form}"


def _homes(folders: Sequence[str], forms: Sequence[str]) -> tuple[Home, ...]:
    return tuple(Home(folder, form) for folder in folders for form in forms)


_ILSVRC = "ILSVRC/Data/CLS-LOC"
_PLACES = ("data_256/", "data_large/", "data_256_standard/", "data_large_standard/")
_PLACES_FORMS = ("<class>/", "<class>/<subclass>/", "<letter>/<class>/")
# Benchmark -> first folder of a listed path -> where its images may lie, in the order
# in which they are looked for: Places365's archives, and what torchvision makes of
# them; ImageNet's, its validation images in classes or not, and the competition's tree.
_HOMES: Mapping[str, Mapping[str, tuple[Home, ...]]] = {
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


def _homes_of(benchmark: str, top: str) -> tuple[Home, ...]:
    return _HOMES[benchmark].get(top, (Home(f"{top}/", "<class>/"),))


@dataclass(frozen=True)
class Placed:
    """Listed images, and which of them are there.

    Fields: `listing`, of all of them; `there` (N,) bool; `homes`, first folder of a
    listed path -> where its images were found, None where none was.
    """

    listing: Listing
    there: np.ndarray
    homes: Mapping[str, Home | None]


def list_official(root: Path, published: Published, thinned: bool) -> Listing:
    """List the images that the field's lists name, wherever the archive put them.

    Raises:
        BadInput: the lists are not fit to be used, an image is not there, or the
            devkit's labels are others than the list's.
    """
    lists = read_lists(root, published, thinned)
    placed = lay_out(root, published.benchmark, lists)
    devkit, problems = check_devkit(root, published.benchmark, lists)
    if problems := missing(placed, published.benchmark, lists) + problems:
        raise BadInput(problems)
    origin = {
        "lists": {
            split: {
                "file": one.place.name,
                "blob": one.blob,
                "images": len(one.labels),
                "published": lists.published[split],
            }
            for split, one in lists.splits.items()
        },
        "published_counts": lists.published_counts,
        "layout": {top: str(home) for top, home in placed.homes.items()},
        "devkit": devkit,
    }
    return replace(placed.listing, origin=origin)


def lay_out(root: Path, benchmark: str, lists: Lists) -> Placed:
    """Find the folders below the root that the listed images lie in.

    Raises:
        BadInput: a folder cannot be read.
    """
    splits = [split for split in SPLITS if split in lists.splits]
    paths = np.concatenate([lists.splits[split].paths for split in splits])
    tops = np.array([path.partition("/")[0] for path in paths])
    there = np.zeros(len(paths), bool)
    homes: dict[str, Home | None] = {}
    for top in dict.fromkeys(tops.tolist()):
        rows = np.flatnonzero(tops == top)
        home, paths[rows], there[rows] = _best_home(
            root, _homes_of(benchmark, top), paths[rows]
        )
        homes[top] = home if there[rows].any() else None
    listing = Listing(
        root,
        paths.astype(str),
        np.concatenate([lists.splits[split].labels for split in splits]),
        np.repeat(splits, [len(lists.splits[split].labels) for split in splits]),
        lists.class_names,
    )
    return Placed(listing, there, homes)


def _best_home(
    root: Path, homes: Sequence[Home], listed: np.ndarray
) -> tuple[Home, list[str], np.ndarray]:
    """The first home that holds every image, or else the one that holds most.

    Returns:
        The home, where it has each image, and (n,) bool: which ones it holds.
    """
    best, most = homes[0], np.zeros(len(listed), bool)
    for home in homes:
        if most.all() or not (root / home.folder).is_dir():
            continue
        held = _held(root, [home.place(path) for path in listed])
        if held.sum() > most.sum():
            best, most = home, held
    return best, [best.place(path) for path in listed], most


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


def missing(placed: Placed, benchmark: str, lists: Lists) -> list[str]:
    """A line that counts the images that are not there, and one for each of ten."""
    if placed.there.all():
        return []
    root, paths = placed.listing.root, placed.listing.paths
    gone = np.flatnonzero(~placed.there)
    in_split = placed.listing.splits[gone].tolist()
    counts = ", ".join(
        f"{in_split.count(split):,} of {split}"
        for split in lists.splits
        if split in in_split
    )
    problems = [
        f"{root}: expected the {len(paths):,} images of the lists, "
        f"found {len(paths) - len(gone):,}; missing: {counts}"
    ]
    problems += [
        f"{root}: expected images in one of "
        f"{', '.join(map(str, _homes_of(benchmark, top)))}, got none"
        for top, home in placed.homes.items()
        if home is None
    ]
    lines = [f"{root}/{paths[row]}: expected an image, found nothing" for row in gone]
    return problems + first_of(lines, root, "missing images")


# ---- ImageNet's devkit --------------------------------------------------------------

_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"
_DEVKIT = (".", "lists", "ILSVRC2012_devkit_t12/data")
_VAL_IMAGE = re.compile(r"/ILSVRC2012_val_(\d{8})\.JPEG$")


def check_devkit(
    root: Path, benchmark: str, lists: Lists
) -> tuple[bool | None, list[str]]:
    """Hold the test list's classes against ImageNet's own labels, where they are there.

    Returns:
        Whether the devkit was there (None: the benchmark has none), and a line for
        each of the first ten images that it labels otherwise.
    """
    if benchmark != "imagenet_lt":
        return None, []
    folders = [
        root / folder
        for folder in _DEVKIT
        if (root / folder / _TRUTH).is_file() and (root / folder / _META).is_file()
    ]
    if not folders:
        return False, []
    truth, wnids = folders[0] / _TRUTH, _wnids(folders[0] / _META)
    ids = read_text(truth).split()
    test = lists.splits["test"]
    problems = []
    for row, wnid in enumerate(class_folders(test.paths)):
        match = _VAL_IMAGE.search(test.paths[row])
        number = int(match[1]) if match else 0
        label = ids[number - 1] if 0 < number <= len(ids) else "no line"
        if (got := wnids.get(label, label)) != wnid:
            problems.append(
                f"{truth}:{number}: expected {wnid}, as in {test.where(row)}, got {got}"
            )
    return True, first_of(problems, truth, "labels")


def _wnids(place: Path) -> dict[str, str]:
    """The devkit's number of each class -> its WordNet id."""
    try:
        from scipy.io import loadmat

        synsets = loadmat(str(place), squeeze_me=True)["synsets"]
        numbers, wnids = synsets["ILSVRC2012_ID"], synsets["WNID"]
        return {str(n): str(wnid) for n, wnid in zip(numbers, wnids, strict=True)}
    except Exception as error:  # SciPy raises half a dozen kinds on a broken file
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadInput(
            f"{place}: expected the devkit's synsets, got {reason}"
        ) from None
