"""Measure speed and memory on this machine, then write README.md and cost.md.

    python -m bench [--device auto]                                  (`make bench`)
    python -m bench --rehearse /big/disk ...                      (`make rehearse`)

Each figure runs in a process of its own, so that its peak memory is its own, with the
machine's rate of products measured right after it: what else it does slows both.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import page, rehearsal
from bench.figures import FIGURES
from bench.measuring import about_machine, in_fresh_process, slug
from replication.core.device import pick_device
from replication.core.files import BadInput, write_json

RESULTS = Path(__file__).parent / "results"
# Places-LT's classes, ImageNet-LT's, iNaturalist 2018's.
_CLASSES = (365, 1000, 8142)
# name, size, repetitions (the first is not timed)
PLAN: list[tuple[str, dict[str, int], int]] = [
    ("filter step", {"B": 512, "K": 500, "D": 64}, 30),
    ("filter step", {"B": 512, "K": 500, "D": 512}, 12),
    ("filter step", {"B": 512, "K": 500, "D": 2048}, 6),
    ("filter step", {"B": 1024, "K": 500, "D": 2048}, 4),
    ("likelihood pass", {"N": 8192, "K": 500, "D": 2048}, 4),
    *(
        (name, {"N": 3200, "B": 128, "K": 100, "D": dimensions, "C": 100}, 12)
        for name in ("aided epoch", "plain epoch")
        for dimensions in (64, 512, 1280)
    ),
    *(
        (name, {"N": 1280, "B": 128, "K": 500, "D": 2048, "C": classes}, 4)
        for name in ("aided epoch", "plain epoch")
        for classes in _CLASSES
    ),
    ("training step", {"B": 32, "layers": 50, "pixels": 224}, 3),
    ("extraction", {"B": 32, "layers": 50, "pixels": 224}, 4),
    ("extraction", {"B": 32, "layers": 152, "pixels": 224}, 3),
    ("load PaCo's views", {"B": 32, "width": 500, "height": 375, "pixels": 224}, 6),
]


def measure(
    name: str, size: Mapping[str, int], repeats: int, device: str
) -> dict[str, Any]:
    """One figure every way."""
    figure = FIGURES[name]
    words = [f"{key}={value}" for key, value in size.items()]
    ways = {
        way: in_fresh_process("bench.figures", name, way, device, str(repeats), *words)
        for way in figure.ways
    }
    row = {"name": name, "size": dict(size), "ways": ways}
    row["operations"] = figure.operations(size)
    print(" · ".join(page.cells(row)), flush=True)
    return row


def main() -> None:
    """Measure, write the device's results, and every page from all results."""
    if "--rehearse" in sys.argv[1:]:
        return rehearsal.main()
    parser = argparse.ArgumentParser(description="Speed and memory, measured")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    word = parser.parse_args().device
    try:
        device = pick_device(word)
        machine = about_machine(device)
        figures = [measure(*planned, word) for planned in PLAN]
    except BadInput as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    write_json(
        RESULTS / f"{slug(device)}.json", {"machine": machine, "figures": figures}
    )
    page.write_pages(RESULTS)


if __name__ == "__main__":
    main()
