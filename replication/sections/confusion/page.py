"""The page on the confusion matrices of Sect. 4."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from replication.reporting.figures import STYLE, svg_text
from replication.reporting.rendering import notice, origin, render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    find,
    markdown_table,
    marked,
    percent,
    points,
)
from replication.sections.confusion.experiment import READINGS, areas

PAPER_DATA = "ImageNet-LT with a ResNet-50"
HEADS = {
    "own_head": "the network's own head, as PaCo trained it",
    "balanced_softmax": "a Balanced Softmax head fitted to the features",
}
_SHORT = {"paper": "paper", "released_code": "released code"}
_OUTLINES = {"blocks": ("#000000", "-"), "right_columns": ("#009E73", (0, (3, 2)))}
_TICKS = 5
_COLOURS = 21


def confusion_page(
    measured: Mapping[str, Any], title: str, figures_folder: str
) -> tuple[str, dict[str, str]]:
    """Sect. 4 on one benchmark.

    Args:
        measured: what the stage `confusion` wrote.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The page, and its figures by file name.
    """
    data, bins = measured["data"], measured["bins"]
    own = measured["benchmark"] == "imagenet_lt" and not data["stand_in"]
    drawn = {}
    for protocol, matrices in measured["matrices"].items():
        drawn[f"rates-{protocol}.svg"] = matrices_figure(
            matrices["rates"],
            bins,
            100,
            ("errors, % of the true bin's test images", "change, points"),
        )
        drawn[f"counts-{protocol}.svg"] = matrices_figure(
            matrices["counts"],
            bins,
            1,
            ("errors, test images, mean over seeds", "change, test images"),
        )
    head = next(run for run in measured["runs"] if run["stage"].startswith("heads_"))
    page = render(
        "sections/confusion/page.md.j2",
        notice=notice(data, title, None if own else PAPER_DATA),
        title=title,
        stand_in=data["stand_in"],
        features=measured["features"],
        start=HEADS[head["start"]],
        seeds=measured["seeds"],
        bins=bins,
        classes=data["classes"],
        readings=READINGS,
        summary=summarise(measured),
        figures=figures_folder,
        protocol_names=PROTOCOL_NAMES,
        claims=claims_table(measured["claims"], data["stand_in"]),
        parts=parts_table(measured["claims"]),
        masses={name: masses_table(measured["masses"], name) for name in _SHORT},
        areas=areas_table(measured["areas"], measured["masses"]),
        bins_table=bins_table(bins, measured["matrices"]),
        origin=origin(
            data["hash"],
            f"dvc repro confusion@{measured['benchmark']}",
            measured["runs"],
        ),
    )
    return page, drawn


def summarise(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    parts = [_protocol_finding(measured, protocol) for protocol in _SHORT]
    claims = [claim for claim in measured["claims"] if claim["protocol"] == "paper"]
    said = ", ".join(
        f"{sum(claim['verdict'] == verdict for claim in claims)} {verdict}"
        for verdict in ("supported", "contradicted", "undecided", "not run")
    )
    on = "on the stand-in" if measured["data"]["stand_in"] else "on this data"
    parts.append(f"Of {len(claims)} tests under the paper protocol, {said} {on}.")
    return " ".join(parts)


def _protocol_finding(measured: Mapping[str, Any], protocol: str) -> str:
    claims = [claim for claim in measured["claims"] if claim["protocol"] == protocol]
    shares = [claim for claim in claims if claim["unit"] == "share"]
    verb = {
        "supported": "takes fewer Many images for Few than without it",
        "contradicted": "takes more Many images for Few than without it",
        "undecided": "takes neither clearly fewer nor clearly more Many images for Few "
        "than without it",
        "not run": "has no Many and Few images to compare",
    }[shares[0]["verdict"]]
    text = f"Under the {_SHORT[protocol]} protocol DLSA {verb}"
    if shares[0]["verdict"] != "not run":
        forth, back = (
            find(measured["masses"], mass=mass, protocol=protocol, of="all")
            for mass in ("many_to_few", "few_to_many")
        )
        assert forth is not None and back is not None
        text += (
            f": {percent(forth['without']['mean'], 2)} % of all test images without, "
            f"{percent(forth['with']['mean'], 2)} % with "
            f"({_points(forth['change'])} points). The opposite error, Few taken for "
            f"Many, changes by {_points(back['change'])} points"
        )
    placed = [claim["verdict"] for claim in claims if claim["unit"] == "share per cell"]
    return (
        f"{text}. That the reductions lie mainly at the right top and middle is "
        f"{placed[0]} for the two blocks and {placed[1]} for the right columns."
    )


def claims_table(claims: Sequence[Mapping[str, Any]], stand_in: bool) -> str:
    """A row a test: the reduction and its verdict under both protocols."""
    where = " (stand-in)" if stand_in else ""
    header = ["Sentence", "Test"]
    for name in _SHORT.values():
        header += [f"{name}: reduction", f"{name}: verdict{where}"]
    rows: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        key = (claim["sentence"], claim["test"])
        row = rows.setdefault(key, list(key))
        row += [_reduction(claim), marked(claim)]
    return markdown_table(header, rows.values(), words=2)


def parts_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """A row a part of each reading of the areas: what the smallest was chosen from."""
    header = ["Reading", "Part"]
    header += [f"{name}: reduction" for name in _SHORT.values()]
    rows: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        if claim["unit"] == "share":
            continue
        for part, numbers in claim["parts"].items():
            row = rows.setdefault((claim["test"], part), [claim["test"], part])
            row.append(_reduction({**numbers, "unit": claim["unit"]}))
    shown = [[row[0].split(": ")[0], *row[1:]] for row in rows.values()]
    return markdown_table(header, shown, words=2)


def masses_table(masses: Sequence[Mapping[str, Any]], protocol: str) -> str:
    """A row a kind of errors: shares without and with, changes of share and rate."""
    header = [
        "Errors",
        "Without, % of all",
        "With, % of all",
        "Change, points of all",
        "Change, points of the true classes' images",
    ]
    rows = []
    for record in masses:
        if record["protocol"] != protocol or record["of"] != "all":
            continue
        rate = find(masses, mass=record["mass"], protocol=protocol, of="true")
        assert rate is not None
        rows.append(
            [
                record["label"],
                _percent(record["without"]),
                _percent(record["with"]),
                _points(record["change"]),
                _points(rate["change"]),
            ]
        )
    return markdown_table(header, rows)


def areas_table(
    records: Sequence[Mapping[str, Any]], masses: Sequence[Mapping[str, Any]]
) -> str:
    """A row an area: its part of the cells, of the errors and of the reductions."""
    header = ["Area", "Cells, %"]
    for name in _SHORT.values():
        header += [f"{name}: errors without, %", f"{name}: reductions, %"]
    labels = {record["mass"]: record["label"] for record in masses}
    rows: dict[str, list[str]] = {}
    for record in records:
        name = record["area"]
        row = rows.setdefault(name, [labels[name], percent(record["cells"])])
        row += [percent(record["errors"]), percent(record["reductions"])]
    return markdown_table(header, rows.values())


def bins_table(
    bins: Sequence[Mapping[str, Any]], matrices: Mapping[str, Mapping[str, Any]]
) -> str:
    """A row a bin: its classes and images, and its accuracy without and with."""
    header = ["Bin", "Classes", "Training images of a class", "Test images"]
    for name in matrices:
        header += [f"{_SHORT[name]}: without, %", "with, %", "change, points"]
    rows = []
    for number, one in enumerate(bins):
        row = [
            str(number + 1),
            str(one["classes"]),
            f"{one['largest']} to {one['smallest']}",
            str(one["test_images"]),
        ]
        for found in matrices.values():
            without, with_dlsa = (
                _array(found["accuracy"][side])[number] for side in ("without", "with")
            )
            row += [percent(without), percent(with_dlsa), points(with_dlsa - without)]
        rows.append(row)
    return markdown_table(header, rows)


def matrices_figure(
    matrices: Mapping[str, Any],
    bins: Sequence[Mapping[str, Any]],
    scale: float,
    units: tuple[str, str],
) -> str:
    """Fig. 1, 2 and 3 side by side: without, with, with minus without.

    Args:
        matrices: `without`, `with`, `difference`, (bins, bins) each.
        bins: what each bin holds.
        scale: that brings the values to their unit.
        units: of the first two matrices, and of the difference.
    """
    panels = {
        "without": "Without DLSA",
        "with": "With DLSA",
        "difference": "With minus without",
    }
    values = {name: scale * _array(matrices[name]) for name in panels}
    both = np.stack([values["without"], values["with"]])
    top = float(np.nanmax(both, initial=0.0)) or 1.0
    reach = float(np.nanmax(np.abs(values["difference"]), initial=0.0)) or 1.0
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(9.2, 4.5), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        scales = {
            "without": _scale("Greys", 0, top),
            "with": _scale("Greys", 0, top),
            "difference": _scale("RdBu_r", -reach, reach),
        }
        for axis, (name, text) in zip(axes, panels.items(), strict=True):
            _cells(axis, values[name], scales[name])
            _frame(axis, bins, text)
        axes[0].set_ylabel("true class, by training images")
        for name, place, unit in (
            ("without", list(axes[:2]), units[0]),
            ("difference", [axes[2]], f"{units[1]}\n(blue: fewer errors, red: more)"),
        ):
            bar = figure.colorbar(
                scales[name],
                ax=place,
                orientation="horizontal",
                aspect=20 * len(place),
                pad=0.03,
                ticks=MaxNLocator(5),
                spacing="proportional",
            )
            bar.minorticks_off()
            bar.set_label(unit)
            bar.outline.set_visible(False)
        handles = [
            Line2D([], [], color=colour, linestyle=line, label=READINGS[name])
            for name, (colour, line) in _OUTLINES.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
        return svg_text(figure)


def _scale(name: str, low: float, high: float) -> ScalarMappable:
    """Few enough colours to be told apart; an odd number, so that 0 has its own."""
    edges = np.linspace(low, high, _COLOURS + 1)
    colours = matplotlib.colormaps[name].resampled(_COLOURS)
    return ScalarMappable(BoundaryNorm(edges, _COLOURS), colours)


def _cells(axis: Any, values: np.ndarray, scale: ScalarMappable) -> None:
    """Draw a matrix, all cells of one colour as one shape: a smaller file."""
    level = np.clip(scale.norm(np.nan_to_num(values)), 0, _COLOURS - 1)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    for number in np.unique(level[~np.isnan(values)]):
        places = np.argwhere((level == number) & ~np.isnan(values))[:, ::-1]
        shape = Path.make_compound_path_from_polys(places[:, None] + square)
        colour = scale.cmap(int(number))
        axis.add_patch(PathPatch(shape, facecolor=colour, lw=0, antialiased=False))


def _frame(axis: Any, bins: Sequence[Mapping[str, Any]], text: str) -> None:
    """Axes labelled with training images, most frequent first, and the areas."""
    size = len(bins)
    named = areas(size)
    for name, (colour, line) in _OUTLINES.items():
        axis.add_collection(
            LineCollection(
                outline(named[name]),
                colors=colour,
                linestyles=[line],
                linewidths=1.6,
                clip_on=False,
            ),
            autolim=False,
        )
    edges = np.unique(np.linspace(0, size, _TICKS).round().astype(int))
    counts = [
        str(bins[edge]["largest"] if edge < size else bins[-1]["smallest"])
        for edge in edges
    ]
    axis.set_xticks(edges, counts)
    axis.set_yticks(edges, counts)
    axis.set_xlim(0, size)
    axis.set_ylim(size, 0)
    axis.set_aspect("equal")
    axis.set_facecolor("#d9d9d9")
    axis.set_xlabel("predicted class, by training images")
    axis.set_title(text)


def outline(inside: np.ndarray) -> list[list[tuple[int, int]]]:
    """The border of an area of cells, as lines.

    Args:
        inside: (rows, columns) bool; cell (i, j) covers y from i to i + 1, x from j.

    Returns:
        Lines of two (x, y) points; those that continue each other are one.
    """
    padded = np.pad(inside, 1)
    lines = []
    for along, flipped in ((padded, False), (padded.T, True)):
        changes = along[1:] != along[:-1]
        for place, row in enumerate(changes):
            steps = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
            for start, stop in zip(steps[::2] - 1, steps[1::2] - 1, strict=True):
                ends = [(int(start), place), (int(stop), place)]
                lines.append([(y, x) for x, y in ends] if flipped else ends)
    return lines


def _array(values: Any) -> np.ndarray:
    """Numbers as read from JSON, where null stands for NaN."""
    return np.array(values, dtype=float)


def _percent(numbers: Mapping[str, Any]) -> str:
    if numbers["mean"] is None or np.isnan(numbers["mean"]):
        return "n/a"
    mean, low, high = (percent(numbers[name], 2) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _points(numbers: Mapping[str, Any]) -> str:
    if numbers["mean"] is None or np.isnan(numbers["mean"]):
        return "n/a"
    mean, low, high = (points(numbers[name], 2) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _reduction(claim: Mapping[str, Any]) -> str:
    """In points, or in errors per 10,000 test images and cell."""
    text = _points(claim)
    if claim["unit"] == "share" or text == "n/a":
        return f"{text} points" if text != "n/a" else text
    scaled = {name: 100 * claim[name] for name in ("mean", "low", "high")}
    return f"{_points(scaled)} per 10,000"
