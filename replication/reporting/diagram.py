"""README's picture of DLSA: what a sample passes until it is decided."""

from itertools import pairwise

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from replication.reporting.figures import DLSA_COLOUR, STYLE, svg_text

_CLASSIFIER, _SAMPLES = "#D55E00", "#444444"
_WIDTH, _HEIGHT = 2.15, 0.95


def diagram() -> str:
    """DLSA at depth 2 as SVG text."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.1), layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.set(xlim=(-1.1, 10.7), ylim=(-2.35, 0.95), aspect="equal")
        axes.axis("off")
        middles = (0.0, 3.4, 6.8)
        _box(axes, middles[0], 0, "features x\nof a trained network", _SAMPLES)
        for number, middle in enumerate(middles[1:], start=1):
            _box(
                axes, middle, 0, f"Flow Filter {number}\nlog P(x) of each", DLSA_COLOUR
            )
            _box(axes, middle, -1.8, "cluster-aided\nclassifier", _CLASSIFIER)
            _arrow(axes, (middle, -0.5), (middle, -1.3))
            axes.text(middle + 0.1, -0.9, "the likeliest 30 %\nleave", va="center")
        _box(axes, 9.6, -1.8, "plain\nclassifier", _CLASSIFIER)
        for left, right in pairwise(middles):
            _arrow(axes, (left + 1.1, 0), (right - 1.1, 0))
        _arrow(axes, (6.8 + 1.1, 0), (9.6, 0), head=False)
        _arrow(axes, (9.6, 0), (9.6, -1.3))
        axes.text(5.1, 0.12, "the rest", ha="center")
        axes.text(8.8, 0.12, "the rest", ha="center")
        words = "each sample is\ndecided once,\nby one of these"
        axes.text(-1.07, -1.8, words, va="center")
        return svg_text(figure)


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    corner = x - _WIDTH / 2, y - _HEIGHT / 2
    style = {"boxstyle": "round,pad=0,rounding_size=0.12", "linewidth": 1.6}
    box = FancyBboxPatch(
        corner, _WIDTH, _HEIGHT, facecolor="white", edgecolor=colour, **style
    )
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center")


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], head: bool = True
) -> None:
    style = "-|>" if head else "-"
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": style, "color": _SAMPLES, "lw": 1.3}
    )
