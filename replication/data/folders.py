"""Image folders `<split>/<class>/<image>`: what is read, and what is not, by name."""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from replication.core.files import BadInput
from replication.data.listing import (
    SPLITS,
    Listing,
    counted,
    first_of,
    one_level_down,
)
from replication.data.lists import Published, in_number_order, published_order

# What the folder of a split may be called, in any case.
_CALLED: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# What systems leave in folders, beside what is hidden.
_PLATFORMS = frozenset(
    {
        *("@eadir", "#recycle", "$recycle.bin", "__macosx", "__pycache__"),
        *("lost+found", "system volume information", "thumbs.db", "desktop.ini"),
    }
)
_DEEPER = "images lie in folders below their class's and count for it"
# Endings of files that may say what the classes are called, or in which order.
_LISTS = frozenset({".txt", ".csv", ".tsv", ".json", ".yaml", ".yml", ".names"})
Image.init()
# Pillow's formats, but for containers that it names without a decoder of its own.
FORMATS = tuple(sorted({*Image.OPEN} - {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}))
_ENDINGS = frozenset(e for e, name in Image.EXTENSION.items() if name in FORMATS)


def split_folders(root: Path) -> dict[str, str]:
    """Split -> the folder in the root that holds it, of those that are there.

    Raises BadInput: two folders for one split.
    """
    entries = sorted(root.iterdir()) if root.is_dir() else []
    folders = [entry.name for entry in entries if entry.is_dir()]
    called = {
        split: [name for name in folders if name.casefold() in names]
        for split, names in _CALLED.items()
    }
    if problems := [
        f"{root}: expected one folder for {split}, found {' and '.join(names)}"
        for split, names in called.items()
        if len(names) > 1
    ]:
        raise BadInput(problems)
    return {split: names[0] for split, names in called.items() if names}


def has_splits(root: Path) -> bool:
    """Whether folders of a training and a test split lie in the root."""
    return {"train", "test"} <= {*split_folders(root)}


def list_folder(root: Path, published: Published | None = None) -> Listing:
    """List an image folder with splits train, test and val.

    Classes are train's folders, numbered by their sorted names, by number where all are
    numbers, and of a benchmark of the field as the field does. Images may lie deeper.

    Raises BadInput: a line for each: no train or test folder, a folder without images,
    a class without test images, a test or val class never trained, two classes that
    differ only in case or Unicode form, a file name that is no text; or classes that
    are not the benchmark's.
    """
    folder_of = split_folders(root)
    if missing := [f"{s}/" for s in ("train", "test") if s not in folder_of]:
        raise BadInput(
            f"{root}: expected folders train/ and test/, found no "
            f"{' and no '.join(missing)}{one_level_down(root, has_splits)}"
        )
    classes, unread = {}, _beside(root, folder_of)
    for split in SPLITS:
        inside = _inside(root / folder_of[split]) if split in folder_of else ({}, [])
        classes[split] = inside[0]
        unread += [f"{folder_of[split]}/{name}" for name in inside[1]]
    places = {split: root / name for split, name in folder_of.items()}
    problems = _class_problems(places, classes)
    names = in_number_order(sorted(classes["train"]))
    if published is not None:
        names = published_order(places["train"], names, published)
    number = {name: label for label, name in enumerate(names)}
    rows: list[tuple[str, str, int]] = []
    for split, name in ((s, name) for s in SPLITS for name in classes[s]):
        below = f"{folder_of[split]}/{classes[split][name]}"
        files: list[str] = []
        for entry, is_read in _walk(root / below):
            (files if is_read else unread).append(f"{below}/{entry}")
        if not files:
            problems.append(f"{root / below}: expected images, found none")
        problems += [
            f"{root / below}: expected file names in UTF-8, got {file!r}"
            for file in files
            if file.encode(errors="replace").decode() != file
        ]
        rows += [(split, file, number.get(name, -1)) for file in files]
    if problems:
        raise BadInput(first_of(problems, root, "problems"))
    splits, paths, labels = zip(*rows, strict=True)
    deeper = [path for path in paths if path.count("/") > 2]
    unvalidated = sorted({*names} - {*classes["val"]}) if classes["val"] else []
    notes = [
        *(f"{name}/ is read as {s}/." for s, name in folder_of.items() if name != s),
        *_other_forms(folder_of, classes),
        *([] if published else _order_in_words(names, classes["train"])),
        *counted(deeper, len(paths), _DEEPER),
        *counted(unvalidated, len(names), "classes have no validation image"),
        *_unread_in_words(unread),
    ]
    columns = map(np.array, (paths, labels, splits))
    return Listing(root, *columns, tuple(number), notes=tuple(notes))


# ---- What is there -------------------------------------------------------------------


def _beside(root: Path, folder_of: Mapping[str, str]) -> list[str]:
    """What no reader would pass over beside the splits: folders, and lists perhaps."""
    return [
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in sorted(root.iterdir())
        if entry.name not in folder_of.values() and not _is_left_behind(entry.name)
        if entry.is_dir() or entry.suffix.lower() in _LISTS
    ]


def _inside(split: Path) -> tuple[dict[str, str], list[str]]:
    """The folder of each class in a split, and what else lies in it.

    A class's name is composed (NFC); archives made on a Mac spell accents apart.
    Raises BadInput: two folders with one name.
    """
    classes: dict[str, str] = {}
    unread = []
    for entry in sorted(split.iterdir()):
        name = unicodedata.normalize("NFC", entry.name)
        if not entry.is_dir() or _is_left_behind(name):
            unread.append(entry.name + "/" * entry.is_dir())
        elif classes.setdefault(name, entry.name) != entry.name:
            raise BadInput(
                f"{split}: expected class names that differ by more than Unicode form, "
                f"got {classes[name]!a} and {entry.name!a}"
            )
    return classes, unread


def _walk(folder: Path) -> Iterator[tuple[str, bool]]:
    """Every entry in and below a folder, sorted, and whether it is read as an image.

    A folder that is not looked into, or that is empty, is one entry.
    """
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        left_behind = _is_left_behind(entry.name)
        if not entry.is_dir():
            yield entry.name, not left_behind and _is_image(entry)
            continue
        looked_into = not left_behind and not entry.is_symlink()
        inside = list(_walk(Path(entry.path))) if looked_into else []
        yield from ((f"{entry.name}/{name}", is_read) for name, is_read in inside)
        if not inside:
            yield f"{entry.name}/", False


def _is_left_behind(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _PLATFORMS


def _is_image(entry: os.DirEntry[str]) -> bool:
    """By its ending; what has none that Pillow knows, by its first bytes.

    A pipe or a device is none; a link that leads nowhere is, and refused when read.
    """
    if not entry.is_file() and not entry.is_symlink():
        return False
    if Path(entry.name).suffix.lower() in _ENDINGS:
        return True
    try:
        with Image.open(entry.path, formats=FORMATS):
            return True
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError):
        return False
    except Image.DecompressionBombError:
        return True  # refused by name where it is decoded


def _class_problems(
    places: Mapping[str, Path], classes: Mapping[str, Mapping[str, str]]
) -> list[str]:
    trained = sorted(classes["train"])
    if not trained:
        raise BadInput(f"{places['train']}: expected a folder a class, found none")
    first = {_bare(name): name for name in reversed(trained)}
    problems = [
        f"{places['train']}: expected class names that differ by more than case and "
        f"spaces around them, got {first[_bare(name)]!r} and {name!r}"
        for name in trained
        if first[_bare(name)] != name
    ]
    problems += [
        f"{places['test']}: expected images of class {name!r}, found no such folder"
        for name in trained
        if name not in classes["test"]
    ]
    return problems + [
        f"{places[split]}: expected classes of train/, got {name!r}"
        + (f", not {first[_bare(name)]!r}" if _bare(name) in first else "")
        for split in ("val", "test")
        for name in sorted({*classes[split]} - {*trained})
    ]


def _bare(name: str) -> str:
    """Without what names of two classes are not told apart by."""
    return name.strip().casefold()


# ---- In words ------------------------------------------------------------------------


def _other_forms(
    folder_of: Mapping[str, str], classes: Mapping[str, Mapping[str, str]]
) -> list[str]:
    others = [
        ascii(f"{folder_of[split]}/{folder}")
        for split, folders in classes.items()
        for name, folder in folders.items()
        if folder != classes["train"][name]
    ]
    form = f"named in another Unicode form than {folder_of['train']}/'s"
    words = f"class folders are {form} and count as the same"
    return counted(others, sum(map(len, classes.values())), words)


def _order_in_words(names: Sequence[str], folders: Mapping[str, str]) -> list[str]:
    """Where classes come in another order as text, by number, or as they are spelled.

    `folders`: name -> folder, which may be in another Unicode form.
    """
    as_text = sorted(names)
    by_number = sorted(
        names,
        key=lambda name: [
            (0, int(part), "") if part.isdecimal() else (1, 0, part.lower())
            for part in re.findall(r"\d+|\D+", name)
        ],
    )
    orders = (as_text, by_number, sorted(names, key=lambda name: folders[name]))
    other = next((order for order in orders if order != [*names]), names)
    if other == names:
        return []
    row = next(i for i, name in enumerate(names) if name != other[i])
    how = "as text" if names == as_text else "as numbers"
    return [
        f"Classes are numbered by their folders' names {how}: class {row} is "
        f"{names[row]}; rows of weights made elsewhere must have that order."
    ]


def _unread_in_words(unread: Sequence[str]) -> list[str]:
    """A sentence that counts what is not read, by kind, and names the first of each."""
    kinds: dict[str, list[str]] = {}
    for path in unread:
        kinds.setdefault(_kind(path), []).append(path)
    words = [f"{len(of):,} {kind} (first {of[0]})" for kind, of in kinds.items()]
    text = ", ".join(words).encode(errors="backslashreplace").decode()  # no UTF-8
    return [f"Not read: {text}."] if words else []


def _kind(path: str) -> str:
    name = path.rstrip("/").rpartition("/")[2]
    if _is_left_behind(name):
        return "hidden or a system's own"
    if path.endswith("/"):
        return "beside the splits" if path.count("/") == 1 else "empty or a link"
    return Path(name).suffix or "without an ending"
