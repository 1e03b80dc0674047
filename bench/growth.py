"""How time grows with N, D, K and C: one of them at a time, the others kept.

python -m bench.growth DEVICE full|quick        one line of JSON
"""

import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from bench.figures import FIGURES, Size
from bench.measuring import take
from replication.core.stage import pick_device


class Panel(NamedTuple):
    """The figure, the sizes that stay, and the values of the one that grows."""

    figure: str
    size: Size
    values: Sequence[int]


_STEP = {"B": 128, "K": 500, "D": 256}
_EPOCH = {"N": 1280, "B": 128, "K": 100, "D": 256, "C": 365}
PANELS = {
    "N": Panel("likelihood pass", _STEP, (1024, 4096, 16_384, 65_536)),
    "D": Panel("filter step", _STEP, (64, 128, 256, 512, 1024, 2048)),
    "K": Panel("filter step", _STEP, (50, 100, 200, 500, 1000, 2000)),
    "C": Panel("aided epoch", _EPOCH, (100, 365, 1000, 8142)),
}
_QUICK = {"B": 16, "K": 5, "D": 16}
QUICK_PANELS = {
    axis: Panel(figure, {**_QUICK, "N": 64, "C": 10}, (16, 32))
    for axis, (figure, _, _) in PANELS.items()
}
# The reference is shown as far as it is no burden.
_REFERENCE_MB, _REFERENCE_ROWS = 1000, 4096


def measure(panels: dict[str, Panel], device: torch.device) -> dict[str, Any]:
    """Axis -> figure, sizes, and points of (value, seconds) of ours and reference."""
    grown = {}
    for axis, panel in panels.items():
        figure = FIGURES[panel.figure]
        points: dict[str, list[tuple[int, float]]] = {"ours": [], "reference": []}
        for value in panel.values:
            size = {**panel.size, axis: value}
            work = figure.ours(size, device)
            points["ours"].append((value, take(work, 4, device).seconds))
            light = figure.reference_mb(size) < _REFERENCE_MB
            if light and size.get("N", 0) <= _REFERENCE_ROWS:
                assert figure.reference is not None
                work = figure.reference(size, device)
                points["reference"].append((value, take(work, 2, device).seconds))
        kept = {name: size for name, size in panel.size.items() if name != axis}
        grown[axis] = {"figure": panel.figure, "size": kept, "points": points}
    return grown


if __name__ == "__main__":
    chosen = PANELS if sys.argv[2] == "full" else QUICK_PANELS
    print(json.dumps(measure(chosen, pick_device(sys.argv[1]))))
