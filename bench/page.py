"""The pages of `python -m bench`, from every results file; no number is typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import cost
from bench.figures import FIGURES, SUITE
from replication.core.files import read_json, write_text
from replication.reporting.tables import markdown_table

# What the suite is compared with, the fairest first.
PLAIN = ("nflows", "plain", "differences")
WORDS = {
    SUITE: "this suite",
    "nflows": "nflows as it comes, square expanded",
    "differences": "nflows as it comes, (B, K, D) differences",
}
_HEADER = (
    "Figure", "Size", "Time", "Plain", "Times faster", "Memory, MB", "Plain, MB",
    "Share of floor, %",
)  # fmt: skip
_HOW = """\
Each figure beside a plain [reference](references.py) (nflows as it comes, autograd on
concatenated inputs, Pillow) and beside a floor: the time that its dense products alone,
masks ignored, take at the product rate, or its smallest traffic at the copy rate,
whichever is longer; both rates measured right after it. Above 100 % the masked half
that is not computed gains more than all else costs. Memory is the most in use beyond
model and data. Each in a process of its own. B batch, K clusters, D dimensions, C
classes, N samples. `make bench`
"""
# Findings of pages whose benches are gone: they were about choices since made.
_EARLIER = """\
## Measured once

- TF32's products (10 bits) move log P(x) by at most 0.006 nats of a spread of 47 at
  D = 2,048, the most likely cluster of 0.02 to 0.1 % of samples, and nobody's leaving;
  bfloat16's move 0.5 % of the clusters and up to 0.05 % of who leaves. Emulated on AMD
  EPYC, 2026-11-24. The suite computes in float32.
- `torch.compile` of a filter's step gains 1.22 at D = 64 and 0.96 to 1.04 at 512 and
  2,048: the suite runs it as written. AMD EPYC, 2 threads, 2026-11-25.
- Heads of several seeds fitted side by side gain 1.0 to 1.33 on a CPU: not done. AMD
  EPYC, 1 thread, 2026-11-25.
- A cluster-aided classifier at iNaturalist 2018's size (N = 131,000, D = 2,048, C =
  8,142, K = 500) needs 1,320 MB beyond its features under the paper's protocol, 361 MB
  under the released code's; a step takes 157 ms. AMD EPYC, 2 threads, 2026-11-25.
"""

Row = Mapping[str, Any]


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Every device's results, by file name; rehearsals are no results."""
    files = sorted(folder.glob("*.json"))
    named = {file.stem: file for file in files if not file.stem.startswith("rehearsal")}
    return {name: read_json(file) for name, file in named.items()}


def write_pages(folder: Path) -> None:
    """README.md and cost.md, beside the folder of results."""
    measured = load_results(folder)
    write_text(folder.parent / "README.md", page(measured))
    rehearsals = [read_json(file) for file in sorted(folder.glob("rehearsal-*.json"))]
    write_text(folder.parent / "cost.md", cost.page(measured, rehearsals))


def page(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page: what was found, each device's figures, how it was measured."""
    parts = ["# Speed and memory\n"]
    parts += [finding(one) for one in measured.values()]
    parts.append(
        "What a whole table costs: [cost.md](cost.md). How often an interval holds "
        "the truth: [statistics.md](statistics.md). Disturbed runs: "
        "[faults.md](faults.md).\n"
    )
    parts += [_device_part(one) for one in measured.values()]
    return "\n".join([*parts, "## How\n", _HOW, _EARLIER])


def finding(one: Mapping[str, Any]) -> str:
    """The largest filter step and classifier in words."""
    steps = [row for row in one["figures"] if row["name"] == "filter step"]
    if not steps or one["quick"]:
        return ""
    row = max(steps, key=lambda row: (row["size"]["D"], -row["size"]["B"]))
    plain, share = plain_way(row), share_of_floor(row)
    beside = (
        f", {times_faster(row):.1f} times as fast as {WORDS.get(plain, plain)}"
        if plain
        else ""
    )
    return (
        f"**{one['machine']['device']}**: a Flow Filter's step ({sizes(row)}) takes "
        f"{seconds(row['ways'][SUITE]['seconds'])}{beside}, and "
        f"{100 * (share or 0):.0f} % of the speed at which its dense products alone "
        "would run.\n"
    )


def _device_part(one: Mapping[str, Any]) -> str:
    machine, figures = one["machine"], one["figures"]
    lines = [
        f"## {machine['device']}\n",
        f"PyTorch {machine['torch']}, Python {machine['python']}; {machine['date']}. "
        f"{_ceilings(figures)}\n",
    ]
    if machine["load"] > 0.5:
        lines.append(
            f"> **The machine was busy** ({machine['load']} processes on "
            f"{machine['cores']} cores when it began): times are too long.\n"
        )
    if one["quick"]:
        lines.append("> **Tiny sizes** (`--quick`): these numbers say nothing.\n")
    lines.append(markdown_table(_HEADER, map(cells, figures), words=2) + "\n")
    lines += [
        f"Not run: {row['name']} at {sizes(row)} by {WORDS.get(way, way)}: {why}.\n"
        for row in figures
        for way, why in row["left_out"].items()
    ]
    if others := ways_table(figures):
        header = ("Filter step", "Way", "Time", "Times this suite's", "Memory, MB")
        lines.append(markdown_table(header, others, words=2) + "\n")
    if rates := loading_rates(figures):
        header = ("From files, one core", "Images a second", "Plain")
        lines.append(markdown_table(header, rates) + "\n")
    return "\n".join(lines)


def _ceilings(figures: Sequence[Row]) -> str:
    """The best of each ceiling over all processes."""
    measured = [one["ceilings"] for row in figures for one in row["ways"].values()]
    rates = {
        kind: max(one["products"][kind] for one in measured)
        for kind in measured[0]["products"]
    }
    products = ", ".join(f"{rate / 1e9:,.0f} ({kind})" for kind, rate in rates.items())
    copy = max(one["copy"] for one in measured)
    return (
        f"Products: {products} billion operations a second; the suite computes in "
        f"float32. Copying: {copy / 1e9:,.0f} GB a second, read and written."
    )


def plain_way(row: Row) -> str | None:
    """The fairest reference that was measured."""
    return next((way for way in PLAIN if way in row["ways"]), None)


def share_of_floor(row: Row) -> float | None:
    """Fraction, above 1 where masked products are left out; None without a floor."""
    ceilings = row["ways"][SUITE]["ceilings"]
    products = row["operations"] / ceilings["products"]["float32"]
    floor = max(products, row["moved"] / ceilings["copy"])
    return floor / row["ways"][SUITE]["seconds"] if floor else None


def times_faster(row: Row) -> float | None:
    """The plain reference's time over ours."""
    way = plain_way(row)
    if way is None:
        return None
    return row["ways"][way]["seconds"] / row["ways"][SUITE]["seconds"]


def cells(row: Row) -> list[str]:
    """One figure as a row of the table."""
    ours, plain = row["ways"][SUITE], row["ways"].get(plain_way(row))
    faster, share = times_faster(row), share_of_floor(row)
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


def line(row: Row) -> str:
    """One figure while the bench runs."""
    return " · ".join(cells(row))


def ways_table(figures: Sequence[Row]) -> list[list[str]]:
    """Every way of a filter step: what each of the suite's own operations gains."""
    return [
        [
            sizes(row),
            WORDS.get(way, way),
            seconds(taken["seconds"]),
            f"{taken['seconds'] / row['ways'][SUITE]['seconds']:.2f}",
            f"{taken['peak_mb']:,.0f}",
        ]
        for row in figures
        if row["name"] == "filter step"
        for way in FIGURES["filter step"].ways
        if (taken := row["ways"].get(way)) is not None
    ]


def loading_rates(figures: Sequence[Row]) -> list[list[str]]:
    """Images a second, of the figures that read B image files of some width."""
    return [
        [row["name"]]
        + [
            f"{row['size']['B'] / row['ways'][way]['seconds']:,.0f}"
            for way in (SUITE, "plain")
        ]
        for row in figures
        if "width" in row["size"]
    ]


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
