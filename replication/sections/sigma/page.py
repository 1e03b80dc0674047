"""The page of sigma's selection: distances, both readings, the sweep, its claims."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from scipy import stats

from replication.reporting.figures import COLOURS, GROUP_COLOURS, STYLE, svg_text
from replication.reporting.rendering import notice, origin, render
from replication.reporting.tables import (
    METRIC_NAMES,
    markdown_table,
    percent,
    points,
    with_interval,
)

# Those that the paper works with; Sect. 3 does not say on which of them it chose.
PAPER_BENCHMARKS = ("imagenet_lt", "places_lt", "inat18")
REASONS = {
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
_TICKS = np.outer([0.001, 0.01, 0.1, 1, 10, 100], [1, 2, 5]).ravel()
_THREE = 3.0


def sigma_page(
    measured: Mapping[str, Any], title: str, figures_folder: str
) -> tuple[str, dict[str, str]]:
    """The page of Sect. 3 on one benchmark.

    Args:
        measured: what the stage `sigma` wrote, with `runs`, the run records.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The page, and its figures by file name.
    """
    data, sweep, settings = measured["data"], measured["sweep"], measured["settings"]
    drawn = {
        "distances.svg": distances_figure(measured["distances"], sweep),
        "sweep.svg": sweep_figure(sweep),
    }
    known = data["stand_in"] or data["benchmark"] in PAPER_BENCHMARKS
    page = render(
        "sections/sigma/page.md.j2",
        notice=notice(data, title, None if known else "benchmarks"),
        stand_in=data["stand_in"],
        title=title,
        settings=settings,
        draws=measured["distances"][0]["draws"],
        held_out=_SPLITS[sweep[0]["held_out"]],
        has_validation=measured["best"] is not None,
        summary=summarise_sigma(measured),
        readings=readings_table(measured["readings"], settings["published"]),
        distances=distances_table(measured["distances"]),
        accuracies=accuracies_table(sweep),
        diagnostics=diagnostics_table(sweep),
        claims=claims_table(measured["claims"]),
        figures=figures_folder,
        origin=origin(
            data["hash"], f"dvc repro sigma@{measured['benchmark']}", measured["runs"]
        ),
    )
    return page, drawn


def summarise_sigma(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    settings, best = measured["settings"], measured["best"]
    sigma, size = settings["published"], settings["dimensions"]
    parts = []
    for row in measured["readings"]:
        squared, distance, used = (
            row[name] for name in ("squared", "distance", "used")
        )
        here = ", the features here" if row["dimensions"] == size else ""
        parts.append(
            f"At D = {row['dimensions']}{here}, the printed formula gives σ = "
            f"{squared['sigma']:.4f}, with centres {squared['mean']:.2f} apart; a "
            f"distance of 3 needs {distance['sigma']:.4f}; σ = {sigma:g} puts them "
            f"{used['mean']:.2f} apart."
        )
    at = next(one for one in measured["sweep"] if one["sigma"] == sigma)
    entropy = at["measures"]["entropy"]["mean"]
    parts.append(
        f"Fitted with σ = {sigma:g}, the filter's cluster posterior has "
        f"{percent(entropy)} % of the entropy of a uniform one."
    )
    if best is None:
        parts.append("There is no validation split, so that no best σ is chosen.")
    else:
        same = ", ".join(_sigma(one) for one in best["not_worse"])
        parts.append(
            f"Validation accuracy chooses σ = {_sigma(best['sigma'])} "
            f"({percent(best['val'])} %); on the test images, not shown to be worse "
            f"than it: {same}."
        )
    claim = measured["claims"][-1]
    on = " on the stand-in" if measured["data"]["stand_in"] else ""
    parts.append(f"That σ = {sigma:g} is the best choice is **{claim['verdict']}**{on}")
    return " ".join(parts) + "."


# ---- Tables -----------------------------------------------------------------------


def readings_table(readings: Sequence[Mapping[str, Any]], sigma: float) -> str:
    """A row a D: sigma under both readings, and the distances that follow."""
    header = [
        "D",
        "σ, squared distance 3 (as printed)",
        "its distance",
        "confused, %",
        "σ, distance 3",
        "its distance",
        "confused, %",
        f"distance at σ = {sigma:g}",
        "squared",
        "confused, %",
    ]
    rows = []
    for row in readings:
        squared, distance, used = (
            row[name] for name in ("squared", "distance", "used")
        )
        cells = [str(row["dimensions"])]
        for one in (squared, distance):
            cells += [f"{one['sigma']:.4f}", _range(one), percent(one["confused"])]
        cells += [
            _range(used),
            f"{used['mean_square']:.2f}",
            percent(used["confused"]),
        ]
        rows.append(cells)
    return markdown_table(header, rows)


def distances_table(distances: Sequence[Mapping[str, Any]]) -> str:
    """A row a sigma: distances in theory and as drawn, with Monte-Carlo errors."""
    header = [
        "σ",
        "2 D σ²",
        "mean square, drawn",
        "mean, theory",
        "mean, drawn",
        "95 % of pairs, theory",
        "95 % of pairs, drawn",
    ]
    rows = []
    for one in distances:
        theory, drawn, error = one["theory"], one["drawn"], one["error"]
        ends = [
            f"{_short(drawn[name])} ± {_short(error[name], 1)}"
            for name in ("low", "high")
        ]
        rows.append(
            [
                _sigma(one["sigma"]),
                _short(theory["mean_square"]),
                f"{_short(drawn['mean_square'])} ± {_short(error['mean_square'], 1)}",
                _short(theory["mean"]),
                f"{_short(drawn['mean'])} ± {_short(error['mean'], 1)}",
                f"{_short(theory['low'])} to {_short(theory['high'])}",
                " to ".join(ends),
            ]
        )
    return markdown_table(header, rows)


def accuracies_table(sweep: Sequence[Mapping[str, Any]]) -> str:
    """A row a sigma: accuracies with intervals, and published minus it."""
    metrics = [name for name in METRIC_NAMES if name in sweep[0]["accuracy"]["test"]]
    header = ["σ", "Why", "Overall, validation"]
    header += [f"{METRIC_NAMES[metric]}, test" for metric in metrics]
    header.append("Published σ minus this, Overall, test (simultaneous)")
    rows = []
    for one in sweep:
        val, test = one["accuracy"]["val"], one["accuracy"]["test"]
        gap = one["published_minus"]
        rows.append(
            [
                _sigma(one["sigma"]),
                ", ".join(REASONS[reason] for reason in one["reasons"]),
                _interval(val["overall"], "value") if val else "n/a",
                *(_interval(test[metric], "value") for metric in metrics),
                _interval(gap, "difference") if gap else "—",
            ]
        )
    return markdown_table(header, rows)


def diagnostics_table(sweep: Sequence[Mapping[str, Any]]) -> str:
    """A row a sigma: what the first filter did, means over seeds."""
    header = [
        "σ",
        "Posterior entropy / log K, %",
        "Out of reach, %",
        "Empty clusters",
        "Pure clusters",
        "Purity, %",
        f"log P(x), {_SPLITS[sweep[0]['held_out']]}",
        "AUROC Few/Many",
        "Leave, %",
        "Many leave, %",
        "Medium leave, %",
        "Few leave, %",
    ]
    rows = []
    for one in sweep:
        mean = {name: found["mean"] for name, found in one["measures"].items()}
        rows.append(
            [
                _sigma(one["sigma"]),
                percent(mean["entropy"]),
                percent(mean["out_of_reach"]),
                _plain(mean["empty_clusters"], 0),
                _plain(mean["pure_clusters"], 1),
                percent(mean["purity"]),
                _plain(mean["log_likelihood"], 1),
                _plain(mean["auroc_tail"], 2),
                percent(mean["leaving"], 0),
                *(percent(mean[f"leaving_{name}"], 0) for name in GROUP_COLOURS),
            ]
        )
    return markdown_table(header, rows)


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """A row a sentence: its test, the estimate, its interval, the verdict."""
    header = ["Sentence", "Test", "Estimate", "Interval", "Verdict"]
    rows = [
        [
            claim["sentence"],
            claim["test"],
            _shown(claim["mean"], claim["kind"]),
            _claim_interval(claim),
            claim["verdict"],
        ]
        for claim in claims
    ]
    return markdown_table(header, rows, words=2)


def _claim_interval(claim: Mapping[str, Any]) -> str:
    if claim["low"] is None or claim["high"] is None:
        return "exact" if claim["kind"] == "exact" else "n/a"
    low, high = (_shown(claim[end], claim["kind"]) for end in ("low", "high"))
    before = {"trend": "by chance ", "exact": "in theory "}.get(claim["kind"], "")
    return f"{before}[{low}, {high}]"


def _shown(value: float | None, kind: str) -> str:
    if kind == "difference":
        return points(value)
    if kind == "trend":
        return _plain(value, 2, sign=True)
    return _plain(value, 4)


def _interval(record: Mapping[str, Any], kind: str) -> str:
    return with_interval({**record, "kind": kind})


def _range(one: Mapping[str, float]) -> str:
    return f"{one['mean']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"


def _sigma(sigma: float) -> str:
    return f"{sigma:.3g}"


def _short(value: float, digits: int = 4) -> str:
    """Significant digits, without an exponent."""
    return np.format_float_positional(
        value, precision=digits, unique=False, fractional=False, trim="-"
    )


def _plain(value: float | None, digits: int, sign: bool = False) -> str:
    if value is None or np.isnan(value):
        return "n/a"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


# ---- Figures ----------------------------------------------------------------------


def distances_figure(
    distances: Sequence[Mapping[str, Any]], sweep: Sequence[Mapping[str, Any]]
) -> str:
    """Distances of two centres: at the published sigma, and over sigma.

    Args:
        distances: of every sigma of the sweep; sweep: says which is the published one.
    """
    marks = _marked(sweep)
    at = next(one for one in distances if one["sigma"] == marks["published"])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _histogram(left, at)
        sigma = np.array([one["sigma"] for one in distances])
        fine = np.geomspace(sigma.min() / 1.2, sigma.max() * 1.2, 100)
        # The distance is sigma times what it is at sigma = 1: a line, and a band.
        unit = {
            name: at["theory"][name] / at["sigma"] for name in ("low", "mean", "high")
        }
        right.fill_between(
            fine,
            fine * unit["low"],
            fine * unit["high"],
            color=COLOURS["full"],
            alpha=0.2,
            lw=0,
            label="95 % of pairs, theory",
        )
        right.plot(
            fine, fine * unit["mean"], color=COLOURS["full"], label="mean, Eq. 5"
        )
        mean, low, high = (
            np.array([one["drawn"][name] for one in distances])
            for name in ("mean", "low", "high")
        )
        right.errorbar(
            sigma,
            mean,
            yerr=[mean - low, high - mean],
            fmt="o",
            color="#000000",
            markersize=4,
            linewidth=1.2,
            label=f"drawn: mean and 95 % of {at['draws']} pairs",
        )
        right.axhline(_THREE, color="#D55E00", linewidth=1.2, label="distance 3")
        right.axhline(
            _THREE**0.5,
            color="#D55E00",
            linewidth=1.2,
            linestyle=":",
            label="squared distance 3",
        )
        right.set_yscale("log")
        right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.yaxis.set_minor_formatter(NullFormatter())
        _sigma_axis(right, sigma)
        right.set_xlabel("σ")
        right.set_ylabel("distance of two centres")
        right.set_title("Over σ", fontsize=9, fontweight="normal")
        handles, names = right.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8)
        return svg_text(figure)


def _histogram(axis: Any, one: Mapping[str, Any]) -> None:
    edges, counts = (np.array(one["histogram"][name]) for name in ("edges", "counts"))
    axis.stairs(
        counts / counts.sum() / np.diff(edges),
        edges,
        fill=True,
        color="#999999",
        alpha=0.6,
    )
    spread = stats.chi(one["dimensions"], scale=2**0.5 * one["sigma"])
    ends = spread.ppf([0.0005, 0.9995])
    x = np.linspace(min(ends[0], edges[0]), max(ends[1], edges[-1]), 200)
    axis.plot(x, spread.pdf(x), color=COLOURS["full"])
    axis.set_xlabel("distance of two centres")
    axis.set_ylabel("density")
    axis.set_title(
        f"σ = {one['sigma']:g}, D = {one['dimensions']}: drawn (grey), theory (line)",
        fontsize=9,
        fontweight="normal",
    )


_PANELS = {
    "entropy": "posterior entropy / log K, %\n100: clusters overlap",
    "out_of_reach": "test images out of every\ncluster's reach, %",
    "empty_clusters": "empty clusters\n(train)",
    "purity": "purity of the clusters, %\n(train)",
    "pure_clusters": "clusters of purity > 0.7 and\nmore than 10 samples (train)",
    "log_likelihood": "mean log P(x), nats\n",
    "auroc_tail": "AUROC of log P(x),\nFew against Many (test)",
    "leaving": "leave at depth 1, %\n(test)",
    "accuracy": "Overall, %, with 95 % interval\n",
}
_PERCENT = ("entropy", "out_of_reach", "purity")


def sweep_figure(sweep: Sequence[Mapping[str, Any]]) -> str:
    """What the filter does and what the cascade reaches, over sigma; dots are seeds."""
    sigma = np.array([one["sigma"] for one in sweep])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 8.0), layout="constrained")
        axes = figure.subplots(3, 3, sharex=True)
        for axis, (name, title) in zip(axes.flat, _PANELS.items(), strict=True):
            if name == "accuracy":
                _accuracy_panel(axis, sweep, sigma)
            elif name == "leaving":
                for group, colour in GROUP_COLOURS.items():
                    values = 100 * _per_seed(sweep, f"leaving_{group}")
                    _curve(axis, sigma, values, colour, METRIC_NAMES[group])
            else:
                values = _per_seed(sweep, name)
                scale = 100 if name in _PERCENT else 1
                _curve(axis, sigma, scale * values, "#000000", None)
            if name == "log_likelihood":
                title += f"({_SPLITS[sweep[0]['held_out']]})"
            axis.set_title(title, fontsize=9, fontweight="normal")
            for mark, place in _marked(sweep).items():
                colour, style = _MARKS[mark]
                label = f"σ = {place:.3g}, {REASONS[mark]}" if name == "entropy" else ""
                axis.axvline(
                    place,
                    color=colour,
                    linestyle=style,
                    linewidth=1.3,
                    zorder=0.5,
                    label=label or None,
                )
            _sigma_axis(axis, sigma)
        for axis in axes[-1]:
            axis.set_xlabel("σ")
        found = [axis.get_legend_handles_labels() for axis in axes.flat]
        handles = [handle for one, _ in found for handle in one]
        names = [name for _, some in found for name in some]
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9)
        return svg_text(figure)


def _curve(
    axis: Any, sigma: np.ndarray, values: np.ndarray, colour: str, label: str | None
) -> None:
    """Mean over seeds as a line, every seed as a dot; values (S, m)."""
    axis.plot(sigma, values.mean(0), color=colour, linewidth=1.4, label=label)
    for row in values:
        axis.plot(sigma, row, ".", color=colour, markersize=4, alpha=0.6)


def _accuracy_panel(
    axis: Any, sweep: Sequence[Mapping[str, Any]], sigma: np.ndarray
) -> None:
    shown = (("test", COLOURS["full"], "o", 0.97), ("val", "#777777", "s", 1.03))
    for split, colour, marker, shift in shown:
        if sweep[0]["accuracy"][split] is None:
            continue
        overall = [one["accuracy"][split]["overall"] for one in sweep]
        mean, low, high = (
            100 * np.array([one[name] for one in overall], dtype=float)
            for name in ("mean", "low", "high")
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


def _sigma_axis(axis: Any, sigma: np.ndarray) -> None:
    low, high = sigma.min() / 1.25, sigma.max() * 1.25
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    inside = (low <= _TICKS) & (high >= _TICKS)
    axis.xaxis.set_major_locator(FixedLocator(_TICKS[inside]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _marked(sweep: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The sigmas that a line marks: published, and both readings."""
    return {
        mark: next(one["sigma"] for one in sweep if mark in one["reasons"])
        for mark in _MARKS
    }


def _per_seed(sweep: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """(S, m) values of a measure; NaN where n/a."""
    values = [one["measures"][name]["per_seed"] for one in sweep]
    return np.array(values, dtype=float).T
