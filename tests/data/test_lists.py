"""The field's lists: what is refused, what is held against the published ones."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from replication.data.lists import (
    Published,
    blob_id,
    read_annotations,
    read_list,
    read_lists,
    read_published,
    wanted,
)
from tests.data.official import (
    BENCHMARKS,
    CLASSES,
    annotations,
    cut,
    published,
    text,
    write_annotations,
)


@pytest.fixture
def few(shared, tmp_path) -> Callable[[str], tuple[Published, dict[str, list[str]]]]:
    """A benchmark's lists of nine classes, written to `tmp_path`."""

    def make(benchmark: str) -> tuple[Published, dict[str, list[str]]]:
        lines = cut(shared, benchmark)
        known = published(benchmark, lines)
        for split, one in known.lists.items():
            (tmp_path / one.file).write_text(text(lines[split]))
        return known, lines

    return make


# --- what is published


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_published_blobs_are_those_of_the_real_lists(shared, benchmark) -> None:
    known = read_published(benchmark)
    assert known is not None
    at_hand = 0
    for one in known.lists.values():
        place = shared / "data" / benchmark / one.file
        if place.is_file():
            content = place.read_bytes()
            assert blob_id(content) == one.blob
            assert content.count(b"\n") == one.images
            at_hand += 1
    assert at_hand


def test_blob_id_is_what_git_says(tmp_path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("train/ä/1.jpg 0\n")
    git = subprocess.run(
        ["git", "hash-object", file], capture_output=True, text=True, check=True
    )
    assert blob_id(file.read_bytes()) == git.stdout.strip()


# --- what is refused in one list


def lines_of(*changes: tuple[int, str]) -> list[str]:
    """Nine good lines, some of them replaced."""
    lines = [f"train/c{label}/{label}.jpg {label}" for label in range(CLASSES)]
    for row, line in changes:
        lines[row] = line
    return lines


PATH = "expected a path <folder>/<class>/<image> below the images' folder, got"
LINE = "expected a path, a space and a label, got"
MALFORMED = [
    ("", f"{LINE} ''"),
    ("train/c4/4.jpg four", f"{LINE} 'train/c4/4.jpg four'"),
    ("train/c4/4.jpg 9", "expected a label of 0..8, got 9"),
    ("train/c4/4.jpg 9999999999", f"{LINE} 'train/c4/4.jpg 9999999999'"),
    ("/etc/c4/4.jpg 4", f"{PATH} '/etc/c4/4.jpg'"),
    ("train/../../4.jpg 4", f"{PATH} 'train/../../4.jpg'"),
    ("train/c4/.. 4", f"{PATH} 'train/c4/..'"),
    ("train//4.jpg 4", f"{PATH} 'train//4.jpg'"),
    ("train/4.jpg 4", f"{PATH} 'train/4.jpg'"),
    ("train/c\0/4.jpg 4", f"{PATH} 'train/c\\x00/4.jpg'"),
    ("train/c0/0.jpg 0", "expected each image once, got train/c0/0.jpg as in row 1"),
]


@pytest.mark.parametrize(("line", "problem"), MALFORMED)
def test_line_that_cannot_be_used_is_refused(tmp_path, refused, line, problem) -> None:
    place = tmp_path / "list.txt"
    place.write_text(text(lines_of((4, line))))
    assert refused(lambda: read_list(place, CLASSES)) == [f"{place}:5: {problem}"]


def test_every_bad_line_is_counted_and_ten_are_named(tmp_path, refused) -> None:
    place = tmp_path / "list.txt"
    bad = [f"train/x/{number}.jpg" for number in range(13)]
    place.write_text(text([*lines_of(), *bad]))
    assert refused(lambda: read_list(place, CLASSES)) == [
        *(f"{place}:{CLASSES + 1 + row}: {LINE} {bad[row]!r}" for row in range(10)),
        f"{place}: 3 more lines like these",
    ]


def test_list_that_is_no_text_is_refused(tmp_path, refused) -> None:
    place = tmp_path / "list.txt"
    place.write_bytes(b"train/\xff/1.jpg 0\n")
    assert refused(lambda: read_list(place, CLASSES)) == [
        f"{place}: expected UTF-8 text, got 'utf-8' codec can't decode byte 0xff in "
        "position 6: invalid start byte"
    ]


def test_spaces_in_a_path_and_other_line_ends_are_read(tmp_path) -> None:
    place = tmp_path / "list.txt"
    lines = lines_of((4, "train/c 4/a b.jpg 4"))
    place.write_bytes("\r\n".join(lines).encode())
    one = read_list(place, CLASSES)
    assert one.paths[4] == "train/c 4/a b.jpg"
    assert one.labels.tolist() == list(range(CLASSES))
    assert one.blob != blob_id(text(lines).encode())


# --- what is refused between lists


def test_image_of_two_splits_is_refused(few, tmp_path, refused) -> None:
    known, lines = few("places_lt")
    lines["test"][1] = lines["train"][0]
    place = tmp_path / "Places_LT_test.txt"
    place.write_text(text(lines["test"]))
    assert refused(lambda: read_lists(tmp_path, known, thinned=False)) == [
        f"{place}:2: expected no image of train in test, got "
        f"train/airfield/00004851.jpg, as in {tmp_path}/Places_LT_train.txt:1"
    ]


def test_labels_that_differ_between_lists_are_refused(few, tmp_path, refused) -> None:
    """A test list of another numbering would score every prediction wrong."""
    known, lines = few("places_lt")
    place = tmp_path / "Places_LT_test.txt"
    swapped = {"0": "1", "1": "0"}
    parts = [line.split() for line in lines["test"]]
    place.write_text(text(f"{a} {swapped.get(b, b)}" for a, b in parts))
    train = tmp_path / "Places_LT_train.txt"
    assert refused(lambda: read_lists(tmp_path, known, thinned=False)) == [
        f"{place}:1: expected class 1 to have one folder, airplane_cabin as in "
        f"{train}:4, got airfield",
        f"{place}:3: expected class 0 to have one folder, airfield as in {train}:1, "
        "got airplane_cabin",
    ]
    place.write_text(text(f"{a.replace('cabin', '')} {b}" for a, b in parts))
    train.write_text(train.read_text().replace("/airplane_cabin/", "/airfield/x"))
    problems = refused(lambda: read_lists(tmp_path, known, thinned=False))
    assert problems[-1] == (
        f"{train}:4: expected folder airfield to have one class, 0 as in {train}:1, "
        "got 1"
    )


@pytest.mark.parametrize("thinned", [False, True])
def test_class_that_is_never_trained_is_refused(
    few, tmp_path, refused, thinned
) -> None:
    known, lines = few("places_lt")
    place = tmp_path / "Places_LT_train.txt"
    place.write_text(text(lines["train"][:-3]))
    assert refused(lambda: read_lists(tmp_path, known, thinned)) == [
        f"{place}: expected images of class 8, got none"
    ]


# --- lists that are not the published ones


def test_other_order_is_accepted_and_known(few, tmp_path) -> None:
    known, lines = few("places_lt")
    (tmp_path / "Places_LT_val.txt").write_text(text(reversed(lines["val"])))
    lists = read_lists(tmp_path, known, thinned=False)
    assert lists.published == {"train": True, "val": False, "test": True}
    assert lists.published_counts


@pytest.mark.parametrize(
    ("split", "images", "per_class"), [("train", 27, 3), ("val", 9, 1), ("test", 18, 2)]
)
def test_other_class_counts_are_refused(
    few, tmp_path, refused, split, images, per_class
) -> None:
    known, lines = few("places_lt")
    place = tmp_path / f"Places_LT_{split}.txt"
    place.write_text(text(lines[split][1:]))
    assert refused(lambda: read_lists(tmp_path, known, thinned=False)) == [
        f"{place}: expected the published class counts ({images} images, 0 classes of "
        f"{per_class - 1}), got {images - 1} images, 1 classes of {per_class - 1}; "
        "images of your own belong under inputs.own"
    ]


def test_thinning_frees_the_training_counts_alone(few, tmp_path, refused) -> None:
    known, lines = few("places_lt")
    (tmp_path / "Places_LT_train.txt").write_text(text(lines["train"][1:]))
    lists = read_lists(tmp_path, known, thinned=True)
    assert not lists.published["train"] and not lists.published_counts
    (tmp_path / "Places_LT_test.txt").write_text(text(lines["test"][1:]))
    (problem,) = refused(lambda: read_lists(tmp_path, known, thinned=True))
    assert problem.startswith(f"{tmp_path}/Places_LT_test.txt: expected the published")


# --- annotations


def test_annotations_spell_out_the_published_list(shared, tmp_path) -> None:
    """iNaturalist's whole validation list, through COCO's form and back."""
    known = read_published("inat18")
    assert known is not None
    file = shared / "data" / "inat18" / "iNaturalist18_val.txt"
    place = tmp_path / "val2018.json"
    place.write_text(json.dumps(annotations(file.read_text().splitlines(), 437513)))
    as_json = read_annotations(place, known.num_classes)
    as_text = read_list(file, known.num_classes)
    assert as_json.blob == known.lists["test"].blob == as_text.blob
    assert as_json.paths.tolist() == as_text.paths.tolist()
    np.testing.assert_array_equal(as_json.labels, as_text.labels)


def test_annotations_take_the_place_of_lists(few, tmp_path) -> None:
    known, lines = few("inat18")
    by_list = read_lists(tmp_path, known, thinned=False)
    write_annotations(tmp_path, lines)
    by_json = read_lists(tmp_path, known, thinned=False)
    assert by_json.class_names == by_list.class_names
    assert by_json.published == by_list.published == {"train": True, "test": True}
    assert by_json.splits["train"].place.name == "train2018.json"


def test_annotations_in_another_order_than_the_images(few, tmp_path) -> None:
    known, lines = few("inat18")
    content = annotations(lines["train"])
    content["annotations"].reverse()
    place = tmp_path / "train2018.json"
    place.write_text(json.dumps(content))
    assert read_annotations(place, CLASSES).blob == known.lists["train"].blob


def test_missing_annotations_are_refused(few, tmp_path, refused) -> None:
    known, lines = few("inat18")
    write_annotations(tmp_path, lines)
    (tmp_path / "val2018.json").unlink()
    (tmp_path / "train2018.json").write_text("[]")
    assert refused(lambda: read_lists(tmp_path, known, thinned=False)) == [
        f"{tmp_path}: expected val2018.json there or in lists/, found none",
        f"{tmp_path}/train2018.json: images: expected a list of entries, got none",
    ]
    assert wanted(known) == (
        "iNaturalist18_train.txt, iNaturalist18_val.txt or train2018.json, val2018.json"
    )


def without(part: str, row: int, key: str) -> Callable[[dict], Any]:
    return lambda content: content[part][row].pop(key)


def setting(part: str, row: int, key: str, value: Any) -> Callable[[dict], Any]:
    return lambda content: content[part][row].update({key: value})


ENTRIES: list[tuple[Callable[[dict], Any], str]] = [
    (lambda content: content.pop("images"), "images: expected a list of entries, got "
     "none"),
    (lambda content: content.update(annotations={}), "annotations: expected a list of "
     "entries, got none"),
    (without("images", 3, "file_name"), "images[3].file_name: expected text, got null"),
    (setting("images", 3, "id", "3"), 'images[3].id: expected a whole number, got "3"'),
    (setting("images", 3, "id", 2), "images: expected each id once, got some twice"),
    (setting("images", 3, "file_name", "../x/y.jpg"),
     f"images[3]: {PATH} '../x/y.jpg'"),
    (setting("images", 3, "file_name", "a/\ud800/y.jpg"),
     f"images[3]: {PATH} 'a/\\ud800/y.jpg'"),
    (setting("annotations", 2, "category_id", 9),
     "annotations[2].category_id: expected a label of 0..8, got 9"),
    (setting("annotations", 2, "category_id", True),
     "annotations[2].category_id: expected a whole number, got true"),
    (lambda content: content["annotations"].pop(), "images[17]: expected one "
     "annotation, got 0"),
    (lambda content: content["annotations"].append(content["annotations"][0]),
     "images[0]: expected one annotation, got 2"),
    (lambda content: content["annotations"].append({"image_id": 77, "category_id": 0}),
     "annotations[18].image_id: expected an image's id, got 77"),
    (lambda content: content["categories"].pop(), "categories: expected ids 0..8, got "
     "8 of them, 0..7"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "problem"), ENTRIES)
def test_annotation_that_cannot_be_used_is_refused(
    few, tmp_path, refused, spoil, problem
) -> None:
    _, lines = few("inat18")
    content = annotations(lines["train"])
    spoil(content)
    place = tmp_path / "train2018.json"
    place.write_text(json.dumps(content))
    assert refused(lambda: read_annotations(place, CLASSES)) == [f"{place}: {problem}"]
