"""The field's lists cut down to nine classes, and tiny images laid out under them.

Paths and labels are those of the real lists; ImageNet-LT's and iNaturalist's training
lists, which are large, are cut from their other lists.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from replication.data.lists import Published, PublishedList, blob_id, read_published

CLASSES = 9  # the ninth of Places365 is apartment_building-outdoor
BENCHMARKS = ("imagenet_lt", "places_lt", "inat18")
# Of each class of a real list: split -> list that its images are cut from, from, to.
_CUTS: Mapping[str, Mapping[str, tuple[str, int, int]]] = {
    "imagenet_lt": {
        "train": ("ImageNet_LT_val.txt", 0, 3),
        "val": ("ImageNet_LT_val.txt", 3, 4),
        "test": ("ImageNet_LT_test.txt", 0, 2),
    },
    "places_lt": {
        "train": ("Places_LT_train.txt", 0, 3),
        "val": ("Places_LT_val.txt", 0, 1),
        "test": ("Places_LT_test.txt", 0, 2),
    },
    "inat18": {
        "train": ("iNaturalist18_val.txt", 0, 2),
        "test": ("iNaturalist18_val.txt", 2, 3),
    },
}


def cut(shared: Path, benchmark: str) -> dict[str, list[str]]:
    """Split -> lines of its list, of the first nine classes."""
    lines = {}
    for split, (file, start, end) in _CUTS[benchmark].items():
        by_class = defaultdict(list)
        for line in (shared / "data" / benchmark / file).read_text().splitlines():
            if int(line.split()[1]) < CLASSES:
                by_class[int(line.split()[1])].append(line)
        lines[split] = [
            line for label in sorted(by_class) for line in by_class[label][start:end]
        ]
    return lines


def text(lines: Iterable[str]) -> str:
    """A list's content."""
    return "".join(f"{line}\n" for line in lines)


def published(benchmark: str, lines: Mapping[str, list[str]]) -> Published:
    """What would be published of a benchmark that had these lists alone."""
    whole = read_published(benchmark)
    assert whole is not None
    folders = [line.split("/")[-2] for line in lines["train"]]
    return Published(
        benchmark,
        CLASSES,
        {len(lines["train"]) // CLASSES: CLASSES},
        {
            split: PublishedList(
                one.file,
                len(lines[split]),
                blob_id(text(lines[split]).encode()),
                one.annotations,
            )
            for split, one in whole.lists.items()
        },
        blob_id(text(dict.fromkeys(folders)).encode()),
        whole.sorted_as,
    )


def as_listed(path: str) -> str:
    """The layout of the lists."""
    return path


def write(
    root: Path,
    known: Published,
    lines: Mapping[str, list[str]],
    place: Callable[[str], str] = as_listed,
    lists: str = ".",
) -> Path:
    """Write lists and, where `place` puts each, an image of its own colour."""
    (root / lists).mkdir(parents=True, exist_ok=True)
    for split, one in known.lists.items():
        (root / lists / one.file).write_text(text(lines[split]))
    listed = [line.rpartition(" ")[0] for part in lines.values() for line in part]
    for number, path in enumerate(listed):
        file = root / place(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        colour = (number % 256, number // 256, 99)
        Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(file, "JPEG")
    return root


def annotations(lines: list[str], first_id: int = 0) -> dict:
    """The same as a list, in COCO's style."""
    parts = [line.split() for line in lines]
    return {
        "images": [
            {"id": first_id + row, "file_name": path}
            for row, (path, _) in enumerate(parts)
        ],
        "annotations": [
            {"id": row, "image_id": first_id + row, "category_id": int(label)}
            for row, (_, label) in enumerate(parts)
        ],
        "categories": [
            {"id": label, "name": f"species {label}"}
            for label in sorted({int(label) for _, label in parts})
        ],
    }


def write_annotations(root: Path, lines: Mapping[str, list[str]]) -> None:
    """Annotations in the place of iNaturalist's lists."""
    for split, file in (("train", "train2018.json"), ("test", "val2018.json")):
        (root / file).write_text(json.dumps(annotations(lines[split], 1000)))
    for file in ("iNaturalist18_train.txt", "iNaturalist18_val.txt"):
        (root / file).unlink(missing_ok=True)


def places_archives(path: str) -> str:
    """Places365's own archives: data_256/<letter>/<class>/<sub>/, a flat val_256/."""
    top, name, file = path.split("/")
    if top == "val":
        return f"val_256/{file}"
    return f"data_256/{name[0]}/{name.replace('-', '/')}/{file}"
