"""The page of Sect. 2: equations against simulation, their premise against a fit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, ScalarFormatter

from replication.reporting.figures import finished, panels, styled
from replication.reporting.rendering import section_page, unless_published
from replication.reporting.tables import (
    claims_table,
    markdown_table,
    percent,
    shown,
)
from replication.sections.estimator.experiment import LABELS, LATE, TRUTHS
from replication.statistics.results import Cell, Claim, Measurement, pick

# The fit's momentum is blue, as the momentum estimate is; the others in turn.
_BLUE = "#0072B2"
_COLOURS = {"momentum": _BLUE, "batch": "#E69F00"}
_OTHERS = ("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999")
_MARKERS = "os^Dvp"
# Columns of the table on a fit: heading, and which Cell it shows.
_ERRORS = {
    "P(h|B_t): squared error": ("batch", "squared error"),
    "its variance": ("batch", "variance"),
    "its squared bias": ("batch", "squared bias"),
    "Momentum: squared error": ("momentum", "squared error"),
    "its variance by Eq. 4": ("momentum", "variance by Eq. 4"),
    "what Eq. 4 leaves over": ("momentum", "rest"),
}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of Sect. 2 on one benchmark, and its figures by file name."""
    settings = measured.details["settings"]
    eta = settings["filter"]["eta"]
    text = section_page(
        measured,
        title,
        unless_published(measured),
        finding=finding(measured),
        figures=folder,
        settings=settings,
        eta=eta,
        limit=f"{(1 - eta) / (1 + eta):.3g}",
        worth=f"{(1 + eta) / (1 - eta):.3g}",
        errors=_errors_table(measured),
        fits=_fits_table(measured),
        free=claims_table([c for c in measured.claims if c.benchmark is None]),
    )
    return text, {
        "simulation.svg": simulation_figure(measured),
        "probes.svg": probes_figure(measured),
    }


def finding(measured: Measurement) -> str:
    """What holds of Sect. 2: its premise and its estimate in a fit, its equations."""
    verdict = _claim(measured, "premise").verdict
    words = {"contradicted": "fails", "supported": "holds"}
    equations = [claim for claim in measured.claims if claim.id.startswith("eq")]
    held = sum(claim.verdict == "supported" for claim in equations)
    closer, late = (
        _claim(measured, f"{name}_drawn").verdict for name in ("closer", "closer_late")
    )
    return (
        "Eq. 3 takes a batch for an unbiased sample of the data. Of samples drawn as "
        "the fit draws them it is one by construction; for the training set as it is, "
        f"the premise {words.get(verdict, 'is undecided')}. "
        "The momentum estimate is closer to P(h|X) than one "
        f"batch at {_closer(measured)} % of the steps: **{closer}** over the whole "
        f"fit, **{late}** in its last quarter. As mathematics, {held} of "
        f"{len(equations)} equations hold."
    )


# ---- Looking things up --------------------------------------------------------------


def _claim(measured: Measurement, name: str) -> Claim:
    return pick(measured.claims, id=name)


def _closer(measured: Measurement) -> str:
    """Percent of the steps at which momentum is the closer one, for what is drawn."""
    return percent(_fit_cell(measured, "drawn", "momentum", "closer").mean, 0)


def _fit_cell(measured: Measurement, truth: str, method: str, metric: str) -> Cell:
    return pick(measured.cells, at=f"X={truth}", method=method, metric=metric)


# ---- Figures ------------------------------------------------------------------------


@styled
def simulation_figure(measured: Measurement) -> str:
    """Variance ratio and bias over t: points simulated, lines as the equations say."""
    settings = measured.details["settings"]
    fit_eta, steps = settings["filter"]["eta"], sorted(settings["estimator"]["steps"])
    etas = sorted(settings["estimator"]["etas"], key=lambda eta: eta != fit_eta)
    ratio, bias = panels(3.6, 1, 2)
    for place, eta in enumerate(etas):
        style = {
            "color": _BLUE if eta == fit_eta else _OTHERS[place % len(_OTHERS)],
            "marker": _MARKERS[place % len(_MARKERS)],
            "label": f"η = {eta:g}" + (", as in the fit" if eta == fit_eta else ""),
        }
        _dots(ratio, measured, eta, "ratio", 1, style)
        _dots(bias, measured, eta, "bias_uncorrected", 100, style)
        hollow = style | {"markerfacecolor": "white"}
        shift = 1.05 ** (place - (len(etas) - 1) / 2)  # the corrected lie on 0
        _dots(bias, measured, eta, "bias_corrected", 100, hollow, shift)
    for axis in (ratio, bias):
        axis.set_xscale("log")
        axis.set_xticks(steps)
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("t, steps (log scale)")
    ratio.set_ylim(0, 1.08)
    ratio.set_title("Variance (lines: Eq. 4)")
    ratio.set_ylabel("variance, share of a batch's")
    bias.set_title("Bias: p̃_t filled, p̃_t / (1 − η^t) hollow")
    bias.set_ylabel("bias, % of P(h = k|X)")
    hold = all(_claim(measured, name).verdict == "supported" for name in ("eq3", "eq4"))
    words = "agrees with" if hold else "departs from"
    title = f"Where P(h|X) stands still, simulation {words} Eq. 3 and Eq. 4"
    return finished(ratio.figure, title, columns=len(etas))


def _dots(
    axis: Axes,
    measured: Measurement,
    eta: float,
    metric: str,
    scale: float,
    style: Mapping[str, Any],
    shift: float = 1.0,
) -> None:
    steps = sorted(measured.details["settings"]["estimator"]["steps"])
    cells = [
        pick(measured.cells, at=f"eta={eta:g}, t={t}", metric=metric) for t in steps
    ]
    mean, low, high, printed = (
        scale * np.array([getattr(cell, end) for cell in cells])
        for end in ("mean", "low", "high", "printed")
    )
    place, reach = shift * np.array(steps), [mean - low, high - mean]
    axis.errorbar(place, mean, yerr=reach, ls="", markersize=4.5, lw=1.2, **style)
    if metric != "bias_corrected":
        axis.plot(steps, printed, color=style["color"], lw=1)


@styled
def probes_figure(measured: Measurement) -> str:
    """Distance of both estimates to the truth over a fit, for both truths."""
    axes = panels(3.3, 1, len(TRUTHS), sharey=True)
    for axis, (truth, words) in zip(axes, TRUTHS.items(), strict=True):
        for curve in measured.details["curves"]:
            if curve["truth"] == truth:
                _band(axis, curve)
        axis.set_title(f"To P(h|X) of {words}")
        axis.set_xlabel("t, step of the fit")
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("total variation distance, %")
    share = _closer(measured)
    title = (
        f"In a real fit the momentum estimate is the closer one at {share} % of steps"
    )
    return finished(axes[0].figure, title, columns=2)


def _band(axis: Axes, curve: Mapping[str, Any]) -> None:
    method, steps = curve["method"], curve["steps"]
    mean, low, high = (100 * np.array(curve[e]) for e in ("mean", "low", "high"))
    colour = _COLOURS[method]
    axis.plot(steps, mean, color=colour, linewidth=1.3, label=LABELS[method])
    axis.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)


# ---- Tables -------------------------------------------------------------------------


def _bare(result: Cell | Claim, scale: float = 1.0) -> str:
    """As `shown`, without its unit, which the column names."""
    ends = {end: getattr(result, end) for end in ("mean", "low", "high")}
    scaled = {end: value and scale * value for end, value in ends.items()}
    return shown(replace(result, unit="", **scaled))


def _errors_table(measured: Measurement) -> str:
    """A row a truth, in hundredths of (1/K)²."""
    rows = []
    for truth, words in TRUTHS.items():
        cells = (_fit_cell(measured, truth, *which) for which in _ERRORS.values())
        rows.append([words, *(_bare(cell, 100) for cell in cells)])
    return markdown_table(["X", *_ERRORS], rows)


def _fits_table(measured: Measurement) -> str:
    """A row a truth: the gain by momentum, early and late, and the premise of Eq. 3."""
    header = ["X", "Gain, whole fit", "Verdict", f"Gain, {LATE}", "Verdict"]
    header += ["Bias² / variance", "Verdict"]
    rows = []
    for truth, words in TRUTHS.items():
        rows.append([words])
        for name in ("closer", "closer_late"):
            claim = _claim(measured, f"{name}_{truth}")
            rows[-1] += [_bare(claim), claim.verdict]
        of_set = _claim(measured, "premise")
        judged = [_bare(of_set), of_set.verdict]
        rows[-1] += judged if truth == "set" else ["0", "by construction"]
    return markdown_table(header, rows)
