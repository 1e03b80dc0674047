"""The field's lists of images: read, refused, held against the published ones.

A list is a text file, a line an image: `relative/path.jpg label`. iNaturalist's
annotations (`train2018.json`, `val2018.json`) say the same, and spell out the field's
lists to the byte.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import BadInput, read_json, read_yaml
from replication.core.settings import PUBLISHED
from replication.data.listing import SPLITS, Listing, first_of
from replication.samples.shots import class_counts

_LABEL = re.compile("[0-9]{1,9}")


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
    classes that have so many; `lists` by split; `class_order`, git blob id of the
    classes' folders, a line each, in the order of their labels; `sorted_as`, folders
    that this order takes as if they were called otherwise.
    """

    benchmark: str
    num_classes: int
    histogram: Mapping[int, int]
    lists: Mapping[str, PublishedList]
    class_order: str
    sorted_as: Mapping[str, str]

    def has_order(self, folders: Sequence[str]) -> bool:
        """Whether classes' folders, by label, are those that the field numbers so."""
        return blob_id("".join(f"{name}\n" for name in folders).encode()) == (
            self.class_order
        )


def read_published(benchmark: str) -> Published | None:
    """What is published about a benchmark's images; None where there are no lists."""
    lists = read_yaml(PUBLISHED / "lists.yaml").get(benchmark)
    if lists is None:
        return None
    counts = read_json(PUBLISHED / "class_counts.json")[benchmark]
    order = lists.pop("classes")
    return Published(
        benchmark,
        counts["classes"],
        {int(count): classes for count, classes in counts["histogram"].items()},
        {split: PublishedList(**listed) for split, listed in lists.items()},
        order["blob"],
        order["sorted_as"],
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
    return any(_files(root, published, kind) for kind in _READERS)


def wanted(published: Published) -> str:
    """In words: the files that a benchmark's images are listed in."""
    lists = published.lists.values()
    words = ", ".join(some.file for some in lists)
    annotations = ", ".join(some.annotations for some in lists if some.annotations)
    return f"{words} or {annotations}" if annotations else words


def read_lists(root: Path, published: Published, thinned: bool) -> Lists:
    """Read the lists of a benchmark, or the annotations in their place.

    A list whose git blob id is another than the published one may be used where it
    names as many images of each class (in another order, with other line ends, of
    another draw): it is called "not the published list" from then on. One with other
    class counts is refused: its results would stand beside the published ones.

    Where an imbalance factor thins the training images anyway, their counts are free.

    Raises BadInput: a line for each thing wrong in a list, between lists, or with the
    class counts.
    """
    lists = _read(root, published)
    problems = (
        _shared_images(lists)
        + _mixed_classes(lists)
        + _untrained(lists["train"], published.num_classes)
    )
    if problems:
        raise BadInput(problems)
    same = {
        split: listed.blob == published.lists[split].blob
        for split, listed in lists.items()
    }
    miscounted = {
        split: problem
        for split, listed in lists.items()
        if not same[split] and (problem := _count_problem(split, listed, published))
    }
    refused = [
        problem
        for split, problem in miscounted.items()
        if not (thinned and split == "train")
    ]
    if refused:
        raise BadInput(refused)
    train = lists["train"]
    _, first = np.unique(train.labels, return_index=True)
    folders = class_folders(train.paths[first])
    if not published.has_order([folder.rpartition("/")[2] for folder in folders]):
        raise BadInput(
            f"{train.place}: expected classes numbered as published, got others: the "
            "rows of released weights would be other classes; images of your own "
            "belong under inputs.own"
        )
    return Lists(lists, tuple(folders), same, not miscounted)


def published_order(
    folder: Path, names: Iterable[str], published: Published
) -> list[str]:
    """Classes' folders in the order in which the field numbers them.

    Raises BadInput: they are not the benchmark's.
    """
    order = sorted(names, key=lambda name: published.sorted_as.get(name, name))
    order = in_number_order(order)
    if published.has_order(order):
        return order
    raise BadInput(
        f"{folder}: expected the {published.num_classes} classes of "
        f"{published.benchmark}, by their names in its lists, got {len(order)} "
        f"others; put {wanted(published)} there, or give images of your own as "
        "inputs.own"
    )


def in_number_order(names: Sequence[str]) -> list[str]:
    """By number where every name is one; else as they are."""
    numbers = all(name.isascii() and name.isdecimal() for name in names)
    return sorted(names, key=int) if numbers else [*names]


def remarks(listing: Listing, published: Published, thinned: bool) -> list[str]:
    """What a reader should know of accepted images that are not the published ones."""
    if listing.origin is None:
        labels = listing.labels[listing.splits == "train"]
        counts = _histogram(labels, len(listing.class_names))
        if thinned or counts == published.histogram:
            return []
        return ["The class counts of this folder are not the published ones."]
    counts = "are" if listing.origin["published_counts"] else "are not"
    return [
        f"{listed['file']} is not the published list (git blob {listed['blob']}, "
        f"published {published.lists[split].blob}); its class counts {counts} the "
        "published ones."
        for split, listed in listing.origin["lists"].items()
        if not listed["published"]
    ]


def blob_id(content: bytes) -> str:
    """Git's name for a file's content, as `git hash-object` prints it."""
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def class_folders(paths: Iterable[str]) -> list[str]:
    """The class's folder of each listed path: between its first part and its name."""
    return [path.partition("/")[2].rpartition("/")[0] for path in paths]


# ---- One list -----------------------------------------------------------------------


def _files(root: Path, published: Published, kind: str) -> dict[str, Path]:
    """Split -> its list or annotations, of those that are there."""
    return {
        split: root / folder / name
        for folder in ("lists", ".")
        for split, listed in published.lists.items()
        if (name := getattr(listed, kind)) and (root / folder / name).is_file()
    }


def _read(root: Path, published: Published) -> dict[str, ImageList]:
    """The lists; the annotations where more of those are there."""
    kind = max(_READERS, key=lambda kind: len(_files(root, published, kind)))
    files = _files(root, published, kind)
    problems = [
        f"{root}: expected {getattr(listed, kind)} there or in lists/, found none"
        for split, listed in published.lists.items()
        if split not in files
    ]
    lists = {}
    for split in (split for split in SPLITS if split in files):
        try:
            lists[split] = _READERS[kind](files[split], published.num_classes)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    return lists


def read_list(place: Path, num_classes: int) -> ImageList:
    """Read a list: a line an image, `relative/path.jpg label`.

    Raises BadInput: a line for each of the first ten lines that cannot be used.
    """
    try:
        content = place.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{place}: expected UTF-8 text, got {error}") from None
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    paths, _, labels = zip(*(line.rpartition(" ") for line in lines), strict=True)
    malformed = {
        row: f"expected a path, a space and a label, got {line!r}"
        for row, line in enumerate(lines)
        if not paths[row] or not _LABEL.fullmatch(labels[row])
    }
    numbers = [0 if row in malformed else int(text) for row, text in enumerate(labels)]
    return _image_list(place, blob_id(content), paths, numbers, num_classes, malformed)


def read_annotations(place: Path, num_classes: int) -> ImageList:
    """Read annotations in COCO's style: images, annotations, categories.

    Raises BadInput: a line for each of the first ten entries that cannot be used.
    """
    content = read_json(place)
    paths = _column(place, content, "images", "file_name", str)
    ids = pd.Index(_column(place, content, "images", "id", int))
    of_image = _column(place, content, "annotations", "image_id", int)
    category = _column(place, content, "annotations", "category_id", int)
    categories = set(_column(place, content, "categories", "id", int))
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
    labels = pd.Series(category, index=rows).sort_index().tolist()
    lines = (f"{path} {label}\n" for path, label in zip(paths, labels, strict=True))
    blob = blob_id("".join(lines).encode(errors="surrogatepass"))
    return _image_list(place, blob, paths, labels, num_classes, {})


_READERS: Mapping[str, Callable[[Path, int], ImageList]] = {
    "file": read_list,
    "annotations": read_annotations,
}


def _column(place: Path, content: Any, part: str, key: str, kind: type) -> list[Any]:
    """One value of each entry of a part of the annotations."""
    entries = content.get(part) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"{place}: {part}: expected a list of entries, got none")
    values = [some.get(key) if isinstance(some, dict) else None for some in entries]
    word = "text" if kind is str else "a whole number"
    problems = [
        f"{place}: {part}[{row}].{key}: expected {word}, got {json.dumps(value)[:60]}"
        for row, value in enumerate(values)
        if type(value) is not kind
    ]
    if problems:
        raise BadInput(first_of(problems, place, "entries"))
    return values


def _where(place: Path, row: int) -> str:
    in_json = place.suffix == ".json"
    return f"{place}: images[{row}]" if in_json else f"{place}:{row + 1}"


def _image_list(
    place: Path,
    blob: str,
    paths: Sequence[str],
    labels: Sequence[int],
    num_classes: int,
    malformed: Mapping[int, str],
) -> ImageList:
    """The images, or a refusal: a malformed row, a path, an image twice, a label."""
    problems = dict(malformed)
    first_row: dict[str, int] = {}
    for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
        first = first_row.setdefault(path, row)
        if row in problems:
            continue
        if not _is_image_path(path):
            problems[row] = (
                "expected a path <folder>/<class>/<image> below the images' folder, "
                f"got {path!r}"
            )
        elif first != row:
            problems[row] = (
                f"expected each image once, got {path} as in row {first + 1}"
            )
        elif not 0 <= label < num_classes:
            problems[row] = f"expected a label of 0..{num_classes - 1}, got {label}"
    if problems:
        lines = [f"{_where(place, row)}: {problems[row]}" for row in sorted(problems)]
        raise BadInput(first_of(lines, place, "lines"))
    return ImageList(place, blob, np.array(paths, dtype=object), np.array(labels))


def _is_image_path(path: str) -> bool:
    parts = path.split("/")
    return len(parts) > 2 and not {"", ".", ".."} & {*parts} and path.isprintable()


# ---- Between lists, and beside the published ones -----------------------------------


def _shared_images(lists: Mapping[str, ImageList]) -> list[str]:
    problems = []
    for (earlier, other), (split, listed) in combinations(lists.items(), 2):
        rows = pd.Index(other.paths).get_indexer(listed.paths)
        lines = [
            f"{listed.where(row)}: expected no image of {earlier} in {split}, got "
            f"{listed.paths[row]}, as in {other.where(rows[row])}"
            for row in np.flatnonzero(rows >= 0)
        ]
        problems += first_of(lines, listed.place, "images")
    return problems


def _mixed_classes(lists: Mapping[str, ImageList]) -> list[str]:
    """Classes in two folders, or folders of two classes: the first one says which."""
    pairs = pd.concat(
        pd.DataFrame({"class": some.labels, "folder": class_folders(some.paths)})
        .drop_duplicates()
        .assign(where=lambda rows, of=some: [of.where(row) for row in rows.index])
        for some in lists.values()
    ).drop_duplicates(["class", "folder"])
    lines = []
    for key, value in (("class", "folder"), ("folder", "class")):
        again = pairs.duplicated(key)
        first = pairs[~again].set_index(key)
        lines += [
            f"{row['where']}: expected {key} {row[key]} to have one {value}, "
            f"{first.loc[row[key], value]} as in {first.loc[row[key], 'where']}, got "
            f"{row[value]}"
            for _, row in pairs[again].iterrows()
        ]
        pairs = pairs[~again]
    return first_of(lines, lists["train"].place.parent, "classes")


def _untrained(train: ImageList, num_classes: int) -> list[str]:
    lines = [
        f"{train.place}: expected images of class {label}, got none"
        for label in sorted({*range(num_classes)} - {*train.labels.tolist()})
    ]
    return first_of(lines, train.place, "classes")


def _histogram(labels: np.ndarray, num_classes: int) -> dict[int, int]:
    """Images of a class -> classes that have so many."""
    sizes, classes = np.unique(class_counts(labels, num_classes), return_counts=True)
    return dict(zip(sizes.tolist(), classes.tolist(), strict=True))


def _count_problem(split: str, listed: ImageList, published: Published) -> str | None:
    """The first class count at which a list departs from the published one."""
    images, num_classes = published.lists[split].images, published.num_classes
    balanced = {images // num_classes: num_classes}
    expected = published.histogram if split == "train" else balanced
    got = _histogram(listed.labels, num_classes)
    if got == expected:
        return None
    size = min(n for n in {*got, *expected} if got.get(n, 0) != expected.get(n, 0))
    return (
        f"{listed.place}: expected the published class counts ({images:,} images, "
        f"{expected.get(size, 0)} classes of {size}), got {len(listed.labels):,} "
        f"images, {got.get(size, 0)} classes of {size}; images of your own belong "
        "under inputs.own"
    )
