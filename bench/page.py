"""The pages of `make bench`, from every results file; no number is typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from bench import cost
from replication.core.files import read_json, write_text
from replication.reporting.figures import STYLE, svg_text
from replication.reporting.tables import markdown_table

_OURS, _REFERENCE = "#0072B2", "#D55E00"
_AXES = {
    "N": "N, samples",
    "D": "D, dimensions of a feature",
    "K": "K, clusters",
    "C": "C, classes",
}
_HEADER = (
    "Figure",
    "Size",
    "Time",
    "Reference",
    "Times faster",
    "Memory, MB",
    "Reference, MB",
    "Share of ceiling, %",
)
# Of the step on Places-LT's size, and at D = 512: share of the products' time, times
# faster than the reference, share of the reference's memory.
_TARGETS = {
    (2048, 512): (0.8, 10, 0.1),
    (512, 512): (None, 30, None),
}

Row = Mapping[str, Any]


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Every device's results, by file name; rehearsals are no results."""
    files = sorted(folder.glob("*.json"))
    named = {file.stem: file for file in files if not file.stem.startswith("rehearsal")}
    return {name: read_json(file) for name, file in named.items()}


def write_pages(folder: Path) -> None:
    """README.md, cost.md and a figure a device, beside the folder of results."""
    found = load_results(folder)
    for name, one in found.items():
        write_text(folder / f"growth-{name}.svg", growth_figure(one["growth"]))
    write_text(folder.parent / "README.md", page(found, folder.name))
    rehearsals = [read_json(file) for file in sorted(folder.glob("rehearsal-*.json"))]
    write_text(folder.parent / "cost.md", cost.page(found, rehearsals))


def page(found: Mapping[str, Mapping[str, Any]], folder: str) -> str:
    """The whole page: how it is measured, then each device."""
    parts = [
        "# Speed and memory\n",
        "Each figure beside a plain [reference](references.py) written to the paper's "
        "equations (nflows as it comes, (B, K, D) differences, a Python call for each "
        "sample drawn, autograd on concatenated inputs), and beside what this machine "
        "can do at best. Each in a process of its own. `make bench`. What a whole "
        "table costs: [cost.md](cost.md). The memory of a cluster-aided classifier at "
        "iNaturalist 2018's size: [cluster_aided.md](cluster_aided.md). What TF32 and "
        "bfloat16 would do to a density: [precision.md](precision.md). How often an "
        "interval holds the truth: [coverage.md](coverage.md). Disturbed runs: "
        "[faults.md](faults.md). Heads fitted side by side: [stacks.md](stacks.md). A "
        "step, compiled: [compiled.md](compiled.md).\n",
        "Memory: the most that is in use beyond model and data. Share of ceiling: the "
        "time that the figure's dense products (masks ignored) would take alone at the "
        "product rate, or its smallest traffic at the copy rate, whichever is longer, "
        "as a share of the time taken; both rates measured right after it. Above 100 "
        "% the masked half that is not computed gains more than all else costs, or, "
        "where nothing is masked, the rate was measured while the machine was slower. "
        "B batch, K clusters, D dimensions, C classes, N samples.\n",
    ]
    for name, one in found.items():
        parts += [_device_part(name, one, folder)]
    return "\n".join(parts)


def _device_part(name: str, one: Mapping[str, Any], folder: str) -> str:
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
    left = [row for row in figures if "left_out" in row]
    for row in left:
        lines.append(
            f"No reference for {row['name']} at {sizes(row)}: {row['left_out']}.\n"
        )
    rates = loading_rates(figures)
    if rates:
        lines.append(
            "Loading from files, by one core as a worker process has it; `workers: "
            "auto` starts one fewer than there are cores, 16 at most:\n\n"
            + markdown_table(("Figure", "Images a second", "Reference"), rates)
            + "\n"
        )
    goals = targets(figures)
    if goals:
        lines.append(markdown_table(("Target", "Measured", "Met"), goals) + "\n")
    lines.append(
        f"![How time grows with N, D, K and C]({folder}/growth-{name}.svg)\n\n"
        "*Time against one size, the others kept (above each panel). Filled circles: "
        "the suite; open squares: the reference, as far as it is no burden. Dotted: in "
        "proportion.*\n"
    )
    return "\n".join(lines)


def _ceilings(figures: Sequence[Row]) -> str:
    """The best of each ceiling over all processes."""
    measured = [
        row[whose]["ceilings"]
        for row in figures
        for whose in ("ours", "reference")
        if whose in row
    ]
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


def floor_seconds(row: Row) -> float:
    """What the figure takes at least at the ceilings measured beside it."""
    ceilings = row["ours"]["ceilings"]
    products = row["operations"] / ceilings["products"]["float32"]
    return max(products, row["moved"] / ceilings["copy"])


def share_of_ceiling(row: Row) -> float | None:
    """Fraction, above 1 where masked products are left out; None without a floor."""
    floor = floor_seconds(row)
    return floor / row["ours"]["seconds"] if floor else None


def times_faster(row: Row) -> float | None:
    """Reference's time over ours."""
    if "reference" not in row:
        return None
    return row["reference"]["seconds"] / row["ours"]["seconds"]


def cells(row: Row) -> list[str]:
    """One figure as a row of the table."""
    reference, faster, share = (
        row.get("reference"),
        times_faster(row),
        share_of_ceiling(row),
    )
    return [
        row["name"],
        sizes(row),
        seconds(row["ours"]["seconds"]),
        seconds(reference["seconds"]) if reference else "not run",
        f"{faster:.1f}" if faster else "n/a",
        f"{row['ours']['peak_mb']:,.0f}",
        f"{reference['peak_mb']:,.0f}" if reference else "not run",
        f"{100 * share:.0f}" if share else "n/a",
    ]


def line(row: Row) -> str:
    """One figure while the bench runs."""
    return " · ".join(cells(row))


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


def targets(figures: Sequence[Row]) -> list[list[str]]:
    """What the Flow Filter's step is held to, and whether it was met here."""
    rows = []
    for row in figures:
        key = (row["size"].get("D"), row["size"].get("B"))
        if row["name"] != "filter step" or key not in _TARGETS:
            continue
        share, faster, memory = _TARGETS[key]
        where = f"filter step, {sizes(row)}"
        if share is not None:
            is_now = share_of_ceiling(row)
            rows.append(_target(f"{where}: % of ceiling ≥", 100 * share, is_now, 100))
        rows.append(_target(f"{where}: times faster ≥", faster, times_faster(row)))
        if memory is not None and "reference" in row:
            ratio = row["reference"]["peak_mb"] / max(row["ours"]["peak_mb"], 1e-9)
            rows.append(_target(f"{where}: times less memory ≥", 1 / memory, ratio))
    return rows


def loading_rates(figures: Sequence[Row]) -> list[list[str]]:
    """Images a second, of the figures that read B image files of some width."""
    return [
        [row["name"]]
        + [
            f"{row['size']['B'] / row[whose]['seconds']:,.0f}"
            if whose in row
            else "not run"
            for whose in ("ours", "reference")
        ]
        for row in figures
        if "width" in row["size"]
    ]


def _target(
    words: str, wanted: float, is_now: float | None, scale: float = 1
) -> list[str]:
    if is_now is None:
        return [f"{words} {wanted:.0f}", "not run", "not run"]
    met = "yes" if scale * is_now >= wanted else "**no**"
    return [f"{words} {wanted:.0f}", f"{scale * is_now:.1f}", met]


def growth_figure(growth: Mapping[str, Any]) -> str:
    """Four panels, logarithmic both ways."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 6.4), layout="constrained")
        for axis, name in zip(figure.subplots(2, 2).flat, _AXES, strict=True):
            _growth_panel(axis, name, growth[name])
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9)
        return svg_text(figure)


def _growth_panel(axis: Any, name: str, panel: Mapping[str, Any]) -> None:
    ours, plain = panel["points"]["ours"], panel["points"]["reference"]
    values = [value for value, _ in ours]
    if plain:
        axis.plot(
            *zip(*plain, strict=True), "s--", color=_REFERENCE, markerfacecolor="white",
            markersize=5, linewidth=1.2, label="plain reference",
        )  # fmt: skip
    axis.plot(
        *zip(*ours, strict=True), "o-", color=_OURS, markersize=5, linewidth=1.6,
        label="this suite",
    )  # fmt: skip
    last, top = ours[-1]
    axis.plot(
        values, [top * value / last for value in values], ":", color="#444444",
        linewidth=1, label="in proportion",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(values, [f"{value:,}" for value in values], fontsize=8)
    axis.minorticks_off()
    kept = ", ".join(f"{key} {value:,}" for key, value in panel["size"].items())
    axis.set_title(f"{panel['figure']}\n{kept}")
    axis.set_xlabel(_AXES[name])
    axis.set_ylabel("time, s")
