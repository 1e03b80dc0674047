"""The page of sigma's selection: the sweep, both readings, its claims."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from replication.reporting.figures import DLSA_COLOUR, finished, panels, styled
from replication.reporting.rendering import section_page, unless_published
from replication.reporting.tables import (
    METRIC_NAMES,
    claims_table,
    emphasised,
    entry,
    in_unit,
    markdown_table,
    percent,
)
from replication.samples.shots import SHOT_GROUPS
from replication.sections.sigma.experiment import READINGS, point
from replication.statistics.results import Cell, Claim, Measurement, pick

_WHY = {
    "published": "published",
    "used": "in use here",
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
    """The page of Sect. 3 on one benchmark, and its figure by file name."""
    details = measured.details
    text = section_page(
        measured,
        title,
        unless_published(measured),
        finding=finding(measured),
        figures=folder,
        compared=_short(details["compared"]),
        best=_best(details["best"]),
        accuracies=_accuracies_table(measured),
        readings=_readings_table(measured),
        free=claims_table([c for c in measured.claims if c.benchmark is None]),
        fits=claims_table([c for c in measured.claims if c.benchmark]),
        groups=_groups_table(measured),
        reached=_reached(measured),
    )
    return text, {"sweep.svg": sweep_figure(measured)}


def finding(measured: Measurement) -> str:
    """What the printed formula does, and what sigma is worth, in two sentences."""
    border, best = _claim(measured, "three_sigma_border"), _claim(measured, "best")
    published, compared = (measured.details[s] for s in ("published", "compared"))
    here = "" if compared == published else f", {_short(compared)} at these dimensions,"
    return (
        f"The printed formula, σ = √(3 / (2D)), takes the square of a distance for a "
        f"distance: it puts centres {border.mean:.2f} apart, not 3. {_moved(measured)} "
        f"That σ = {_short(published)}{here} is the best choice is **{best.verdict}**."
    )


def _moved(measured: Measurement) -> str:
    """Which values of sigma are shown to differ from the compared one."""
    sigmas = _sigmas(measured)
    span = f"between {_short(sigmas[0])} and {_short(sigmas[-1])}"
    gaps = [
        f"σ = {_short(sigma)} ({in_unit(gap)})"
        for sigma, gap in _gaps(measured).items()
        if gap.verdict != "undecided"
    ]
    if not gaps:
        return f"No σ {span} is shown to change Overall."
    only = "" if len(gaps) == len(sigmas) - 1 else "only "
    are = "is" if len(gaps) == 1 else "are"
    named = f"{only}{', '.join(gaps)} {are} shown to change Overall"
    return f"Of {len(sigmas)} values of σ {span}, {named}."


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


def _reached(measured: Measurement) -> str:
    """How far the distance of the centres explains that samples are out of reach."""
    shares = [
        pick(measured.cells, at=point(sigma), metric="out_of_reach").mean
        for sigma in _sigmas(measured)
    ]
    least, *_, most = map(_short, _sigmas(measured))
    said = (
        f"Stuck are {percent(shares[0])} % of the test images at σ = {least} and "
        f"{percent(shares[-1])} % at σ = {most}"
    )
    if shares[0] <= 1 / 2:
        return f"{said}."
    return f"{said}: most are so even where centres nearly coincide, whatever σ is."


def _claim(measured: Measurement, name: str) -> Claim:
    return pick(measured.claims, id=name)


def _sigmas(measured: Measurement) -> list[float]:
    return [tried["sigma"] for tried in measured.details["sweep"]]


def _gaps(measured: Measurement) -> dict[float, Cell]:
    """σ -> Overall minus that under the compared one, which the cells have reversed."""
    gaps = {s: pick(measured.cells, minus=point(s)) for s in _sigmas(measured)}
    return {
        sigma: replace(gap, mean=-gap.mean, low=-gap.high, high=-gap.low)
        for sigma, gap in gaps.items()
        if gap
    }


def _short(value: float) -> str:
    return f"{value:.3g}"


# ---- Tables -------------------------------------------------------------------------


def _accuracies_table(measured: Measurement) -> str:
    """A row a sigma: Overall with its interval, and minus the compared one."""
    header = ["σ", "Why", "Overall, validation", "Overall, test"]
    header.append(f"Minus σ = {_short(measured.details['compared'])}, test")
    gaps, rows = _gaps(measured), []
    values = [cell for cell in measured.cells if cell.minus is None]
    for tried in measured.details["sweep"]:
        at = point(tried["sigma"])
        overall = (
            entry(values, missing="n/a", at=f"{at}, split={split}", metric="overall")
            for split in ("val", "test")
        )
        why = ", ".join(_WHY[reason] for reason in tried["why"])
        gap = emphasised(gaps[tried["sigma"]]) if tried["sigma"] in gaps else "—"
        rows.append([_short(tried["sigma"]), why, *overall, gap])
    return markdown_table(header, rows, words=2)


def _groups_table(measured: Measurement) -> str:
    """A row a sigma: accuracy of the shot groups, and what the first filter did."""
    rows = []
    for sigma in _sigmas(measured):
        at = point(sigma)
        wanted = [{"at": f"{at}, split=test", "metric": group} for group in SHOT_GROUPS]
        wanted += [{"at": at, "metric": m} for m in ("entropy", "out_of_reach")]
        rows.append([_short(sigma), *(entry(measured.cells, **of) for of in wanted)])
    header = ["σ", *(METRIC_NAMES[group] for group in SHOT_GROUPS)]
    return markdown_table([*header, "Entropy", "Out of reach"], rows)


def _readings_table(measured: Measurement) -> str:
    """A row a D and reading: sigma, and what follows."""
    rows, labels = [], READINGS | {"used": "as print uses it"}
    for size in measured.details["readings_at"]:
        for reading, label in labels.items():
            sigma, distance, confused = (
                pick(measured.cells, at=f"D={size}", method=reading, metric=metric)
                for metric in ("sigma", "distance", "confused")
            )
            between = f"{distance.mean:.2f} [{distance.low:.2f}, {distance.high:.2f}]"
            share = percent(confused.mean)
            rows.append([str(size), label, f"{sigma.mean:.4f}", between, share])
    header = ["D", "Reading", "σ", "Distance of two centres", "Confused, %"]
    return markdown_table(header, rows, words=2)


# ---- Figure -------------------------------------------------------------------------


@styled
def sweep_figure(measured: Measurement) -> str:
    """Over sigma: how far clusters overlap, and Overall against the compared sigma."""
    sigmas, sweep = _sigmas(measured), measured.details["sweep"]
    compared = measured.details["compared"]
    left, right = panels(3.5, 1, 2)
    entropy = [cell.per_seed for cell in measured.cells if cell.metric == "entropy"]
    seeds = 100 * np.array(entropy, dtype=float)  # (σ, seeds)
    left.plot(sigmas, seeds, ".", color="#000000", markersize=4, alpha=0.6)
    left.plot(sigmas, seeds.mean(1), color="#000000", linewidth=1.4)
    left.set_ylim(0, 102)
    left.set_ylabel("entropy of the cluster posterior, %")
    left.set_title("Overlap of the clusters (100 %: whole)")
    gaps = _gaps(measured)
    ends = [(gap.mean, gap.low, gap.high) for gap in gaps.values()]
    mean, low, high = 100 * np.array(ends, dtype=float).T
    reach = [mean - low, high - mean]
    right.errorbar([*gaps], mean, reach, fmt="o", color=DLSA_COLOUR, markersize=5)
    right.axhline(0, color="#444444", linewidth=0.8)
    right.set_ylabel("points")
    right.set_title(f"Overall minus that at σ = {_short(compared)}, paired")
    for mark, (colour, style) in _MARKS.items():
        place = next(tried["sigma"] for tried in sweep if mark in tried["why"])
        for axis in (left, right):
            label = f"σ = {_short(place)}, {_WHY[mark]}"
            axis.axvline(place, color=colour, linestyle=style, lw=1.3, label=label)
    for axis in (left, right):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_xlabel("σ (log scale)")
    return finished(left.figure, _moved(measured).rstrip("."))
