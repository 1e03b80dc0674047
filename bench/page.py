"""The page of `python -m bench`, from every results file; no number is typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import cost
from bench.figures import SUITE
from replication.core.files import read_json, write_text
from replication.reporting.tables import markdown_table

_HEADER = (
    "Figure", "Size", "Time", "Plain", "Times faster", "Memory, MB", "Plain, MB",
    "Products, % of the time",
)  # fmt: skip
_HOW = """\
On a processor: processor time of one thread, in a process of its own, so that other
jobs hardly change it; on a GPU, the clock's. Beside it a plain
[reference](references.py), where there is one. *Products*: what the matrix products
alone would take, without what masks set to zero, at the rate of a large product.
Memory is the most in use beyond model and data. *Whole fit*: a Flow Filter of 50 epochs
and both protocols' classifiers of 150, for the reference as many steps and readings.
*On the clock*, a fit has the threads that the suite gives it: one up to 256 dimensions,
and in every fit that lies beside another. B batch, K clusters, D dimensions, C classes,
N samples. `make bench`
"""
# What was measured once, about choices since made.
_EARLIER = """\
## Measured once

- TF32's products (10 bits) move log P(x) by at most 0.006 nats of a spread of 47 at
  D = 2,048, the most likely cluster of 0.02 to 0.1 % of samples, and nobody's leaving;
  bfloat16's move 0.5 % of the clusters and up to 0.05 % of who leaves. Emulated on AMD
  EPYC, 2026-11-24. The suite computes in float32.
- A product of (1,024 × 2,048) by (2,048 × 2,048) on one thread of AMD EPYC: oneDNN's at
  223 billion operations a second, `torch.mm`'s (MKL) at 92 to 110, 2026-11-30.
- Two threads that look for one another 3,000 times before they sleep, as here, that
  never sleep, and that sleep at once, on a quiet machine: a filter's step (B 512, D 64,
  K 500) 3.2, 3.1 and 12 ms, a plain epoch (D 64, N 10,240) 3.5, 3.6 and 16 ms, a step
  of ResNet-32 (32 images) 60, 59 and 92 ms. 300 looks are no better than none, 10,000
  no better than 3,000. Beside two busy processes a core: 17, 17 and 321 ms as here, 21,
  23 and 378 ms where they sleep at once, 14, 13 and 290 ms on one thread. Beside seven
  jobs looking costs: that filter's step takes 36 ms of processor time as here, 14 where
  threads sleep at once, 7 on one. AMD EPYC, 2 cores, 2026-11-30.
- One thread up to 256 dimensions: beside four to six busy processes on two cores a
  second one makes a filter's step (B 96, K 50) 9, 5 and 5 times as long at D = 64, 128
  and 256, (B 512, K 500) 5 and 3 times at D = 64 and 128, a plain epoch 12 and 4 times
  at D = 64 and 256; quiet it takes a third off the filter's step (B 512, K 500, D 64),
  nothing off the epoch. At D = 512 and 1,280 a step takes 1.5 to 4 times as long beside
  load as well, but quiet it is up to 1.8 times as fast: a fit that is alone has all
  threads there. AMD EPYC, 2 cores, 2026-11-30.
- Where a filter's step (B 512, K 500, D 64) goes, by PyTorch's profiler, the least of
  60 steps: its products 45 % of 4.0 ms (26 % at the rate of a large product and without
  what masks set to zero), softmax and other passes over (B, K) 12 %, softplus, its
  logarithm and slope 8 %, turning matrices for the weights' products 6 %, batch-norm 4
  %, and 25 % in some 700 short calls. None of these is large enough to be worth code of
  its own. AMD EPYC, one thread, 2026-11-30.
- The whole fit (10,847 × 64, K 100, B 1,024, depth 1, both protocols, drawn): 9.3 s
  of processor time, the filter 4.6, readings 1.3, classifiers 3.4; the reference's
  loops 21 s. It took 35 s when first measured. AMD EPYC, one thread, busy, 2026-11-30.
- All filters of CIFAR-100-LT (10,847 samples × 64, depth 3, both protocols), beside
  the same by autograd: 2.8 times as fast at this data's size (K 47, B 96; 2.4 and then
  1.17, measured apart), 2.2 times as published (K 500, B 1,024); 2.5 was aimed at.
  Versions in turn, four epochs, on a busy machine; AMD EPYC, processor time of one
  thread, 2026-11-30.
- A classifier's step of the cascade (B 128, D 64, C 100, 47 clusters) on x and class
  frequencies takes 0.10 ms for 0.20 as first written, on latents too 0.14 for 0.21; 3
  times was aimed at. Its two products alone take 0.055 and 0.08 ms by the faster of the
  two libraries. AMD EPYC, processor time of one thread, 2026-11-30.
- What stands in the way is MKL, which gives a processor that is not Intel's its AVX2
  code. With its own check of the processor replaced by a preloaded library that step
  takes 0.07 ms for 0.10, a filter's (B 96, K 47, D 64) 1.2 ms for 1.9. Not done: it is
  a change to somebody else's library. AMD EPYC, 2026-11-30.
- Heads of several seeds fitted side by side gain 1.0 to 1.33 on a CPU: not done. AMD
  EPYC, 1 thread, 2026-11-25.
- Images loaded a second, one core, beside Pillow's and torchvision's recipe for the
  same: to train 335 (340), PaCo's views 157 (121), to extract 444 (261). AMD EPYC,
  2026-11-25.
"""

Row = Mapping[str, Any]
QUIET = 0.3  # cores that others use, at most
# What was aimed at: of the step where a fit on CIFAR stands furthest from its products.
AIMED_AT = {"B": 512, "K": 500, "D": 64}
# A Flow Filter and the classifiers of both protocols, at CIFAR-100-LT's size.
WHOLE_FIT = {"N": 10847, "B": 1024, "K": 100, "D": 64, "C": 100}
_BUSY = "not measured: the machine was busy"
_LEAST_PRODUCTS, _MOST_BESIDE_LOAD, _MOST_LOST = 0.5, 4.0, 0.05
_LONGEST_FIT = 13.0  # seconds


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Every device's results, by file name; rehearsals are no results."""
    files = sorted(folder.glob("*.json"))
    named = {file.stem: file for file in files if not file.stem.startswith("rehearsal")}
    return {name: read_json(file) for name, file in named.items()}


def write_page(folder: Path) -> None:
    """README.md, beside the folder of results."""
    measured = list(load_results(folder).values())
    rehearsals = [read_json(file) for file in sorted(folder.glob("rehearsal-*.json"))]
    write_text(folder.parent / "README.md", page(measured, rehearsals))


def page(
    measured: Sequence[Mapping[str, Any]], rehearsals: Sequence[Mapping[str, Any]]
) -> str:
    """The whole page: what was found, each device's figures, how it was measured."""
    parts = ["# Speed and memory\n", *map(finding, measured)]
    if not any(device["machine"]["kind"] == "cuda" for device in measured):
        parts.append("No GPU has run this: `make bench` on one adds its figures.\n")
    parts += map(_device_part, measured)
    parts += ["## How\n", _HOW, _EARLIER, *cost.parts(measured, rehearsals)]
    parts.append(
        "Beside this page: [how often an interval holds the truth](statistics.md).\n"
    )
    return "\n".join(parts)


def finding(device: Mapping[str, Any]) -> str:
    """The gains over plain references, and what is furthest from its products."""
    rows = device["figures"]
    gains = [gain for row in rows if (gain := times_faster(row)) is not None]
    shares = [row for row in rows if share_of_products(row) is not None]
    least = min(shares, key=share_of_products)
    return (
        f"**{device['machine']['device']}**: {min(gains):.1f} to {max(gains):.1f} "
        "times as fast as the same equations in plain PyTorch and nflows. Furthest "
        f"from what its products alone would take: {least['name']} ({sizes(least)}), "
        f"where they are {100 * share_of_products(least):.0f} % of the time.\n\n"
        f"{markdown_table(('Aim', 'Measured', ''), _aims(device))}\n"
    )


def _aims(device: Mapping[str, Any]) -> list[list[str]]:
    """Each aim, what was measured, and whether it was met; the missed ones first."""
    loads = device["beside_load"]
    most = max(loads, key=slowed, default=None)
    waits = [row["quiet"] / row["awake"] - 1 for row in loads if "awake" in row]
    loss = max(waits, default=0.0 if loads else None)  # one thread waits for nobody
    aims = [
        (
            f"products at least half of a filter step ({sizes(row)})",
            f"{100 * share_of_products(row):.0f} %",
            share_of_products(row) >= _LEAST_PRODUCTS,
        )
        for row in device["figures"]
        if row["name"] == "filter step" and row["size"] == AIMED_AT
    ]
    aims += [
        (
            f"whole fit, both protocols ({sizes(row)}), within {_LONGEST_FIT:g} s",
            seconds(took := row["ways"][SUITE]["seconds"]),
            took <= _LONGEST_FIT,
        )
        for row in device["figures"]
        if row["name"] == "whole fit"
    ]
    if device["machine"]["kind"] == "cpu":
        aims += [
            (
                f"beside two busy processes a core at most {_MOST_BESIDE_LOAD:g} times "
                "as long (a fair share of the cores is 3)",
                _BUSY if most is None else f"{slowed(most):.1f} ({most['name']})",
                most is None or slowed(most) <= _MOST_BESIDE_LOAD,
            ),
            (
                "on a quiet machine threads that sleep after a moment lose at most "
                f"{100 * _MOST_LOST:.0f} % to threads that never do",
                _BUSY if loss is None else f"{100 * loss:.0f} %",
                loss is None or loss <= _MOST_LOST,
            ),
        ]
    aims.sort(key=lambda aim: aim[2])
    return [[text, shown, "" if met else "**missed**"] for text, shown, met in aims]


def _device_part(device: Mapping[str, Any]) -> str:
    machine, figures = device["machine"], device["figures"]
    busy = (
        f"The machine was busy: {machine['load']} of {machine['cores']} cores were in "
        "use when it began.\n"
    )
    beside = list(map(loaded_cells, device["beside_load"]))
    header = (
        "On the clock", "Size", "Threads", "Quiet", "Quiet, threads never sleep",
        "Beside two busy processes a core", "Times as long",
    )  # fmt: skip
    lines = [
        f"## {machine['device']}\n",
        f"PyTorch {machine['torch']}, Python {machine['python']}; {machine['date']}. "
        f"A large product in float32: {machine['product_rate'] / 1e9:,.0f} billion "
        "operations a second.\n",
        *([busy] if machine["load"] > QUIET else []),
        markdown_table(_HEADER, map(cells, figures), words=2) + "\n",
        *([markdown_table(header, beside, words=2) + "\n"] if beside else []),
    ]
    return "\n".join(lines)


def plain_way(row: Row) -> str | None:
    """The reference that was measured beside the suite."""
    return next((way for way in row["ways"] if way != SUITE), None)


def share_of_products(row: Row) -> float | None:
    """Fraction of the time that the products alone would take; None: not counted."""
    return row["products"] / row["ways"][SUITE]["seconds"] or None


def times_faster(row: Row) -> float | None:
    """The plain reference's time over ours."""
    way = plain_way(row)
    if way is None:
        return None
    return row["ways"][way]["seconds"] / row["ways"][SUITE]["seconds"]


def cells(row: Row) -> list[str]:
    """One figure as a row of the table."""
    ours, plain = row["ways"][SUITE], row["ways"].get(plain_way(row))
    faster, share = times_faster(row), share_of_products(row)
    return [
        row["name"],
        sizes(row),
        seconds(ours["seconds"]),
        seconds(plain["seconds"]) if plain else "none",
        f"{faster:.1f}" if faster else "n/a",
        f"{ours['peak_mb']:,.0f}",
        f"{plain['peak_mb']:,.0f}" if plain else "none",
        f"{100 * share:.0f}" if share else "n/a",
    ]


def loaded_cells(row: Row) -> list[str]:
    """One figure on the clock, quiet and beside load, as a row of its table."""
    times = [
        seconds(row[way]) if way in row else "n/a" for way in ("quiet", "awake", "busy")
    ]
    ratio = f"{slowed(row):.1f}"
    return [row["name"], sizes(row), str(row["threads"]), *times, ratio]


def slowed(row: Row) -> float:
    """How many times as long it takes beside load."""
    return row["busy"] / row["quiet"]


def sizes(row: Row) -> str:
    """`B 512, K 500, D 64`."""
    return ", ".join(f"{key} {value:,}" for key, value in row["size"].items())


def seconds(value: float) -> str:
    """With a unit that leaves few digits."""
    if value >= 100:
        return f"{value:,.0f} s"
    if value >= 1:
        return f"{value:.1f} s"
    return f"{1e3 * value:.1f} ms" if value < 0.01 else f"{1e3 * value:.0f} ms"
