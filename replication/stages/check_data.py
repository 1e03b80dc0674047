"""check_data: what is wrong with a benchmark's images, before time is spent on them.

Not a stage of the graph: `make check-data BENCHMARK=inat18 IMAGES=/data/inat`, or with
neither for every benchmark that params.yaml gives images. Lists, class counts, layout,
existence and size of every file, and a few images decoded. Writes nothing; exit code 2
where something is wrong. `prepare` opens every image.
"""

import os
import stat
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from replication.core.files import BadInput
from replication.core.settings import BENCHMARKS, Settings, load
from replication.data.decoding import decode
from replication.data.folders import list_folder
from replication.data.layouts import check_devkit, lay_out, missing
from replication.data.listing import Listing, first_of
from replication.data.lists import Published, read_lists, read_published, remarks
from replication.data.sources import is_listed

SAMPLE = 200
_SEED = 0
_AT_ONCE = 256


@dataclass
class Report:
    """What a check found so far, printed as it is found; a line for each problem."""

    benchmark: str
    problems: list[str] = field(default_factory=list)
    _since: float = field(default_factory=time.perf_counter)

    def step(
        self, what: str, found: str, problems: Sequence[str] = (), good: str = "ok"
    ) -> None:
        """End a step: say what was found, how good it is and how long it took."""
        seconds, self._since = time.perf_counter() - self._since, time.perf_counter()
        verdict = "WRONG" if problems else good
        print(
            f"{self.benchmark}: {what}: {verdict}: {found} ({seconds:.1f} s)",
            flush=True,
        )
        self.problems += problems


def check(benchmark: str, root: Path, thinned: bool) -> list[str]:
    """Check a benchmark's images, printing each step; a line for each thing wrong.

    `thinned`: an imbalance factor is set, so that training counts are free.
    """
    report = Report(benchmark)
    published = read_published(benchmark)
    try:
        if published is not None and is_listed(root, published):
            listing, there = _check_lists(report, root, published, thinned)
        else:
            listing = list_folder(root, published)
            there = np.ones(len(listing.paths), bool)
            report.step("layout", f"folders <split>/<class>/; {_counts(listing)}")
            said = remarks(listing, published, thinned) if published else []
            for note in (*listing.notes, *said):
                report.step("layout", note, good="NOTE")
    except BadInput as error:
        report.step("lists and layout", "cannot be used", error.problems)
        return report.problems
    places = [f"{root}/{path}" for path in listing.paths[there]]
    empty = _in_threads(_size_problem, places)
    report.step(
        "sizes",
        f"{len(places):,} files, {len(empty):,} of them empty or no file",
        first_of(empty, root, "files"),
    )
    generator = np.random.default_rng(_SEED)
    number = min(SAMPLE, len(places))
    chosen = [places[i] for i in generator.choice(len(places), number, replace=False)]
    broken = _in_threads(_decode_problem, chosen)
    report.step(
        "sample",
        f"{number - len(broken)} of {number} images drawn at random decode",
        first_of(broken, root, "images"),
    )
    return report.problems


def _check_lists(
    report: Report, root: Path, published: Published, thinned: bool
) -> tuple[Listing, np.ndarray]:
    """Lists, layout, existence and devkit; the images, and which of them are there."""
    lists = read_lists(root, published, thinned)
    for split, one in lists.splits.items():
        same = lists.published[split]
        report.step(
            "list",
            f"{one.place.name}, {len(one.labels):,} images, "
            f"{'the' if same else 'not the'} published list ({one.blob})",
            good="ok" if same else "NOTE",
        )
    same = lists.published_counts
    report.step(
        "counts",
        f"{len(lists.class_names):,} classes, {'as' if same else 'not as'} published",
        good="ok" if same else "NOTE",
    )
    placed = lay_out(root, published.benchmark, lists)
    layout = ", ".join(
        f"{top}/ {'nowhere' if home is None else f'in {home}'}"
        for top, home in placed.homes.items()
    )
    report.step(
        "images",
        f"{placed.there.sum():,} of {len(placed.there):,} there; {layout}",
        missing(placed, published.benchmark, lists),
    )
    checked, problems = check_devkit(root, published.benchmark, lists)
    if checked is not None:
        report.step(
            "devkit",
            "its labels held against the test list" if checked else "not there",
            problems,
            good="ok" if checked else "NOTE",
        )
    return placed.listing, placed.there


def _counts(listing: Listing) -> str:
    splits, images = np.unique(listing.splits, return_counts=True)
    words = ", ".join(
        f"{number:,} {split}" for split, number in zip(splits, images, strict=True)
    )
    return f"{len(listing.class_names):,} classes, {words}"


def _size_problem(place: str) -> str | None:
    try:
        status = os.stat(place)
    except OSError as error:
        return f"{place}: expected an image, got {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{place}: expected an image, got no file"
    return None if status.st_size else f"{place}: expected an image, got an empty file"


def _decode_problem(place: str) -> str | None:
    try:
        decode(Path(place).read_bytes(), Path(place))
    except BadInput as error:
        return str(error)
    except OSError as error:
        return f"{place}: expected a whole image, got {error.strerror}"
    return None


def _in_threads(of: Callable[[str], str | None], places: Sequence[str]) -> list[str]:
    """The problems of files, in their order, from threads that wait for the disk."""
    parts = [places[i : i + _AT_ONCE] for i in range(0, len(places), _AT_ONCE)]
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda part: [of(place) for place in part], parts)
        return [problem for part in found for problem in part if problem is not None]


def _asked(
    settings: Settings, benchmark: str | None, images: str | None
) -> Iterator[tuple[str, str]]:
    """Benchmark and images: as named, or every one that params.yaml gives images.

    Raises:
        BadInput: no such folder, or no images anywhere.
    """
    if images is not None:
        if not Path(images).expanduser().is_dir():
            raise BadInput(f"check_data: expected a folder that exists, got {images!r}")
        yield benchmark, images
        return
    asked = {
        name: given
        for name in ([benchmark] if benchmark else BENCHMARKS)
        if (given := settings.get(f"inputs.{name}.images"))
    }
    if not asked:
        where = f"inputs.{benchmark or '*'}.images"
        raise BadInput(f"params.yaml: {where}: expected a folder to check, got null")
    for name, given in asked.items():
        if given == "torchvision":
            print(f"{name}: downloaded by torchvision, which checks it")
        else:
            yield name, given


def main(arguments: Sequence[str]) -> int:
    """Command line: nothing, a benchmark, or a benchmark and a folder."""
    parser = ArgumentParser("check_data")
    parser.add_argument("benchmark", nargs="?", choices=BENCHMARKS)
    parser.add_argument("images", nargs="?")
    given = parser.parse_args(arguments)
    problems = []
    try:
        settings = load()
        for benchmark, images in _asked(settings, given.benchmark, given.images):
            thinned = settings.data(benchmark).imbalance_factor is not None
            wrong = check(benchmark, Path(images).expanduser(), thinned)
            print(
                f"{benchmark}: {images}: {'not ready' if wrong else 'ready'}",
                flush=True,
            )
            problems += wrong
    except BadInput as error:
        problems = error.problems
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
