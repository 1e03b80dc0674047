"""check_data: what is wrong with a benchmark's images, before time is spent on them.

Not a stage of the graph: `make check-data BENCHMARK=inat18 IMAGES=/data/inat`, or with
neither for every benchmark that params.yaml gives images. Lists, class counts, layout,
existence and size of every file, and a few images decoded. Writes nothing; exit code 2
where something is wrong. `prepare` opens every image.
"""

import os
import stat
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from replication.core.files import BadInput, printable
from replication.core.settings import (
    BENCHMARKS,
    DOWNLOADS,
    DataSettings,
    Settings,
    load,
)
from replication.data.decoding import decode, from_disk, read_image
from replication.data.listing import Listing, first_of
from replication.data.sources import list_images

SAMPLE = 200


def check(settings: DataSettings) -> list[str]:
    """Check a benchmark's images, printing what is found; a line a thing wrong."""
    try:
        listing = list_images(settings, DOWNLOADS)
    except BadInput as error:
        return error.problems
    root = listing.root
    places = [root / path for path in listing.paths.tolist()]
    drawn = np.random.default_rng(0).permutation(len(places))[:SAMPLE]
    empty = [*filter(None, from_disk(_size_problem, places))]
    sample = [places[row] for row in drawn]
    broken = [*filter(None, from_disk(_decode_problem, sample))]
    for line in (
        *_found(listing),
        *listing.notes,
        f"{len(places):,} files, {len(empty):,} of them empty or no file",
        f"{len(drawn) - len(broken)} of {len(drawn)} images drawn at random decode",
    ):
        print(printable(f"{settings.benchmark}: {line}"))
    return first_of(empty, root, "files") + first_of(broken, root, "images")


def _found(listing: Listing) -> Iterator[str]:
    """Classes and images in words; of an official archive its lists and folders."""
    splits, images = np.unique(listing.splits, return_counts=True)
    counts = zip(images, splits, strict=True)
    words = ", ".join(f"{number:,} {split}" for number, split in counts)
    yield f"{len(listing.class_names):,} classes; images: {words}"
    if listing.origin is not None:
        for listed in listing.origin["lists"].values():
            same = "the" if listed["published"] else "not the"
            yield f"{listed['file']}: {same} published list ({listed['blob']})"
        homes = listing.origin["layout"].items()
        yield f"images lie: {', '.join(f'{top}/ in {home}' for top, home in homes)}"
        if listing.origin["devkit"] is not None:
            checked = "held against the list" if listing.origin["devkit"] else "absent"
            yield f"labels of the devkit: {checked}"


def _size_problem(place: Path) -> str | None:
    try:
        status = os.stat(place)
    except OSError as error:
        return f"{place}: expected an image, got {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{place}: expected an image, got no file"
    return None if status.st_size else f"{place}: expected an image, got an empty file"


def _decode_problem(place: Path) -> str | None:
    try:
        decode(read_image(place), place)
    except BadInput as error:
        return str(error)
    return None


def _asked(
    settings: Settings, benchmark: str | None, images: str | None
) -> Iterator[DataSettings]:
    """A benchmark on a folder, or every one that params.yaml gives images.

    Raises BadInput: no such folder, or no images anywhere.
    """
    if images is not None and not Path(images).expanduser().is_dir():
        raise BadInput(f"check_data: expected a folder that exists, got {images!r}")
    every = [settings.data(name) for name in ([benchmark] if benchmark else BENCHMARKS)]
    if images is not None:
        every = [every[0].model_copy(update={"images": images})]
    asked = [some for some in every if some.images]
    if not asked:
        where = f"inputs.{benchmark or '*'}.images"
        raise BadInput(f"params.yaml: {where}: expected a folder to check, got null")
    for some in asked:
        if some.images == "torchvision":
            print(f"{some.benchmark}: downloaded by torchvision, which checks it")
        else:
            yield some


def main(arguments: Sequence[str]) -> int:
    """Command line: nothing, a benchmark, or a benchmark and a folder."""
    parser = ArgumentParser("check_data")
    parser.add_argument("benchmark", nargs="?", choices=BENCHMARKS)
    parser.add_argument("images", nargs="?")
    given = parser.parse_args(arguments)
    problems = []
    try:
        for settings in _asked(load(), given.benchmark, given.images):
            wrong = check(settings)
            ready = "not ready" if wrong else "ready"
            print(f"{settings.benchmark}: {settings.images}: {ready}", flush=True)
            problems += wrong
    except BadInput as error:
        problems = error.problems
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
