"""The page on the confusion matrices of Sect. 4."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from replication.reporting.comparison import (
    HEADS,
    HOW_JUDGED,
    MARKS,
    TITLE,
    UNDER,
    covered,
)
from replication.reporting.figures import STYLE, interval_panel, svg_text
from replication.reporting.rendering import notice, render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    claims_table,
    emphasised,
    in_unit,
    markdown_table,
    percent,
    shown,
)
from replication.sections.confusion.experiment import PER_CELL, READINGS, thirds
from replication.statistics.results import PROTOCOLS, Cell, Measurement, pick

PAPER_DATA = "ImageNet-LT with a ResNet-50"
# What is outlined: colour, line, and in words.
_OUTLINES = {
    "rows": ("#000000", "-", "right top and middle, true classes as rows"),
    "columns": ("#009E73", (0, (3, 2)), "right top, were true classes the columns"),
}
_FORTH, _BACK = "fewer_many_to_few", "fewer_few_to_many"
_INSET = 0.12  # of an outline, so that two that meet at a corner do not overlap
_COLOURS = 21  # few enough to be told apart; odd, so that 0 has its own


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Sect. 4 on one benchmark: Markdown, and its figure by file name."""
    data, details = measured.data, measured.details
    own = measured.benchmark == "imagenet_lt" and not data["stand_in"]
    text = render(
        "sections/confusion/page.md.j2",
        notice=notice(data, title, None if own else PAPER_DATA),
        title=title,
        stand_in=data["stand_in"],
        finding=finding(measured),
        figures=folder,
        features=measured.about["features"],
        start=HEADS[measured.about["start"]],
        covered=covered(details["seeds"]),
        bins=len(details["bins"]),
        classes=data["classes"],
        errors=errors_table(measured),
        claims=claims_table(measured.claims),
        how_judged=HOW_JUDGED,
        reductions=reductions_table(measured),
        bins_table=bins_table(details),
    )
    return text, {"matrices.svg": matrices_figure(measured)}


def finding(measured: Measurement) -> str:
    """What changes between Many and Few, and Sect. 4's sentence by both readings."""
    sentences, verdicts = [], {}
    for protocol in reversed(PROTOCOLS):  # the words are those of `validated`
        verdicts = {
            claim.id: claim.verdict
            for claim in measured.claims
            if claim.protocol == protocol
        }
        if "not run" in (verdicts[_FORTH], verdicts[_BACK]):
            return "There are no Many and Few images to compare."
        forth, back = (
            in_unit(_change(measured, metric, protocol))
            for metric in ("many_to_few", "few_to_many")
        )
        sentences.insert(
            0,
            f"{UNDER[protocol]} DLSA changes Many taken for Few by {forth} of all "
            f"test images, and Few taken for Many by {back}.",
        )
    return (
        f"{' '.join(sentences)} That it “reduces the error of misclassifying head "
        f"classes to tail classes” is **{verdicts[_FORTH]}** if head images taken for "
        f"tail are meant, **{verdicts[_BACK]}** if tail images taken for head "
        "(validated)."
    )


def _change(measured: Measurement, metric: str, protocol: str) -> Cell:
    wanted = {"method": "full", "minus": "start", "protocol": protocol}
    return pick(measured.cells, metric=metric, **wanted)


def errors_table(measured: Measurement) -> str:
    """A row a kind of errors: its share without DLSA, and its change by DLSA."""
    header = ["Errors", "Without, %"]
    for name in PROTOCOL_NAMES.values():
        header += [f"{name}: change", "change of rate"]
    rows = []
    for metric, label in _kinds(measured).items():
        without = pick(measured.cells, metric=metric, method="start", minus=None)
        rows.append([label, shown(without)])
        for protocol in PROTOCOL_NAMES:
            for name in (metric, f"{metric}_rate"):
                rows[-1].append(emphasised(_change(measured, name, protocol)))
    return markdown_table(header, rows)


def _kinds(measured: Measurement) -> dict[str, str]:
    """Labels of the kinds of errors, in the order in which they were measured."""
    labels = measured.details["errors"]
    metrics = dict.fromkeys(cell.metric for cell in measured.cells)
    return {metric: labels[metric] for metric in metrics if metric in labels}


def reductions_table(measured: Measurement) -> str:
    """A row an area: what the smallest was chosen from."""
    labels = {f"{name}_per_cell": v for name, v in _kinds(measured).items()}
    labels |= {
        f"{name}_inside_minus_outside": f"inside minus outside: {words}"
        for name, words in READINGS.items()
    }
    cells = [cell for cell in measured.cells if cell.unit == PER_CELL]
    rows = []
    for metric in dict.fromkeys(cell.metric for cell in cells):
        both = (pick(cells, metric=metric, protocol=name) for name in PROTOCOLS)
        rows.append([labels[metric], *(shown(cell) for cell in both if cell)])
    header = ["Area", *(f"{name}: reduction" for name in PROTOCOL_NAMES.values())]
    return markdown_table(header, rows)


def bins_table(details: Mapping[str, Any]) -> str:
    """A row a bin: its classes' training images, its accuracy without and with."""
    header = ["Bin", "Training images of a class", "Without, %"]
    header += [f"{name}: with, %" for name in PROTOCOL_NAMES.values()]
    accuracy = [details["matrices"][protocol]["accuracy"] for protocol in PROTOCOLS]
    columns = [accuracy[0]["without"], *(of["with"] for of in accuracy)]
    rows = [
        [str(number), f"{counts['largest']} to {counts['smallest']}"]
        + [percent(value) for value in values]
        for number, (counts, *values) in enumerate(
            zip(details["bins"], *columns, strict=True), start=1
        )
    ]
    return markdown_table(header, rows, words=2)


def matrices_figure(measured: Measurement) -> str:
    """Fig. 1 once, Fig. 2 and 3 under both protocols, on common scales; the changes."""
    rates = {k: of["rates"] for k, of in measured.details["matrices"].items()}
    errors = {"Fig. 1: without DLSA": 100 * _array(rates["validated"]["without"])}
    changes = {}
    for protocol, name in PROTOCOL_NAMES.items():
        errors[f"Fig. 2: with, {name}"] = 100 * _array(rates[protocol]["with"])
        changes[f"Fig. 3: change, {name}"] = 100 * _array(rates[protocol]["difference"])
    top = max(float(np.nanmax(values, initial=0.0)) for values in errors.values())
    reach = max(np.nanmax(np.abs(values), initial=0.0) for values in changes.values())
    top, reach = top or 1.0, float(reach) or 1.0
    grey, both = _scale("Greys", 0, top), _scale("RdBu_r", -reach, reach)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(9.2, 7.2), layout="constrained")
        panels = figure.subplots(2, 3)
        for row, drawn, scale, unit in (
            (panels[0], errors, grey, "errors, % of the true bin's test images"),
            (panels[1, 1:], changes, both, "change, points (blue: fewer errors)"),
        ):
            for axes, (text, values) in zip(row, drawn.items(), strict=True):
                _draw_cells(axes, values, scale)
                _frame(axes, measured.details["bins"], text)
                axes.tick_params(labelleft=axes is row[0])
            row[0].set_ylabel("true class, by training images")
            bar = figure.colorbar(scale, ax=list(row), aspect=30, ticks=MaxNLocator(5))
            bar.minorticks_off()
            bar.set_label(unit)
            bar.outline.set_visible(False)
        _draw_changes(panels[1, 0], measured)
        handles, names = panels[1, 0].get_legend_handles_labels()
        for colour, line, words in _OUTLINES.values():
            handles.append(Rectangle((0, 0), 0, 0, fill=False, ec=colour, ls=line))
            names.append(words)
        figure.suptitle(_title(measured), **TITLE)
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9)
        return svg_text(figure)


def _draw_changes(axes: Axes, measured: Measurement) -> None:
    """Both kinds of errors, paired change under both protocols, in points."""
    kinds = {"many_to_few": "Many\nfor Few", "few_to_many": "Few\nfor Many"}
    for protocol, (shift, marker) in MARKS.items():
        rows = [
            (label, _change(measured, metric, protocol), "#000000")
            for metric, label in kinds.items()
        ]
        name = f"protocol: {PROTOCOL_NAMES[protocol]}"
        interval_panel(axes, rows, shift=shift, marker=marker, name=name)
    axes.set_title("Change, all images")
    axes.set_xlabel("points, 95 % intervals")


def _title(measured: Measurement) -> str:
    forth, back = (
        shown(_change(measured, metric, "validated"))
        for metric in ("many_to_few", "few_to_many")
    )
    return f"DLSA: Many taken for Few {forth}, Few for Many {back} points of all images"


def _scale(name: str, low: float, high: float) -> ScalarMappable:
    edges = np.linspace(low, high, _COLOURS + 1)
    colours = matplotlib.colormaps[name].resampled(_COLOURS)
    return ScalarMappable(BoundaryNorm(edges, _COLOURS), colours)


def _draw_cells(axes: Axes, values: np.ndarray, scale: ScalarMappable) -> None:
    """Draw a matrix, all cells of one colour as one shape: a smaller file."""
    level = np.clip(scale.norm(np.nan_to_num(values)), 0, _COLOURS - 1)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    for number in np.unique(level[~np.isnan(values)]):
        places = np.argwhere((level == number) & ~np.isnan(values))[:, ::-1]
        shape = Path.make_compound_path_from_polys(places[:, None] + square)
        colour = scale.cmap(int(number))
        axes.add_patch(PathPatch(shape, facecolor=colour, lw=0, antialiased=False))


def _frame(axes: Axes, bins: Sequence[Mapping[str, Any]], text: str) -> None:
    """Axes labelled with training images, most frequent first, and the areas."""
    size = len(bins)
    third = thirds(size)
    start = [int(np.searchsorted(third, number)) for number in range(4)]
    width = [start[number + 1] - start[number] for number in range(3)]
    for column, row, reading in ((2, 0, "rows"), (1, 1, "rows"), (0, 2, "columns")):
        colour, line, _ = _OUTLINES[reading]
        corner = start[column] + _INSET, start[row] + _INSET
        sides = width[column] - 2 * _INSET, width[row] - 2 * _INSET
        axes.add_patch(
            Rectangle(corner, *sides, fill=False, ec=colour, ls=line, lw=1.6)
        )
    edges = np.unique(np.linspace(0, size, 5).round().astype(int))
    counts = [
        str(bins[edge]["largest"] if edge < size else bins[-1]["smallest"])
        for edge in edges
    ]
    axes.set_xticks(edges, counts)
    axes.set_yticks(edges, counts)
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.set_aspect("equal")
    axes.set_facecolor("#d9d9d9")
    axes.set_xlabel("predicted class")
    axes.set_title(text)


def _array(values: Any) -> np.ndarray:
    """Numbers as read from JSON, where null stands for NaN."""
    return np.array(values, dtype=float)
