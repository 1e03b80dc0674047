"""Measure speed and memory on this machine, then write README.md and cost.md.

    python -m bench [--device auto] [--quick] [--results FOLDER]        (`make bench`)
    python -m bench --rehearse /big/disk ...                         (`make rehearse`)

Each figure runs in a process of its own, so that its peak memory is its own, with the
machine's ceilings measured right after it: what else the machine does then slows both.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import page, rehearsal
from bench.figures import FIGURES
from bench.measuring import about_machine, free_mb, in_fresh_process, slug
from replication.core.device import pick_device
from replication.core.files import BadInput, write_json

RESULTS = Path(__file__).parent / "results"
# Places-LT's classes, ImageNet-LT's, iNaturalist 2018's.
_CLASSES = (365, 1000, 8142)
Plan = list[tuple[str, dict[str, int], int]]
# name, size, repetitions (the first is not timed)
FULL: Plan = [
    ("filter step", {"B": 512, "K": 500, "D": 64}, 30),
    ("filter step", {"B": 512, "K": 500, "D": 512}, 12),
    ("filter step", {"B": 512, "K": 500, "D": 2048}, 6),
    ("filter step", {"B": 1024, "K": 500, "D": 2048}, 4),
    ("likelihood pass", {"N": 8192, "K": 500, "D": 512}, 6),
    ("likelihood pass", {"N": 8192, "K": 500, "D": 2048}, 4),
    *(
        (name, {"N": 1280, "B": 128, "K": 500, "D": 2048, "C": classes}, 4)
        for name in ("aided epoch", "plain epoch")
        for classes in _CLASSES
    ),
    (
        "latents and 20 aided steps",
        {"N": 131_000, "B": 128, "K": 500, "D": 2048, "C": 8142},
        2,
    ),
    ("training step", {"B": 32, "layers": 50, "pixels": 224}, 3),
    ("extraction", {"B": 32, "layers": 50, "pixels": 224}, 4),
    ("extraction", {"B": 32, "layers": 152, "pixels": 224}, 3),
    *(
        (name, {"B": 32, "width": 500, "height": 375, "pixels": 224}, 6)
        for name in ("load to train", "load PaCo's views", "load to extract")
    ),
]
QUICK: Plan = [
    ("filter step", {"B": 16, "K": 10, "D": 16}, 2),
    ("aided epoch", {"N": 64, "B": 16, "K": 5, "D": 16, "C": 20}, 2),
    ("load to train", {"B": 4, "width": 64, "height": 48, "pixels": 32}, 2),
]


def measure(
    name: str, size: Mapping[str, int], repeats: int, device: str
) -> dict[str, Any]:
    """One figure every way; a way that memory does not allow is left out by name."""
    figure = FIGURES[name]
    row = {"name": name, "size": dict(size), "ways": {}, "left_out": {}}
    row |= {"operations": figure.operations(size), "moved": figure.moved(size)}
    words = [f"{key}={value}" for key, value in size.items()]
    for way in figure.ways:
        wanted = needs_mb(way, size)
        if wanted > 0.8 * free_mb():
            row["left_out"][way] = f"it needs about {wanted:,.0f} MB"
            continue
        times = repeats if way != "differences" else 2
        row["ways"][way] = in_fresh_process(
            "bench.figures", name, way, device, str(times), *words
        )
    print(page.line(row), flush=True)
    return row


def needs_mb(way: str, size: Mapping[str, int]) -> float:
    """(B, K, D) of both batches and of their gradients; else features and latents."""
    if way == "differences":
        return 4 * size.get("B", 512) * size["K"] * size["D"] * 4 / 2**20
    return 3 * size.get("N", 0) * size.get("D", 0) * 4 / 2**20


def main() -> None:
    """Measure, write the device's results, and every page from all results."""
    if "--rehearse" in sys.argv[1:]:
        return rehearsal.main()
    parser = argparse.ArgumentParser(description="Speed and memory, measured")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    try:
        device = pick_device(arguments.device)
        measured = {
            "machine": about_machine(device),
            "quick": arguments.quick,
            "figures": [
                measure(*planned, arguments.device)
                for planned in (QUICK if arguments.quick else FULL)
            ],
        }
    except BadInput as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    write_json(arguments.results / f"{slug(device)}.json", measured)
    page.write_pages(arguments.results)


if __name__ == "__main__":
    main()
