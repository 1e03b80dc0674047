"""Image folders: what is read, in which order, and that the rest is named."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from replication.data.folders import list_folder

WHOLE = {"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 1}


def save(place: Path, kind: str) -> None:
    """A picture by any name."""
    content = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), 90, np.uint8)).save(content, kind)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.getvalue())


def test_whatever_pillow_opens_is_read_under_any_name(tmp_path, write_images) -> None:
    root = write_images(tmp_path, WHOLE)
    kinds = {"x.tif": "TIFF", "x.jfif": "JPEG", "x.GIF": "GIF", "x.JPEG": "JPEG"}
    for name, kind in (kinds | {"bare": "PNG", "x.jpg_large": "JPEG"}).items():
        save(root / "train/b" / name, kind)
    listing = list_folder(root)
    in_b = [path for path in listing.paths if path.startswith("train/b")]
    assert {path.removeprefix("train/b/") for path in in_b} == {
        *("0.png", "x.tif", "x.jfif", "x.GIF", "x.JPEG", "bare", "x.jpg_large")
    }
    assert listing.notes == ()


def test_folders_below_a_class_are_read_and_said(tmp_path, write_images) -> None:
    images = {"train/a/left/old": 2, "train/b/left": 1}
    listing = list_folder(write_images(tmp_path, WHOLE | images))
    in_train = listing.splits == "train"
    assert np.bincount(listing.labels[in_train]).tolist() == [4, 2]
    assert listing.notes == (
        "3 of 8 images lie in folders below their class's and count for it, the first "
        "train/a/left/old/0.png.",
    )


def test_what_systems_leave_is_no_class_and_is_named(tmp_path, write_images) -> None:
    """Also with pictures within, and in one split alone."""
    left = {"train/.ipynb_checkpoints": 1, "test/@eaDir": 1, "train/a/__MACOSX": 2}
    root = write_images(tmp_path, WHOLE | left)
    (root / "train/a/._0.png").write_bytes(b"\0\5\26\7")
    (root / "test/b/Thumbs.db").write_bytes(b"x")
    (root / "train/b/old").mkdir()
    (root / "train/b/notes.txt").write_text("no image")
    (root / "train/b/raw.heic").write_text("no image to Pillow")
    (root / "train/list.txt").write_text("0 1")
    (root / "more").mkdir()
    (root / "classes.txt").write_text("b\na")
    (root / "README.md").write_text("no list of anything")
    listing = list_folder(root)
    assert listing.class_names == ("a", "b")
    assert len(listing.paths) == sum(WHOLE.values())
    assert listing.notes == (
        "Not read: 3 .txt (first classes.txt), 1 beside the splits (first more/), 5 "
        "hidden or a system's own (first train/.ipynb_checkpoints/), 1 empty or a link "
        "(first train/b/old/), 1 .heic (first train/b/raw.heic).",
    )


def test_a_pipe_and_a_name_that_is_no_text_are_not_read_and_named(
    tmp_path, write_images
) -> None:
    """Reading the one would wait for ever; the other can be printed and written."""
    root = write_images(tmp_path, WHOLE)
    os.mkfifo(root / "train/a/pipe.png")
    (root / "train/a" / os.fsdecode(b"\xff.txt")).write_text("x")
    listing = list_folder(root)
    assert len(listing.paths) == sum(WHOLE.values())
    (note,) = listing.notes
    assert note.encode() == (
        rb"Not read: 1 .png (first train/a/pipe.png), "
        rb"1 .txt (first train/a/\udcff.txt)."
    )


@pytest.mark.parametrize("name", ["valid", "Val", "validation"])
def test_a_split_by_another_name_is_read_and_said(tmp_path, write_images, name) -> None:
    listing = list_folder(write_images(tmp_path, WHOLE | {f"{name}/a": 3}))
    assert listing.paths[listing.splits == "val"].tolist() == [
        f"{name}/a/{i}.png" for i in range(3)
    ]
    assert listing.notes == (
        f"{name}/ is read as val/.",
        "1 of 2 classes have no validation image, the first b.",
    )


def test_two_folders_for_one_split_are_refused(tmp_path, write_images, refused) -> None:
    root = write_images(tmp_path, WHOLE | {"val/a": 1, "valid/a": 1})
    assert refused(lambda: list_folder(root)) == [
        f"{root}: expected one folder for val, found val and valid"
    ]


@pytest.mark.parametrize(
    ("names", "order", "said"),
    [
        (["0", "1", "2", "10"], "0 1 2 10", "as numbers: class 2 is 2;"),
        (["00", "01", "02", "10"], "00 01 02 10", None),
        (["x1", "x2", "x10"], "x1 x10 x2", "as text: class 1 is x10;"),
        (["B", "a"], "B a", "as text: class 0 is B;"),
        (["b", "c", "a"], "a b c", None),
    ],
)
def test_order_of_classes_is_said_where_there_are_two(
    tmp_path, write_images, names, order, said
) -> None:
    """Numbers count as numbers; else names are text, as torchvision sorts them."""
    images = {f"{split}/{name}": 1 for split in ("train", "test") for name in names}
    listing = list_folder(write_images(tmp_path, images))
    assert " ".join(listing.class_names) == order
    for label, name in enumerate(listing.class_names):
        assert listing.labels[listing.paths == f"train/{name}/0.png"] == [label]
    if said is None:
        assert listing.notes == ()
    else:
        (note,) = listing.notes
        assert note.startswith(f"Classes are numbered by their folders' names {said}")


# "é" as one letter (NFC), and as a letter and an accent (NFD), as a Mac spells it.
ONE, TWO = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("spelled", [(ONE, TWO), (TWO, ONE), (TWO, TWO)], ids=ascii)
def test_classes_are_the_same_in_either_unicode_form(
    tmp_path, write_images, spelled
) -> None:
    """In one order too: "café" comes behind "cafz", though "e" comes before "z"."""
    train, test = spelled
    images = {f"train/{train}": 2, "train/cafz": 1, f"test/{test}": 1, "test/cafz": 3}
    listing = list_folder(write_images(tmp_path, images))
    assert listing.class_names == ("cafz", ONE)
    assert listing.paths[listing.labels == 1].tolist() == [
        *(f"train/{train}/{i}.png" for i in (0, 1)),
        f"test/{test}/0.png",
    ]
    notes = []
    if train != test:
        notes = [
            "1 of 4 class folders are named in another Unicode form than train/'s and "
            f"count as the same, the first {f'test/{test}'!a}."
        ]
    if train == TWO:
        notes += [
            "Classes are numbered by their folders' names as text: class 0 is cafz; "
            "rows of weights made elsewhere must have that order."
        ]
    assert listing.notes == (*notes,)


def test_two_folders_of_one_name_are_told_apart(
    tmp_path, write_images, refused
) -> None:
    images = {f"train/{ONE}": 1, f"train/{TWO}": 1, f"test/{ONE}": 1}
    root = write_images(tmp_path, images)
    assert refused(lambda: list_folder(root)) == [
        f"{root}/train: expected class names that differ by more than Unicode form, "
        r"got 'cafe\u0301' and 'caf\xe9'"
    ]
