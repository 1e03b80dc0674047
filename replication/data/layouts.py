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
from typing import Any

import numpy as np
import scipy.io

from replication.core.files import BadInput, read_text
from replication.data.listing import SPLITS, Listing, first_of
from replication.data.lists import (
    Lists,
    Published,
    class_folders,
    folders_of,
    read_lists,
)


@dataclass(frozen=True)
class Home:
    """A folder that images may lie in, and how a class's folder is written in it.

    Fields: `folder` below the root; `below`, from a class's folder as listed to that in
    `folder`; `shown`, the same for a reader.
    """

    folder: str
    below: Callable[[str], str]
    shown: str

    def of(self, listed: str) -> str:
        """Where the images of a listed folder, `train/<class>`, lie below the root."""
        class_folder = listed.partition("/")[2]
        return os.path.normpath(os.path.join(self.folder, self.below(class_folder)))

    def __str__(self) -> str:
        return os.path.normpath(os.path.join(self.folder, self.shown)) + "/"


def _as_listed(class_folder: str) -> str:
    return class_folder


def _nested(class_folder: str) -> str:
    return class_folder.replace("-", "/")


def _by_letter(class_folder: str) -> str:
    return f"{class_folder[0]}/{_nested(class_folder)}"


def _flat(_: str) -> str:
    return ""


_AS_LISTED = (_as_listed, "<class>")
_NESTED = (_nested, "<class>/<subclass>")
_BY_LETTER = (_by_letter, "<letter>/<class>")
_FLAT = (_flat, "")


def _homes(
    folders: Sequence[str], forms: Sequence[tuple[Callable[[str], str], str]]
) -> tuple[Home, ...]:
    return tuple(Home(folder, *form) for folder in folders for form in forms)


_ILSVRC = "ILSVRC/Data/CLS-LOC"
_PLACES = ("data_256", "data_large", "data_256_standard", "data_large_standard")
# Benchmark -> first folder of a listed path -> where its images may lie, in the order
# in which they are looked for: Places365's archives, and what torchvision makes of
# them; ImageNet's, its validation images in classes or not, and the competition's tree.
_HOMES: Mapping[str, Mapping[str, tuple[Home, ...]]] = {
    "places_lt": {
        "train": _homes(("train", *_PLACES), (_AS_LISTED, _NESTED, _BY_LETTER)),
        "val": _homes(
            ("val", "val_256", "val_large"), (_AS_LISTED, _NESTED, _BY_LETTER, _FLAT)
        ),
    },
    "imagenet_lt": {
        "train": _homes(("train", f"{_ILSVRC}/train"), (_AS_LISTED,)),
        "val": _homes(("val", f"{_ILSVRC}/val"), (_AS_LISTED, _FLAT)),
    },
    "inat18": {"train_val2018": _homes(("train_val2018", "2018", "."), (_AS_LISTED,))},
}


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
    checked, problems = check_devkit(root, published.benchmark, lists)
    if problems := missing(placed, published.benchmark, lists) + problems:
        raise BadInput(problems)
    return with_origin(placed, lists, checked)


def lay_out(root: Path, benchmark: str, lists: Lists) -> Placed:
    """Find the folders that the listed images lie in.

    Args:
        root: of the images.
        benchmark: whose layouts to look for.
        lists: of every split.

    Raises:
        BadInput: a folder cannot be read.
    """
    splits = [split for split in SPLITS if split in lists.splits]
    listed = np.concatenate([lists.splits[split].paths for split in splits])
    codes, folders = folders_of(listed)
    names = np.array([path.rpartition("/")[2] for path in listed], dtype=object)
    tops = np.array([folder.partition("/")[0] for folder in folders])
    there = np.zeros(len(listed), bool)
    paths = listed.copy()
    homes: dict[str, Home | None] = {}
    for top in dict.fromkeys(tops.tolist()):
        rows = np.flatnonzero((tops == top)[codes])
        known = _HOMES[benchmark].get(top, _homes((top,), (_AS_LISTED,)))
        mine = {int(code): folders[code] for code in np.flatnonzero(tops == top)}
        home, found = _best_home(root, known, mine, codes[rows], names[rows])
        there[rows] = found
        homes[top] = home if found.any() else None
        below = {code: home.of(folder) for code, folder in mine.items()}
        paths[rows] = [
            f"{below[code]}/{name}"
            for code, name in zip(codes[rows].tolist(), names[rows], strict=True)
        ]
    listing = Listing(
        root,
        paths.astype(str),
        np.concatenate([lists.splits[split].labels for split in splits]),
        np.repeat(splits, [len(lists.splits[split].labels) for split in splits]),
        lists.class_names,
    )
    return Placed(listing, there, homes)


def _best_home(
    root: Path,
    homes: Sequence[Home],
    folders: Mapping[int, str],
    codes: np.ndarray,
    names: np.ndarray,
) -> tuple[Home, np.ndarray]:
    """The first home that holds every image, or else the one that holds most.

    Returns:
        The home, and (n,) bool: which images it holds.
    """
    best, most = homes[0], np.zeros(len(names), bool)
    for home in homes:
        if not (root / home.folder).is_dir():
            continue
        found = _in_home(root, home, folders, codes, names)
        if found.sum() > most.sum():
            best, most = home, found
        if most.all():
            break
    return best, most


def _in_home(
    root: Path,
    home: Home,
    folders: Mapping[int, str],
    codes: np.ndarray,
    names: np.ndarray,
) -> np.ndarray:
    """Which images a home holds, (n,) bool; each of its folders is read once."""
    place_of = {code: home.of(folder) for code, folder in folders.items()}
    wanted: dict[str, list[int]] = {place: [] for place in place_of.values()}
    for row, code in enumerate(codes.tolist()):
        wanted[place_of[code]].append(row)
    found = np.zeros(len(names), bool)

    def look(place: str) -> None:
        there = _names(root / place)
        rows = wanted[place]
        found[rows] = [names[row] in there for row in rows]

    with ThreadPoolExecutor() as threads:
        for _ in threads.map(look, wanted):
            pass
    return found


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
    listing = placed.listing
    gone = np.flatnonzero(~placed.there)
    counts = ", ".join(
        f"{number:,} of {split}"
        for split in lists.splits
        if (number := int((listing.splits[gone] == split).sum()))
    )
    nowhere = [top for top, home in placed.homes.items() if home is None]
    problems = [
        f"{listing.root}: expected the {len(listing.paths):,} images of the lists, "
        f"found {len(listing.paths) - len(gone):,}; missing: {counts}"
    ]
    for top in nowhere:
        homes = _HOMES[benchmark].get(top, _homes((top,), (_AS_LISTED,)))
        where = ", ".join(dict.fromkeys(map(str, homes)))
        problems.append(f"{listing.root}: expected images in one of {where}, got none")
    lines = [
        f"{listing.root}/{listing.paths[row]}: expected an image, found nothing"
        for row in gone
    ]
    return problems + first_of(lines, listing.root, "missing images")


def with_origin(placed: Placed, lists: Lists, devkit: bool | None) -> Listing:
    """The listing, with what it was made from.

    Args:
        placed: every image there.
        lists: they are of.
        devkit: whether ImageNet's own labels were there and agree; None elsewhere.
    """
    origin: dict[str, Any] = {
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


# ---- ImageNet's devkit --------------------------------------------------------------

_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"
_DEVKIT = (".", "lists", "ILSVRC2012_devkit_t12/data")
_VAL_IMAGE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")


def check_devkit(
    root: Path, benchmark: str, lists: Lists
) -> tuple[bool | None, list[str]]:
    """Hold the test list's classes against ImageNet's own labels, where they are there.

    The lists carry the labels; the devkit's are a second witness, wanted most where
    `val/` has no folder a class.

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
    for row, (path, wnid) in enumerate(
        zip(test.paths, class_folders(test.paths), strict=True)
    ):
        match = _VAL_IMAGE.fullmatch(path.rpartition("/")[2])
        number = int(match[1]) if match else 0
        label = ids[number - 1] if 0 < number <= len(ids) else "no line"
        got = wnids.get(label, label)
        if got != wnid:
            problems.append(
                f"{truth}:{number}: expected {wnid}, as in {test.where(row)}, got {got}"
            )
    return True, first_of(problems, truth, "labels")


def _wnids(place: Path) -> dict[str, str]:
    """The devkit's number of each class -> its WordNet id."""
    try:
        synsets = scipy.io.loadmat(str(place), squeeze_me=True)["synsets"]
        return {
            str(int(number)): str(wnid)
            for number, wnid in zip(
                synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True
            )
        }
    except Exception as error:  # SciPy raises half a dozen kinds on a broken file
        text = str(error).strip().splitlines()
        raise BadInput(
            f"{place}: expected the devkit's synsets, got "
            f"{text[0] if text else type(error).__name__}"
        ) from None
