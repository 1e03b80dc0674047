"""Figures: data in, SVG text out; the same data gives the same bytes."""

import io
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.reporting.tables import PROTOCOL_NAMES
from replication.statistics.results import Cell, pick

# Okabe and Ito's palette: told apart without colour vision, and in grey by markers.
DLSA_COLOUR = "#0072B2"
GROUP_COLOURS = {"many": "#0072B2", "medium": "#E69F00", "few": "#D55E00"}
# Of a protocol: how far its marks are shifted, in rows; marker and colour.
MARKS = {"validated": (-0.15, "o", DLSA_COLOUR), "as_released": (0.15, "s", "#D55E00")}
WIDTH = 7.3  # inches: 700 pixels on a page
_TITLE_LETTERS = 78  # a line of a title at that width
_PRINTED = {
    "marker": "D",
    "markersize": 5,
    "color": "#444444",
    "markerfacecolor": "none",
    "linestyle": "none",
}
# Text stays text, so that a reader can search a figure.
STYLE = {
    "svg.hashsalt": "replication",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}
styled = matplotlib.rc_context(STYLE)  # decorates what draws


def panels(height: float, down: int, across: int, **options: object) -> Sequence[Axes]:
    """The panels of a new figure of the width of a page, row by row."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    return figure.subplots(down, across, squeeze=False, **options).ravel()


def paired_panel(
    axes: Axes, cells: Sequence[Cell], by: str, labels: Mapping[str, str], title: str
) -> None:
    """Paired differences in points under both protocols, print's as a diamond.

    A row a value of the field `by`, in the order of the `labels`.
    """
    for protocol, (shift, marker, colour) in MARKS.items():
        rows = [
            (label, pick(cells, protocol=protocol, **{by: value}), colour)
            for value, label in labels.items()
        ]
        name, printed = PROTOCOL_NAMES[protocol], protocol == "validated"
        interval_panel(axes, rows, printed, shift, marker, f"protocol: {name}")
    axes.set_title(title)
    axes.set_xlabel("points")


def interval_panel(
    axes: Axes,
    rows: Sequence[tuple[str, Cell | None, str]],
    printed: bool = False,
    shift: float = 0.0,
    marker: str = "o",
    name: str | None = None,
) -> None:
    """Estimates with their 95 % intervals, one below the other, in percent or points.

    Call it once a protocol, with another `shift` and `marker`, to draw both in one
    panel. Differences get a line at 0.

    Args:
        rows: label, Cell in fractions, colour; a row whose Cell is None stays empty.
        printed: draw print's numbers as diamonds, where the Cells have some.
        shift: of the marks, in rows.
        name: of the estimates in a legend; None: none.
    """
    for place, (_, cell, colour) in enumerate(rows):
        if cell is None or cell.mean is None:
            continue
        ends = [cell.mean if end is None else end for end in (cell.low, cell.high)]
        reach = [[100 * (cell.mean - ends[0])], [100 * (ends[1] - cell.mean)]]
        axes.errorbar(
            100 * cell.mean,
            place + shift,
            xerr=reach,
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=1.4,
        )
        if printed and cell.printed is not None:
            axes.plot(100 * cell.printed, place + shift, **_PRINTED)
    cells = [cell for _, cell, _ in rows if cell is not None]
    if any(cell.minus is not None for cell in cells):
        axes.axvline(0, color="#444444", linewidth=0.8)
    if name is not None:
        axes.plot([], [], marker, color=rows[0][2], label=name)
    if printed and any(cell.printed is not None for cell in cells):
        axes.plot([], [], label="printed", **_PRINTED)
    axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def finished(figure: Figure, title: str, columns: int = 3) -> str:
    """A figure as SVG text, with what it shows as its title, and one legend."""
    legend = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        legend = dict(zip(names, handles, strict=True)) | legend
    if legend:
        figure.legend(
            legend.values(), legend, loc="outside lower center", ncols=columns
        )
    lines = [textwrap.fill(line, _TITLE_LETTERS) for line in title.splitlines()]
    style = {"fontsize": 10.5, "fontweight": "bold"}
    figure.suptitle("\n".join(lines), x=0.01, ha="left", **style)
    return svg_text(figure)


def svg_text(figure: Figure) -> str:
    """A figure as SVG text; the same figure gives the same bytes."""
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
