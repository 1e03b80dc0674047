"""The page of sigma's selection: distances, both readings, the sweep, its claims."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from replication.flow_filter.centres import THREE
from replication.reporting.figures import COLOURS, STYLE, svg_text
from replication.reporting.rendering import notice, render
from replication.reporting.tables import (
    METRIC_NAMES,
    claims_table,
    emphasised,
    markdown_table,
    percent,
    shown,
)
from replication.sections.sigma.experiment import (
    READINGS,
    point,
)
from replication.statistics.results import Cell, Claim, Measurement, pick

_WHY = {
    "published": "published",
    "used": "in use",
    "squared": "squared distance 3",
    "distance": "distance 3",
    "tried": "tried",
}
_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_MARKS = {
    "published": ("#000000", ":"),
    "squared": ("#CC79A7", "-."),
    "distance": ("#009E73", "--"),
}
_DIAGNOSTICS = {
    "entropy": "Posterior entropy / log K, %",
    "out_of_reach": "Out of reach, %",
    "empty_clusters": "Empty",
    "pure_clusters": "Pure",
    "purity": "Purity, %",
    "log_likelihood": "log P(x)",
    "auroc_tail": "AUROC Few/Many",
    "leaving": "Leave, %",
    "leaving_many": "Many leave, %",
    "leaving_medium": "Medium leave, %",
    "leaving_few": "Few leave, %",
}
_TICKS = np.outer([0.001, 0.01, 0.1, 1, 10, 100], [1, 2, 5]).ravel()


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of Sect. 3 on one benchmark, and its figures by file name.

    Args:
        title: of the benchmark.
        folder: of the figures, as linked from the page.
    """
    data, details = measured.data, measured.details
    known = data["stand_in"] or _claim(measured, "best").grade == "paper's data"
    figures = {
        "sweep.svg": sweep_figure(measured),
        "distances.svg": distances_figure(measured),
    }
    text = render(
        "sections/sigma/page.md.j2",
        notice=notice(data, title, None if known else "benchmarks"),
        stand_in=data["stand_in"],
        title=title,
        details=details,
        held_out=_SPLITS[details["held_out"]],
        finding=finding(measured),
        best=_best(details["best"]),
        readings=_readings_table(measured),
        accuracies=_accuracies_table(measured),
        diagnostics=_diagnostics_table(measured),
        free=claims_table([c for c in measured.claims if c.benchmark is None]),
        fits=claims_table([c for c in measured.claims if c.benchmark]),
        figures=folder,
    )
    return text, figures


def finding(measured: Measurement) -> str:
    """What the printed formula does, and what sigma is worth, in two sentences."""
    border, best = _claim(measured, "three_sigma_border"), _claim(measured, "best")
    sigmas, published = _sigmas(measured), measured.details["published"]
    overall = [_accuracy(measured, sigma, "overall").mean for sigma in sigmas]
    moved = [
        cell.minus.removeprefix("sigma=")
        for cell in measured.cells
        if cell.minus and cell.verdict != "undecided"
    ]
    depends = "hardly depends" if not moved else "depends"
    shown_from = f"no σ is shown to differ from {published:g}"
    if moved:
        shown_from = f"shown to differ from {published:g}: {', '.join(moved)}"
    where = " on the stand-in" if measured.data["stand_in"] else ""
    return (
        f"The printed formula, σ = √(3 / 2D), takes the square of a distance for a "
        f"distance: it puts centres {border.mean:.2f} apart, not 3. Accuracy "
        f"{depends} on σ{where}: Overall lies between {percent(min(overall))} and "
        f"{percent(max(overall))} % for σ from {_short(sigmas[0])} to "
        f"{_short(sigmas[-1])}, and {shown_from}; that {published:g} is the best "
        f"choice is **{best.verdict}**."
    )


# ---- Looking things up --------------------------------------------------------------


def _claim(measured: Measurement, name: str) -> Claim:
    return next(claim for claim in measured.claims if claim.id == name)


def _sigmas(measured: Measurement) -> list[float]:
    return [tried["sigma"] for tried in measured.details["sweep"]]


def _accuracy(
    measured: Measurement, sigma: float, metric: str, split: str = "test"
) -> Cell | None:
    at = f"{point(sigma)}, split={split}"
    return pick(measured.cells, at=at, metric=metric, minus=None)


def _marked(measured: Measurement) -> dict[str, float]:
    """The sigmas that a line marks: published, and both readings."""
    sweep = measured.details["sweep"]
    return {
        mark: next(tried["sigma"] for tried in sweep if mark in tried["why"])
        for mark in _MARKS
    }


# ---- Tables -------------------------------------------------------------------------


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


def _accuracies_table(measured: Measurement) -> str:
    """A row a sigma: accuracies with intervals, and published minus it."""
    metrics = [m for m in METRIC_NAMES if _accuracy(measured, _sigmas(measured)[0], m)]
    header = ["σ", "Why", "Overall, validation"]
    header += [f"{METRIC_NAMES[metric]}, test" for metric in metrics]
    header.append(f"σ = {measured.details['published']:g} minus this, Overall, test")
    rows = []
    for tried in measured.details["sweep"]:
        sigma = tried["sigma"]
        cells = [_accuracy(measured, sigma, "overall", "val")]
        cells += [_accuracy(measured, sigma, metric) for metric in metrics]
        gap = pick(measured.cells, minus=point(sigma))
        row = [_short(sigma), ", ".join(_WHY[reason] for reason in tried["why"])]
        row += [shown(cell) if cell else "n/a" for cell in cells]
        rows.append([*row, emphasised(gap) if gap else "—"])
    return markdown_table(header, rows, words=2)


def _diagnostics_table(measured: Measurement) -> str:
    """A row a sigma: what the first filter did, means over seeds."""
    rows = [
        [_short(sigma)]
        + [shown(pick(measured.cells, at=point(sigma), metric=m)) for m in _DIAGNOSTICS]
        for sigma in _sigmas(measured)
    ]
    return markdown_table(["σ", *_DIAGNOSTICS.values()], rows)


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


def _short(value: float, digits: int = 3) -> str:
    """Significant digits, without an exponent."""
    return np.format_float_positional(
        value, precision=digits, unique=False, fractional=False, trim="-"
    )


# ---- Figures ------------------------------------------------------------------------


def distances_figure(measured: Measurement) -> str:
    """Distances of two centres over sigma, in theory and as drawn."""
    records = measured.details["distances"]
    sigma = np.array(_sigmas(measured))
    fine = np.geomspace(sigma.min() / 1.2, sigma.max() * 1.2, 100)
    # The distance is sigma times what it is at sigma = 1: a line, and a band.
    low, mean, high = (
        fine * records[0]["theory"][end] / sigma[0] for end in ("low", "mean", "high")
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.9), layout="constrained")
        axis = figure.subplots()
        blue = {"color": COLOURS["full"]}
        band = "95 % of pairs, theory"
        axis.fill_between(fine, low, high, alpha=0.2, lw=0, label=band, **blue)
        axis.plot(fine, mean, label="mean, Eq. 5", **blue)
        _drawn(axis, sigma, records, measured.details["draws"])
        lines = {"distance 3": (THREE, "-"), "squared distance 3": (THREE**0.5, ":")}
        for label, (place, style) in lines.items():
            axis.axhline(place, color="#D55E00", lw=1.2, linestyle=style, label=label)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        _sigma_axis(axis, sigma)
        axis.set_ylabel("distance of two centres")
        axis.set_title(
            f"Centres lie as Eq. 5 says, D = {measured.details['dimensions']}"
        )
        figure.legend(loc="outside right center", fontsize=8)
        return svg_text(figure)


def _drawn(
    axis: Axes, sigma: np.ndarray, records: Sequence[Mapping[str, Any]], draws: int
) -> None:
    mean, low, high = (
        np.array([record["drawn"][end] for record in records])
        for end in ("mean", "low", "high")
    )
    axis.errorbar(
        sigma,
        mean,
        yerr=[mean - low, high - mean],
        fmt="o",
        color="#000000",
        markersize=4,
        linewidth=1.2,
        label=f"mean and 95 % of {draws} drawn pairs",
    )


def sweep_figure(measured: Measurement) -> str:
    """Over sigma: how sure the clusters are, and what accuracy the cascade reaches."""
    sigma = np.array(_sigmas(measured))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        cells = [pick(measured.cells, at=point(s), metric="entropy") for s in sigma]
        seeds = 100 * np.array([cell.per_seed for cell in cells], dtype=float)
        left.plot(sigma, seeds, ".", color="#000000", markersize=4, alpha=0.6)
        mean = 100 * np.array([cell.mean for cell in cells], dtype=float)
        left.plot(sigma, mean, color="#000000", linewidth=1.4)
        left.set_ylim(0, 102)
        left.set_ylabel("entropy of the cluster posterior / log K, %")
        left.set_title("How much the clusters overlap (100 %: wholly)")
        _accuracy_panel(right, measured, sigma)
        for axis in (left, right):
            for mark, place in _marked(measured).items():
                colour, style = _MARKS[mark]
                label = f"σ = {place:.3g}, {_WHY[mark]}" if axis is left else None
                axis.axvline(
                    place, color=colour, linestyle=style, lw=1.3, zorder=0.5,
                    label=label,
                )  # fmt: skip
            _sigma_axis(axis, sigma)
        figure.legend(loc="outside lower center", ncols=5, fontsize=8)
        return svg_text(figure)


def _accuracy_panel(axis: Axes, measured: Measurement, sigma: np.ndarray) -> None:
    shown_splits = (("test", COLOURS["full"], "o", 0.97), ("val", "#777777", "s", 1.03))
    for split, colour, marker, shift in shown_splits:
        cells = [_accuracy(measured, s, "overall", split) for s in sigma]
        if None in cells:
            continue
        mean, low, high = (
            100 * np.array([getattr(cell, end) for cell in cells], dtype=float)
            for end in ("mean", "low", "high")
        )
        axis.errorbar(
            shift * sigma,
            mean,
            yerr=[mean - low, high - mean],
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            label=f"Overall, {_SPLITS[split]}",
        )
    axis.set_ylim(bottom=0)
    axis.set_ylabel("Overall, %, with 95 % interval")
    axis.set_title("What the cascade reaches")


def _sigma_axis(axis: Axes, sigma: np.ndarray) -> None:
    low, high = sigma.min() / 1.25, sigma.max() * 1.25
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    inside = (low <= _TICKS) & (high >= _TICKS)
    axis.xaxis.set_major_locator(FixedLocator(_TICKS[inside]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("σ")
