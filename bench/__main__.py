"""Measure every figure on this machine, then write the pages.

    python -m bench [--device auto] [--quick] [--results FOLDER]        (`make bench`)

Each figure runs in a process of its own, so that its peak memory is its own, with the
machine's ceilings measured right after it: what else the machine does then slows both.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import page
from bench.figures import FIGURES
from bench.measuring import about_machine, free_mb, in_fresh_process, slug
from replication.core.files import write_json
from replication.core.stage import pick_device

HERE = Path(__file__).parent
# Places-LT's classes, ImageNet-LT's, iNaturalist 2018's.
_CLASSES = (365, 1000, 8142)
_LOADING = ("decode", "load to train", "load PaCo's views", "load to extract")
# name, size, repetitions of ours and of the reference (the first is not timed)
FULL: list[tuple[str, dict[str, int], tuple[int, int]]] = [
    ("filter step", {"B": 512, "K": 500, "D": 64}, (30, 4)),
    ("filter step", {"B": 512, "K": 500, "D": 512}, (15, 3)),
    ("filter step", {"B": 512, "K": 500, "D": 2048}, (10, 3)),
    ("filter step", {"B": 1024, "K": 500, "D": 2048}, (8, 2)),
    ("filter epoch", {"N": 8192, "B": 512, "K": 500, "D": 64, "C": 365}, (5, 2)),
    ("filter epoch", {"N": 4096, "B": 512, "K": 500, "D": 512, "C": 365}, (4, 2)),
    ("pair draws", {"N": 437_513, "B": 1024, "C": 8142}, (5, 2)),
    ("likelihood pass", {"N": 8192, "K": 500, "D": 512}, (6, 2)),
    ("likelihood pass", {"N": 8192, "K": 500, "D": 2048}, (5, 2)),
    *(
        (name, {"N": 1280, "B": 128, "K": 500, "D": 2048, "C": classes}, (4, 2))
        for name in ("aided epoch", "plain epoch")
        for classes in _CLASSES
    ),
    ("extraction", {"B": 32, "layers": 50, "pixels": 224}, (4, 2)),
    ("extraction", {"B": 32, "layers": 152, "pixels": 224}, (3, 2)),
    *(
        (name, {"B": 32, "width": 500, "height": 375, "pixels": 224}, (6, 6))
        for name in _LOADING
    ),
]
QUICK: list[tuple[str, dict[str, int], tuple[int, int]]] = [
    ("filter step", {"B": 16, "K": 10, "D": 16}, (3, 2)),
    ("aided epoch", {"N": 64, "B": 16, "K": 5, "D": 16, "C": 20}, (3, 2)),
    ("load to train", {"B": 4, "width": 64, "height": 48, "pixels": 32}, (3, 3)),
]


def measure(
    name: str, size: Mapping[str, int], repeats: tuple[int, int], device: str
) -> dict[str, Any]:
    """One figure beside its reference; no reference where memory does not allow it."""
    figure, row = FIGURES[name], {"name": name, "size": dict(size)}
    row["operations"], row["moved"] = figure.operations(size), figure.moved(size)
    words = [f"{key}={value}" for key, value in size.items()]
    for whose, times in zip(("ours", "reference"), repeats, strict=True):
        wanted = figure.reference_mb(size)
        if whose == "reference" and wanted > 0.8 * free_mb():
            row["left_out"] = f"it needs about {wanted:,.0f} MB"
            continue
        row[whose] = in_fresh_process(
            "bench.figures", name, whose, device, str(times), *words
        )
    print(page.line(row), flush=True)
    return row


def main() -> None:
    """Measure, write the device's results, and every page from all results."""
    parser = argparse.ArgumentParser(description="Speed and memory, measured")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    about = about_machine(device)
    found = {
        "machine": about,
        "quick": arguments.quick,
        "figures": [
            measure(*one, arguments.device)
            for one in (QUICK if arguments.quick else FULL)
        ],
        "growth": in_fresh_process(
            "bench.growth", arguments.device, "quick" if arguments.quick else "full"
        ),
    }
    write_json(arguments.results / f"{slug(device)}.json", found)
    page.write_pages(arguments.results)


if __name__ == "__main__":
    main()
