"""The page of sigma's selection: the sweep, both readings, its claims."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from replication.reporting.figures import DLSA_COLOUR, STYLE, svg_text
from replication.reporting.rendering import notice, render
from replication.reporting.tables import (
    METRIC_NAMES,
    claims_table,
    emphasised,
    markdown_table,
    percent,
    shown,
)
from replication.samples.shots import SHOT_GROUPS
from replication.sections.sigma.experiment import READINGS, point
from replication.statistics.results import Cell, Claim, Measurement, pick

_WHY = {
    "published": "published",
    "used": "in use",
    "squared": "squared distance 3",
    "distance": "distance 3",
    "tried": "tried",
}
_MARKS = {
    "published": ("#000000", ":"),
    "squared": ("#CC79A7", "-."),
    "distance": ("#009E73", "--"),
}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of Sect. 3 on one benchmark, and its figures by file name.

    Args:
        title: of the benchmark.
        folder: of the figures, as linked from the page.
    """
    data, details = measured.data, measured.details
    known = data["stand_in"] or _claim(measured, "best").grade == "paper's data"
    text = render(
        "sections/sigma/page.md.j2",
        notice=notice(data, title, None if known else "benchmarks"),
        stand_in=data["stand_in"],
        title=title,
        details=details,
        compared=_short(details["compared"]),
        finding=finding(measured),
        best=_best(details["best"]),
        accuracies=_accuracies_table(measured),
        readings=_readings_table(measured),
        free=claims_table([c for c in measured.claims if c.benchmark is None]),
        fits=claims_table([c for c in measured.claims if c.benchmark]),
        groups=_groups_table(measured),
        figures=folder,
    )
    return text, {"sweep.svg": sweep_figure(measured)}


def finding(measured: Measurement) -> str:
    """What the printed formula does, and what sigma is worth, in two sentences."""
    border, best = _claim(measured, "three_sigma_border"), _claim(measured, "best")
    sigmas, compared = _sigmas(measured), _short(measured.details["compared"])
    overall = [_accuracy(measured, sigma, "overall").mean for sigma in sigmas]
    moved = [
        cell.minus.removeprefix("sigma=")
        for cell in measured.cells
        if cell.minus and cell.verdict != "undecided"
    ]
    depends = "hardly depends" if not moved else "depends"
    shown_from = f"no σ is shown to differ from {compared}"
    if moved:
        shown_from = f"shown to differ from {compared}: {', '.join(moved)}"
    where = " on the stand-in" if measured.data["stand_in"] else ""
    return (
        f"The printed formula, σ = √(3 / 2D), takes the square of a distance for a "
        f"distance: it puts centres {border.mean:.2f} apart, not 3. Accuracy "
        f"{depends} on σ{where}: Overall lies between {percent(min(overall))} and "
        f"{percent(max(overall))} % for σ from {_short(sigmas[0])} to "
        f"{_short(sigmas[-1])}, and {shown_from}; that {compared} is the best "
        f"choice is **{best.verdict}**."
    )


def _best(best: Mapping[str, Any] | None) -> str:
    """What validation samples choose, in words."""
    if best is None:
        return "There is no validation split, so that no best σ is chosen."
    same = ", ".join(_short(sigma) for sigma in best["not_worse"])
    return (
        f"Validation accuracy chooses σ = {_short(best['sigma'])} "
        f"({percent(best['val'])} %; the same images also chose the classifiers' "
        f"epochs). On the test images, not shown to be worse than it: {same}."
    )


def _claim(measured: Measurement, name: str) -> Claim:
    return next(claim for claim in measured.claims if claim.id == name)


def _sigmas(measured: Measurement) -> list[float]:
    return [tried["sigma"] for tried in measured.details["sweep"]]


def _accuracy(
    measured: Measurement, sigma: float, metric: str, split: str = "test"
) -> Cell | None:
    at = f"{point(sigma)}, split={split}"
    return pick(measured.cells, at=at, metric=metric, minus=None)


def _filter(measured: Measurement, sigma: float, metric: str) -> Cell:
    return pick(measured.cells, at=point(sigma), metric=metric)


def _short(value: float) -> str:
    return f"{value:.3g}"


# ---- Tables -------------------------------------------------------------------------


def _accuracies_table(measured: Measurement) -> str:
    """A row a sigma: Overall with its interval, and the compared one minus it."""
    header = ["σ", "Why", "Overall, validation", "Overall, test"]
    header.append(f"σ = {_short(measured.details['compared'])} minus this, test")
    rows = []
    for tried in measured.details["sweep"]:
        sigma = tried["sigma"]
        row = [_short(sigma), ", ".join(_WHY[reason] for reason in tried["why"])]
        for split in ("val", "test"):
            cell = _accuracy(measured, sigma, "overall", split)
            row.append(shown(cell) if cell else "n/a")
        gap = pick(measured.cells, minus=point(sigma))
        rows.append([*row, emphasised(gap) if gap else "—"])
    return markdown_table(header, rows, words=2)


def _groups_table(measured: Measurement) -> str:
    """A row a sigma: accuracy of the shot groups, and what the first filter did."""
    header = ["σ", *(METRIC_NAMES[group] for group in SHOT_GROUPS)]
    rows = []
    for sigma in _sigmas(measured):
        cells = [_accuracy(measured, sigma, group) for group in SHOT_GROUPS]
        cells += [_filter(measured, sigma, m) for m in ("entropy", "out_of_reach")]
        rows.append([_short(sigma), *map(shown, cells)])
    return markdown_table([*header, "Entropy", "Out of reach"], rows)


def _readings_table(measured: Measurement) -> str:
    """A row a D: sigma under both readings and as used, and what follows."""
    header, rows = ["D"], []
    for label in READINGS.values():
        header += [f"σ, {label}", "its distance", "confused, %"]
    for size in measured.details["readings_at"]:
        row = [str(size)]
        for reading in READINGS:
            sigma, distance, confused = (
                pick(measured.cells, at=f"D={size}", method=reading, metric=metric)
                for metric in ("sigma", "distance", "confused")
            )
            low, high = distance.low, distance.high
            row += [f"{sigma.mean:.4f}", f"{distance.mean:.2f} [{low:.2f}, {high:.2f}]"]
            row += [percent(confused.mean)]
        rows.append(row)
    return markdown_table(header, rows)


# ---- Figure -------------------------------------------------------------------------


def sweep_figure(measured: Measurement) -> str:
    """Over sigma: how far clusters overlap, and what accuracy the cascade reaches."""
    sigmas, sweep = _sigmas(measured), measured.details["sweep"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        cells = [_filter(measured, sigma, "entropy") for sigma in sigmas]
        seeds = 100 * np.array([cell.per_seed for cell in cells], dtype=float)
        left.plot(sigmas, seeds, ".", color="#000000", markersize=4, alpha=0.6)
        left.plot(sigmas, seeds.mean(1), color="#000000", linewidth=1.4)
        left.set_ylim(0, 102)
        left.set_ylabel("entropy of the cluster posterior / log K, %")
        left.set_title("How much the clusters overlap (100 %: wholly)")
        for split, words, colour, marker in (
            ("test", "test", DLSA_COLOUR, "o"),
            ("val", "validation", "#777777", "s"),
        ):
            cells = [_accuracy(measured, sigma, "overall", split) for sigma in sigmas]
            style = {"color": colour, "marker": marker, "label": f"Overall, {words}"}
            if None not in cells:
                _intervals(right, sigmas, cells, style)
        right.set_ylim(bottom=0)
        right.set_ylabel("Overall, %, with 95 % interval")
        right.set_title("What the cascade reaches")
        for axis in (left, right):
            for mark, (colour, style) in _MARKS.items():
                place = next(t["sigma"] for t in sweep if mark in t["why"])
                label = f"σ = {place:.3g}, {_WHY[mark]}" if axis is left else None
                axis.axvline(place, color=colour, linestyle=style, lw=1.3, label=label)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_xlabel("σ (log scale)")
        figure.legend(loc="outside lower center", ncols=5, fontsize=8)
        return svg_text(figure)


def _intervals(
    axis: Axes, sigmas: Sequence[float], cells: Sequence[Cell], style: Mapping[str, Any]
) -> None:
    mean, low, high = (
        100 * np.array([getattr(cell, end) for cell in cells], dtype=float)
        for end in ("mean", "low", "high")
    )
    reach = [mean - low, high - mean]
    axis.errorbar(sigmas, mean, yerr=reach, markersize=4, linewidth=1.2, **style)
