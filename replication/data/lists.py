"""The field's lists of images: read, refused, held against the published ones.

A list is a text file, a line an image: `relative/path.jpg label`. iNaturalist's
annotations (`train2018.json`, `val2018.json`) say the same, and spell out the field's
lists to the byte.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import BadInput, read_json, read_yaml
from replication.core.settings import PUBLISHED
from replication.data.listing import SPLITS, Listing, first_of
from replication.samples.shots import class_counts

_FOLDERS = (".", "lists")  # below the images' root, where lists are looked for


@dataclass(frozen=True)
class PublishedList:
    """One list of the field.

    Fields: `file`, its official name; `annotations`, the file that says the same in
    JSON, None where there is none; `images` it names; `blob`, its git blob id.
    """

    file: str
    images: int
    blob: str
    annotations: str | None = None


@dataclass(frozen=True)
class Published:
    """What is published about a benchmark's images.

    Fields: `benchmark`; `num_classes`, C; `histogram`, training images of a class ->
    classes that have so many; `lists` by split.
    """

    benchmark: str
    num_classes: int
    histogram: Mapping[int, int]
    lists: Mapping[str, PublishedList]


def read_published(benchmark: str) -> Published | None:
    """What is published about a benchmark's images; None where there are no lists."""
    lists = read_yaml(PUBLISHED / "lists.yaml").get(benchmark)
    if lists is None:
        return None
    counts = read_json(PUBLISHED / "class_counts.json")[benchmark]
    return Published(
        benchmark,
        counts["classes"],
        {int(count): classes for count, classes in counts["histogram"].items()},
        {split: PublishedList(**one) for split, one in lists.items()},
    )


@dataclass(frozen=True)
class ImageList:
    """The images of one split, as a file lists them.

    Fields: `place`, the file; `blob`, git blob id of the list, or of the list that
    annotations spell out; `paths` (n,) text as listed; `labels` (n,) int64.
    """

    place: Path
    blob: str
    paths: np.ndarray
    labels: np.ndarray

    def where(self, row: int) -> str:
        """The place of a row, for a reader."""
        return _where(self.place, row)


@dataclass(frozen=True)
class Lists:
    """The lists of a benchmark, fit to be used.

    Fields: `splits`, split -> its list; `class_names` (C,), each class's folder;
    `published`, split -> whether its list is the published one; `published_counts`,
    whether the images of each class are as many as published.
    """

    splits: Mapping[str, ImageList]
    class_names: tuple[str, ...]
    published: Mapping[str, bool]
    published_counts: bool


def has_lists(root: Path, published: Published) -> bool:
    """Whether any list or annotation file of the benchmark lies in the root."""
    return bool(_found(root, published, "file")) or bool(
        _found(root, published, "annotations")
    )


def wanted(published: Published) -> str:
    """In words: the files that a benchmark's images are listed in."""
    lists = published.lists.values()
    words = ", ".join(one.file for one in lists)
    annotations = [one.annotations for one in lists if one.annotations]
    return " or ".join([words, *([", ".join(annotations)] if annotations else [])])


def read_lists(root: Path, published: Published, thinned: bool) -> Lists:
    """Read the lists of a benchmark, or the annotations in their place.

    A list whose git blob id is another than the published one may be used where it
    names as many images of each class (in another order, with other line ends, of
    another draw): it is called "not the published list" from then on. One with other
    class counts is refused: its results would stand beside the published ones. Where
    an imbalance factor thins the training images anyway, their counts are free.

    Args:
        root: of the images; the lists lie there or in `lists/`.
        published: what to hold them against.
        thinned: an imbalance factor is set.

    Raises:
        BadInput: a line for each: a file is missing, a line is malformed, a path leads
            out of the root, a label is out of range, an image is listed twice or in
            two splits, a class has two folders or a folder two classes, a class is
            never trained, class counts are not those published.
    """
    lists = _read(root, published)
    problems = _across(lists, published.num_classes)
    if problems:
        raise BadInput(problems)
    same = {
        split: one.blob == published.lists[split].blob for split, one in lists.items()
    }
    differing = {
        split: _count_problem(split, one, published)
        for split, one in lists.items()
        if not same[split]
    }
    problems = [
        problem
        for split, problem in differing.items()
        if problem and not (thinned and split == "train")
    ]
    if problems:
        raise BadInput(problems)
    return Lists(lists, _class_names(lists["train"]), same, not any(differing.values()))


def remarks(listing: Listing, published: Published, thinned: bool) -> list[str]:
    """What a reader should know about accepted images that are not the published ones.

    Args:
        listing: the images.
        published: what to hold them against.
        thinned: an imbalance factor is set, so that training counts are free.
    """
    name = published.benchmark
    if listing.origin is None:
        labels = listing.labels[listing.splits == "train"]
        if thinned or _histogram(labels) == published.histogram:
            return []
        return [f"{name}: the class counts of this folder are not the published ones"]
    counts = "are" if listing.origin["published_counts"] else "are not"
    return [
        f"{name}: {one['file']} is not the published list (git blob {one['blob']}, "
        f"published {published.lists[split].blob}); its class counts {counts} the "
        "published ones"
        for split, one in listing.origin["lists"].items()
        if not one["published"]
    ]


def blob_id(content: bytes) -> str:
    """Git's name for a file's content, as `git hash-object` prints it."""
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def folders_of(paths: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The folder of each path: (N,) positions in the list of folders, and that list."""
    codes, folders = pd.factorize(
        np.array([path.rpartition("/")[0] for path in paths], dtype=object)
    )
    return codes, folders.tolist()


def _found(root: Path, published: Published, kind: str) -> dict[str, Path]:
    """Split -> its file, of those that are there."""
    places = {
        split: root / folder / str(getattr(one, kind))
        for folder in reversed(_FOLDERS)
        for split, one in published.lists.items()
        if getattr(one, kind) and (root / folder / getattr(one, kind)).is_file()
    }
    return {split: places[split] for split in SPLITS if split in places}


def _read(root: Path, published: Published) -> dict[str, ImageList]:
    """The lists; the annotations where more of those are there."""
    as_text = _found(root, published, "file")
    as_json = _found(root, published, "annotations")
    if len(as_json) > len(as_text):
        kind, reader, places = "annotations", read_annotations, as_json
    else:
        kind, reader, places = "file", read_list, as_text
    problems = [
        f"{root}: expected {getattr(one, kind)} there or in lists/, found none"
        for split, one in published.lists.items()
        if split not in places
    ]
    lists = {}
    for split, place in places.items():
        try:
            lists[split] = reader(place, published.num_classes)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    return lists


def read_list(place: Path, num_classes: int) -> ImageList:
    """Read a list: a line an image, `relative/path.jpg label`.

    Raises:
        BadInput: a line for each of the first ten lines that cannot be used.
    """
    try:
        content = place.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{place}: expected UTF-8 text, got {error}") from None
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    parts = [line.rpartition(" ") for line in lines]
    malformed = {
        row: f"expected a path, a space and a label, got {lines[row]!r}"
        for row, (path, _, label) in enumerate(parts)
        if not path or not (label.isascii() and label.isdecimal() and len(label) < 10)
    }
    labels = np.array(
        [0 if row in malformed else int(part[2]) for row, part in enumerate(parts)]
    )
    paths = np.array([path for path, _, _ in parts], dtype=object)
    _refuse(place, _unusable(paths, labels, num_classes) | malformed)
    return ImageList(place, blob_id(content), paths, labels)


def read_annotations(place: Path, num_classes: int) -> ImageList:
    """Read annotations in COCO's style: images, annotations, categories.

    Raises:
        BadInput: a line for each of the first ten entries that cannot be used.
    """
    found = read_json(place)
    paths = _column(place, found, "images", "file_name", str)
    ids = pd.Index(_column(place, found, "images", "id", int))
    of_image = _column(place, found, "annotations", "image_id", int)
    category = _column(place, found, "annotations", "category_id", int)
    categories = set(_column(place, found, "categories", "id", int))
    if not ids.is_unique:
        raise BadInput(f"{place}: images: expected each id once, got some twice")
    if categories != set(range(num_classes)):
        raise BadInput(
            f"{place}: categories: expected ids 0..{num_classes - 1}, got "
            f"{len(categories)} of them, {min(categories)}..{max(categories)}"
        )
    rows = ids.get_indexer(of_image)
    times = np.bincount(rows[rows >= 0], minlength=len(ids))
    problems = [
        f"{place}: annotations[{row}].image_id: expected an image's id, got "
        f"{of_image[row]}"
        for row in np.flatnonzero(rows < 0)
    ]
    problems += [
        f"{_where(place, row)}: expected one annotation, got {times[row]}"
        for row in np.flatnonzero(times != 1)
    ]
    problems += [
        f"{place}: annotations[{row}].category_id: expected a label of "
        f"0..{num_classes - 1}, got {label}"
        for row, label in enumerate(category)
        if label not in categories
    ]
    if problems:
        raise BadInput(first_of(problems, place, "entries"))
    labels = np.empty(len(ids), np.int64)
    labels[rows] = category
    as_objects = np.array(paths, dtype=object)
    _refuse(place, _unusable(as_objects, labels, num_classes))
    spelt_out = "".join(
        f"{path} {label}\n" for path, label in zip(paths, labels.tolist(), strict=True)
    )
    return ImageList(place, blob_id(spelt_out.encode()), as_objects, labels)


def _column(place: Path, found: Any, part: str, key: str, kind: type) -> list[Any]:
    """One value of each entry of a part of the annotations."""
    entries = found.get(part) if isinstance(found, dict) else None
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"{place}: {part}: expected a list of entries, got none")
    values = [one.get(key) if isinstance(one, dict) else None for one in entries]
    word = "text" if kind is str else "a whole number"
    problems = [
        f"{place}: {part}[{row}].{key}: expected {word}, got "
        f"{json.dumps(values[row])[:60]}"
        for row, value in enumerate(values)
        if type(value) is not kind
    ]
    if problems:
        raise BadInput(first_of(problems, place, "entries"))
    return values


def _where(place: Path, row: int) -> str:
    in_json = place.suffix == ".json"
    return f"{place}: images[{row}]" if in_json else f"{place}:{row + 1}"


def _refuse(place: Path, problems: Mapping[int, str]) -> None:
    if problems:
        lines = [f"{_where(place, row)}: {problems[row]}" for row in sorted(problems)]
        raise BadInput(first_of(lines, place, "lines"))


def _unusable(
    paths: np.ndarray, labels: np.ndarray, num_classes: int
) -> dict[int, str]:
    """Row -> what is wrong with it, by itself or beside an earlier one."""
    problems = {
        int(row): f"expected a label of 0..{num_classes - 1}, got {labels[row]}"
        for row in np.flatnonzero((labels < 0) | (labels >= num_classes))
    }
    codes, _ = pd.factorize(paths)
    _, first = np.unique(codes, return_index=True)
    problems |= {
        int(row): f"expected each image once, got {paths[row]} as in row "
        f"{first[codes[row]] + 1}"
        for row in np.flatnonzero(first[codes] != np.arange(len(paths)))
    }
    codes, folders = folders_of(paths)
    bad_folder = np.array([not _is_below(folder) for folder in folders])[codes]
    bad_name = np.array(
        [not path.isprintable() or path.endswith(("/", "/.", "/..")) for path in paths]
    )
    problems |= {
        int(row): "expected a path <folder>/<class>/<image> below the images' folder, "
        f"got {paths[row]!r}"
        for row in np.flatnonzero(bad_folder | bad_name)
    }
    return problems


def _is_below(folder: str) -> bool:
    parts = folder.split("/")
    return len(parts) > 1 and not {"", ".", ".."} & set(parts)


def _across(lists: Mapping[str, ImageList], num_classes: int) -> list[str]:
    """What is wrong between lists that are each usable by themselves."""
    problems = _shared_images(lists) + _mixed_classes(lists.values())
    counts = class_counts(lists["train"].labels, num_classes)
    untrained = [
        f"{lists['train'].place}: expected images of class {label}, got none"
        for label in np.flatnonzero(counts == 0)
    ]
    return problems + first_of(untrained, lists["train"].place, "classes")


def _shared_images(lists: Mapping[str, ImageList]) -> list[str]:
    problems = []
    for number, (split, one) in enumerate(lists.items()):
        for earlier in list(lists)[:number]:
            other = lists[earlier]
            rows = pd.Index(other.paths).get_indexer(one.paths)
            lines = [
                f"{one.where(row)}: expected no image of {earlier} in {split}, got "
                f"{one.paths[row]}, as in {other.where(rows[row])}"
                for row in np.flatnonzero(rows >= 0)
            ]
            problems += first_of(lines, one.place, "images")
    return problems


def class_folders(paths: np.ndarray) -> np.ndarray:
    """The class's folder of each listed path: between its first part and its name."""
    codes, folders = folders_of(paths)
    names = [folder.partition("/")[2] for folder in folders]
    return np.array(names, dtype=object)[codes]


def _class_names(train: ImageList) -> tuple[str, ...]:
    _, first = np.unique(train.labels, return_index=True)
    return tuple(class_folders(train.paths[first]).tolist())


def _mixed_classes(lists: Iterable[ImageList]) -> list[str]:
    """Classes in two folders, or folders of two classes: the first one says which."""
    folder_of: dict[int, tuple[str, str]] = {}
    label_of: dict[str, tuple[int, str]] = {}
    problems = []
    for one in lists:
        lines = []
        for row, label, folder in _pairs(one):
            where = one.where(row)
            known, there = folder_of.setdefault(label, (folder, where))
            if known != folder:
                lines.append(
                    f"{where}: expected class {label} in folder {known}, as in "
                    f"{there}, got {one.paths[row]}"
                )
                continue
            owner, there = label_of.setdefault(folder, (label, where))
            if owner != label:
                lines.append(
                    f"{where}: expected folder {folder} to be class {owner}, as in "
                    f"{there}, got class {label}"
                )
        problems += first_of(lines, one.place, "classes")
    return problems


def _pairs(one: ImageList) -> Iterator[tuple[int, int, str]]:
    """First row of each pair of class and folder, in the list's order."""
    pairs = pd.DataFrame({"label": one.labels, "folder": class_folders(one.paths)})
    for row, label, folder in pairs.drop_duplicates().itertuples():
        yield int(row), int(label), str(folder)


def _histogram(labels: np.ndarray) -> dict[int, int]:
    sizes, classes = np.unique(np.bincount(labels), return_counts=True)
    return dict(zip(sizes.tolist(), classes.tolist(), strict=True))


def _count_problem(split: str, one: ImageList, published: Published) -> str | None:
    """The first class count at which a list departs from the published one."""
    images = published.lists[split].images
    expected = (
        published.histogram
        if split == "train"
        else {images // published.num_classes: published.num_classes}
    )
    counts = class_counts(one.labels, published.num_classes)
    sizes, classes = np.unique(counts, return_counts=True)
    got: Mapping[int, int] = dict(zip(sizes.tolist(), classes.tolist(), strict=True))
    if got == expected:
        return None
    size = min(n for n in {*got, *expected} if got.get(n, 0) != expected.get(n, 0))
    return (
        f"{one.place}: expected the published class counts ({images:,} images, "
        f"{expected.get(size, 0)} classes of {size}), got {len(one.labels):,} images, "
        f"{got.get(size, 0)} classes of {size}; images of your own belong under "
        "inputs.own"
    )
