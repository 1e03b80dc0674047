"""Measure speed and memory on this machine, then write README.md.

    python -m bench [--device auto]                                  (`make bench`)
    python -m bench --rehearse /big/disk ...                      (`make rehearse`)

Each figure runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench import page, rehearsal
from bench.figures import FIGURES, SUITE
from bench.measuring import (
    about_machine,
    beside_load,
    in_fresh_process,
    product_rate,
    slug,
)
from replication.core.cores import WAITING, cores
from replication.core.device import pick_device
from replication.core.files import BadInput, write_json
from replication.core.parallel import threads_for

RESULTS = Path(__file__).parent / "results"
# Places-LT's classes, ImageNet-LT's, iNaturalist 2018's.
_CLASSES = (365, 1000, 8142)
# name, size, repetitions (the first is not timed)
PLAN: list[tuple[str, dict[str, int], int]] = [
    ("filter step", {"B": 96, "K": 50, "D": 64}, 40),
    ("filter step", {"B": 512, "K": 500, "D": 64}, 20),
    ("filter step", {"B": 512, "K": 500, "D": 512}, 4),
    ("filter step", {"B": 512, "K": 500, "D": 2048}, 3),
    ("likelihood pass", {"N": 1024, "K": 500, "D": 2048}, 3),
    *(
        (name, {"N": 3200, "B": 128, "K": 100, "D": dimensions, "C": 100}, 6)
        for name in ("aided epoch", "plain epoch")
        for dimensions in (64, 512, 1280)
    ),
    *(
        (name, {"N": 640, "B": 128, "K": 500, "D": 2048, "C": classes}, 3)
        for name in ("aided epoch", "plain epoch")
        for classes in _CLASSES
    ),
    ("whole fit", page.WHOLE_FIT, 2),
    ("training step", {"B": 32, "layers": 32, "pixels": 32}, 6),
    ("extraction", {"B": 8, "layers": 50, "pixels": 224}, 3),
    ("extraction", {"B": 8, "layers": 152, "pixels": 224}, 3),
]
# ... and beside load, seconds of each: steps of filters, a classifier and a network.
LOADED: list[tuple[str, dict[str, int], int]] = [
    ("filter step", {"B": 512, "K": 500, "D": 64}, 400),
    ("filter step", {"B": 512, "K": 500, "D": 512}, 20),
    ("plain epoch", {"N": 10240, "B": 128, "K": 100, "D": 64, "C": 100}, 400),
    ("training step", {"B": 32, "layers": 32, "pixels": 32}, 20),
]
_AWAKE = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "INFINITE"}


def run_figure(
    name: str,
    way: str,
    device: str,
    threads: int,
    repeats: int,
    size: Mapping,
    waiting: Mapping[str, str] = WAITING,
) -> dict[str, Any]:
    """One figure one way, in a process of its own whose threads wait so."""
    numbers = [f"{key}={value}" for key, value in size.items()]
    words = (name, way, device, str(threads), str(repeats), *numbers)
    return in_fresh_process("bench.figures", *words, **waiting)


def measure(
    name: str, size: Mapping[str, int], repeats: int, device: str, rate: float
) -> dict[str, Any]:
    """One figure every way, on a CPU on one thread; and its products at a rate."""
    figure = FIGURES[name]
    ways = {way: run_figure(name, way, device, 1, repeats, size) for way in figure.ways}
    row = {"name": name, "size": dict(size), "ways": ways}
    row["products"] = figure.operations(size) / rate
    print(" · ".join(page.cells(row)), flush=True)
    return row


def loaded(
    name: str, size: Mapping[str, int], repeats: int, threads: int
) -> dict[str, Any]:
    """One figure on the clock, on as many threads as the suite gives it: alone, and
    beside busy work.

    On several threads alone once more, with threads that never sleep.
    """
    given = (name, SUITE, "cpu", threads, repeats, size)
    times = {"quiet": run_figure(*given)["waited"]}
    if threads > 1:
        times["awake"] = run_figure(*given, _AWAKE)["waited"]
    with beside_load(2 * cores()):
        times["busy"] = run_figure(*given)["waited"]
    row = {"name": name, "size": dict(size), "threads": threads, **times}
    print(" · ".join(page.loaded_cells(row)), flush=True)
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
        threads = [threads_for(size.get("D")) for _, size, _ in LOADED]
        torch.set_num_threads(1)
        machine = about_machine(device)
        quiet = device.type == "cpu" and machine["load"] <= page.QUIET
        pairs = zip(LOADED, threads, strict=True) if quiet else ()
        besides = [loaded(*planned, number) for planned, number in pairs]
        rate = machine["product_rate"] = product_rate(device)
        figures = [measure(*planned, word, rate) for planned in PLAN]
    except BadInput as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    made = {"machine": machine, "figures": figures, "beside_load": besides}
    write_json(RESULTS / f"{slug(device)}.json", made)
    page.write_page(RESULTS)


if __name__ == "__main__":
    main()
