"""The page on the confusion matrices of Sect. 4."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from replication.reporting.figures import STYLE, finished, paired_panel, panels
from replication.reporting.rendering import HEADS, covered, section_page
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    claims_table,
    does,
    entry,
    in_unit,
    markdown_table,
    protocol_headings,
    seen,
    under_protocols,
)
from replication.sections.confusion.experiment import (
    WITH,
    WITHOUT,
    thirds,
)
from replication.statistics.results import Measurement, pick

OF_PAPER = "ImageNet-LT with a ResNet-50"
# What is outlined: colour, line, and in words.
_OUTLINES = {
    "rows": ("#000000", "-", "right top and middle, true classes as rows"),
    "columns": ("#009E73", (0, (3, 2)), "right top, true classes as columns"),
}
_FORTH, _BACK = "many_to_few", "few_to_many"
_CHANGE = {"method": WITH, "minus": WITHOUT}
_INSET = 0.12  # of an outline, so that two that meet at a corner do not overlap
_COLOURS = 21  # few enough to be told apart; odd, so that 0 has its own


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Sect. 4 on one benchmark: Markdown, and its figure by file name."""
    details = measured.details
    text = section_page(
        measured,
        title,
        None if measured.benchmark == "imagenet_lt" else OF_PAPER,
        finding=finding(measured),
        figures=folder,
        start=HEADS[measured.about["start"]],
        covered=covered(details["seeds"]),
        bins=len(details["bins"]),
        errors=_errors_table(measured),
        claims=claims_table(measured.claims),
        seen=seen([c for c in measured.claims if c.id.startswith("fewer_")]),
    )
    return text, {"matrices.svg": matrices_figure(measured)}


def finding(measured: Measurement) -> str:
    """What changes between Many and Few, and Sect. 4's sentence by both readings."""
    parts = []
    for metric, words in (
        (_FORTH, "Many-shot images taken for Few-shot classes"),
        (_BACK, "Few-shot images taken for Many-shot classes"),
    ):
        of = [claim for claim in measured.claims if claim.id == f"fewer_{metric}"]
        if any(claim.verdict == "not run" for claim in of):
            return "There are no Many and Few images to compare."
        changes = under_protocols(measured.cells, in_unit, metric=metric, **_CHANGE)
        named = zip(changes, PROTOCOL_NAMES.values(), strict=True)
        said = ", ".join(f"{change} *{name}*" for change, name in named)
        effect = does(pick(of, protocol="validated"), "reduce", "increase")
        parts.append(f"{words}: DLSA {effect} them ({said}).")
    return (
        f"{' '.join(parts)} Points are of all test images. Both are readings of "
        "Sect. 4: DLSA “reduces the error of misclassifying head classes to tail "
        "classes”."
    )


# ---- Tables -------------------------------------------------------------------------


def _errors_table(measured: Measurement) -> str:
    """A row a kind of errors: its share without DLSA, and its change by DLSA."""
    cells, labels = measured.cells, measured.details["errors"]
    rows = [
        [
            labels[metric],
            entry(cells, metric=metric, method=WITHOUT, minus=None),
            *under_protocols(cells, metric=metric, **_CHANGE),
        ]
        for metric in dict.fromkeys(cell.metric for cell in cells)
        if metric in labels
    ]
    header = ["Errors", "Without DLSA, %", *protocol_headings("Change")]
    return markdown_table(header, rows)


# ---- Figure -------------------------------------------------------------------------


@matplotlib.rc_context(STYLE | {"axes.grid": False})
def matrices_figure(measured: Measurement) -> str:
    """Fig. 1 once, Fig. 2 and 3 under both protocols, on common scales; the changes."""
    rates = measured.details["matrices"]
    errors = {"Fig. 1: without DLSA": rates["validated"]["without"]}
    changes = {}
    for protocol, name in PROTOCOL_NAMES.items():
        errors[f"Fig. 2: {name}"] = rates[protocol]["with"]
        changes[f"Fig. 3: {name}"] = rates[protocol]["difference"]
    drawn = panels(6.0, 2, 3)
    top, reach = _largest(errors), _largest(changes)
    for of, axes, scale, unit in (
        (errors, drawn[:3], _scale("Greys", 0, top), "errors, % of the true bin"),
        (changes, drawn[4:], _scale("RdBu_r", -reach, reach), "change, points"),
    ):
        for axis, (text, values) in zip(axes, of.items(), strict=True):
            _draw_cells(axis, 100 * np.array(values, dtype=float), scale)
            _frame(axis, measured.details["bins"], text)
            axis.tick_params(labelleft=axis is axes[0])
        axes[0].set_ylabel("true class, by training images")
        bar = axes[0].figure.colorbar(
            scale, ax=list(axes), aspect=25, ticks=MaxNLocator(5)
        )
        bar.minorticks_off()
        bar.set_label(unit)
        bar.outline.set_visible(False)
    kinds = {_FORTH: "Many\nfor Few", _BACK: "Few\nfor Many"}
    gaps = [cell for cell in measured.cells if cell.minus == "start"]
    paired_panel(drawn[3], gaps, "metric", kinds, "Change, of all test images")
    for colour, line, words in _OUTLINES.values():
        drawn[3].plot([], [], color=colour, ls=line, label=words)
    return finished(drawn[0].figure, _title(measured), columns=2)


def _largest(matrices: Mapping[str, Any]) -> float:
    """The largest entry in percent, either way; 1 where all are 0."""
    values = np.array([*matrices.values()], dtype=float)
    return 100 * float(np.nanmax(np.abs(values), initial=0.0)) or 1.0


def _title(measured: Measurement) -> str:
    """What is found of both kinds of errors, protocol *validated*."""
    kinds = {_FORTH: "Many taken for Few", _BACK: "Few taken for Many"}
    found: dict[str, list[str]] = {}
    for metric, words in kinds.items():
        claim = pick(measured.claims, id=f"fewer_{metric}", protocol="validated")
        found.setdefault(does(claim, "reduce", "increase"), []).append(words)
    parts = (f"{effect} {' and '.join(of)}" for effect, of in found.items())
    return f"DLSA {', '.join(parts)} (validated)"


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
    start = np.searchsorted(thirds(size), range(4))
    for column, row, reading in ((2, 0, "rows"), (1, 1, "rows"), (0, 2, "columns")):
        colour, line, _ = _OUTLINES[reading]
        corner = start[[column, row]] + _INSET
        width, height = start[[column + 1, row + 1]] - start[[column, row]] - 2 * _INSET
        style = {"fill": False, "ec": colour, "ls": line, "lw": 1.6}
        axes.add_patch(Rectangle(corner, width, height, **style))
    edges = np.unique(np.linspace(0, size, 5).round().astype(int))
    counts = [
        str(bins[edge]["largest"] if edge < size else bins[-1]["smallest"])
        for edge in edges
    ]
    axes.set_xticks(edges, counts)
    axes.set_yticks(edges, counts)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", facecolor="#d9d9d9")
    axes.set_xlabel("predicted class")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(text)
