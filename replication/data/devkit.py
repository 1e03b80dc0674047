"""ImageNet's own labels of its validation images, held against the test list's."""

import re
from pathlib import Path

from replication.core.files import BadInput, first_line, read_text
from replication.data.listing import first_of
from replication.data.lists import Lists, class_folders

_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_META = "meta.mat"
_DEVKIT = (".", "lists", "ILSVRC2012_devkit_t12/data")
_VAL_IMAGE = re.compile(r"/ILSVRC2012_val_(\d{8})\.JPEG$")


def check_devkit(
    root: Path, benchmark: str, lists: Lists
) -> tuple[bool | None, list[str]]:
    """Hold the test list's classes against ImageNet's own labels, where they are there.

    Returns whether the devkit was there (None: the benchmark has none), and a line for
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
        raise BadInput(
            f"{place}: expected the devkit's synsets, got {first_line(error)}"
        ) from None
