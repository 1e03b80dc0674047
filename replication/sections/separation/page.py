"""The page of Fig. 2's experiment: accuracy over p, its claim, what is left open."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from replication.reporting.figures import GROUP_COLOURS, STYLE, svg_text
from replication.reporting.rendering import notice, render
from replication.reporting.tables import (
    METRIC_NAMES,
    claims_table,
    emphasised,
    in_unit,
    markdown_table,
    percent,
    shown,
)
from replication.sections.separation.experiment import (
    BOUNDARIES,
    VARIANTS,
    is_of_curve,
    point,
)
from replication.statistics.results import Cell, Claim, Measurement, pick

_METRICS = METRIC_NAMES | {"head": "Head", "tail": "Tail"}
_PANELS = (("overall", "head", "tail"), ("many", "medium", "few"))
_COLOURS = GROUP_COLOURS | {"overall": "#000000", "head": "#009E73", "tail": "#CC79A7"}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of Fig. 2's experiment on one benchmark, and its figures by file name.

    Args:
        title: of the benchmark.
        folder: of the figures, as linked from the page.
    """
    data, details = measured.data, measured.details
    variant, boundary = _first(measured)
    text = render(
        "sections/separation/page.md.j2",
        notice=notice(data, title, _paper_data(data)),
        title=title,
        stand_in=data["stand_in"],
        finding=finding(measured),
        seeds=details["seeds"],
        variant=_opening(VARIANTS[variant]),
        boundary=BOUNDARIES[boundary],
        has_images=variant == "images",
        values=_values_table(measured),
        boundaries=_boundaries_table(measured),
        claims=claims_table(measured.claims),
        unfinished=_unfinished(measured),
        figures=folder,
    )
    return text, {"accuracy.svg": accuracy_figure(measured)}


def finding(measured: Measurement) -> str:
    """What a separation that is right with probability p is worth, in two sentences."""
    variant, boundary = _first(measured)
    claim = _claim_of(measured, variant, boundary)
    shares = measured.details["probabilities"]
    ends = [_cell(measured, variant, boundary, p, "overall") for p in shares]
    on = " on the stand-in" if measured.data["stand_in"] else ""
    text = (
        f"With head and tail samples told apart with probability p, Overall goes from "
        f"{percent(ends[0].mean)} % at p = {shares[0]:g} to {percent(ends[-1].mean)} % "
        f"at p = {shares[-1]:g} ({in_unit(claim)}; {VARIANTS[variant]}): that larger p "
        f"leads to higher accuracy is **{claim.verdict}**{on}."
    )
    remarks = []
    if fallen := _steps(measured, variant, boundary, "contradicted"):
        remarks.append(f"it falls from p = {fallen}")
    if flat := _steps(measured, variant, boundary, "undecided"):
        remarks.append(f"no rise is shown from p = {flat}")
    if any(not fit["at_rest"] for fit in measured.details["fits"]):
        remarks.append(
            "classifiers were still improving when their training ended, so that all "
            "accuracies are those of a short budget"
        )
    return f"{text} {_opening(', and '.join(remarks))}." if remarks else text


# ---- Looking things up --------------------------------------------------------------


def _first(measured: Measurement) -> tuple[str, str]:
    """Variant and boundary that are shown first: the paper's kind of classifier."""
    return measured.details["variants"][0], _names(measured)[0]


def _names(measured: Measurement) -> list[str]:
    return [boundary["name"] for boundary in measured.details["boundaries"]]


def _cell(
    measured: Measurement, variant: str, boundary: str, p: float, metric: str
) -> Cell | None:
    at = point(p, boundary)
    return pick(measured.cells, method=variant, at=at, metric=metric, minus=None)


def _shown(*where: Any) -> str:
    cell = _cell(*where)
    return shown(cell) if cell else "not run"


def _claim_of(measured: Measurement, variant: str, boundary: str) -> Claim:
    name = f"larger_p_{variant}_{boundary}"
    return next(claim for claim in measured.claims if claim.id == name)


def _steps(measured: Measurement, variant: str, boundary: str, verdict: str) -> str:
    """The steps of a curve with this verdict: `0.5 to 0.7, 0.9 to 1`."""
    return ", ".join(
        f"{cell.minus.removeprefix('p=')} to {cell.at.partition(',')[0][2:]}"
        for cell in measured.cells
        if cell.minus
        and cell.verdict == verdict
        and is_of_curve(cell, variant, boundary)
    )


# ---- Figures ------------------------------------------------------------------------


def accuracy_figure(measured: Measurement) -> str:
    """Accuracy over p with 95 % intervals: overall, head, tail; many, medium, few."""
    variant, boundary = _first(measured)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        axes = figure.subplots(1, len(_PANELS), sharey=True)
        for axis, metrics in zip(axes, _PANELS, strict=True):
            for metric, marker in zip(metrics, "os^", strict=True):
                p, mean, low, high = _curve(measured, variant, boundary, metric)
                style = {"color": _COLOURS[metric]}
                axis.fill_between(p, low, high, alpha=0.15, lw=0, **style)
                style |= {"marker": marker, "markersize": 5}
                axis.plot(p, mean, label=_METRICS[metric], **style)
            axis.set_xticks(p)
            axis.set_xlabel("p, probability of the right group")
        # An interval of few seeds may reach beyond what an accuracy can be.
        axes[0].set_ylim(0, min(axes[0].get_ylim()[1], 100))
        axes[0].set_ylabel("accuracy, %")
        axes[0].set_title("Overall, and the mean of each side's classes")
        axes[1].set_title("Shot groups")
        figure.legend(loc="outside lower center", ncols=6, fontsize=9)
        return svg_text(figure)


def _curve(
    measured: Measurement, variant: str, boundary: str, metric: str
) -> np.ndarray:
    """One curve, (4, P): p, then mean, low and high in percent; NaN where n/a."""
    shares = measured.details["probabilities"]
    cells = [_cell(measured, variant, boundary, p, metric) for p in shares]
    rest = [[getattr(c, end) for c in cells] for end in ("mean", "low", "high")]
    return np.vstack([shares, 100 * np.array(rest, dtype=float)])


# ---- Tables -------------------------------------------------------------------------


def _values_table(measured: Measurement) -> str:
    """A row a p: accuracies, and what Overall gains over the p before."""
    metrics = [metric for panel in _PANELS for metric in panel]
    variant, boundary = _first(measured)
    rows = []
    for p in measured.details["probabilities"]:
        row = [_shown(measured, variant, boundary, p, name) for name in metrics]
        at = point(p, boundary)
        steps = [c for c in measured.cells if c.minus and c.method == variant]
        step = pick(steps, at=at)
        rows.append([f"{p:g}", *row, emphasised(step) if step else "—"])
    header = ["p", *(_METRICS[metric] for metric in metrics)]
    return markdown_table([*header, "Overall minus that at the p before"], rows)


def _boundaries_table(measured: Measurement) -> str:
    """A row a reading of "head": how much it is, and Overall of linear classifiers."""
    shares = measured.details["probabilities"]
    header = ["Head is", "Classes", "Images, %"]
    header += [f"Overall, p = {p:g}" for p in shares]
    rows = [
        [
            BOUNDARIES[head["name"]],
            f"{head['head_classes']} of {head['classes']}",
            percent(head["share"]),
            *(_shown(measured, "linear", head["name"], p, "overall") for p in shares),
        ]
        for head in measured.details["boundaries"]
    ]
    return markdown_table(header, rows)


def _unfinished(measured: Measurement) -> str:
    """Whether fits were still getting better when they ended."""
    fits = measured.details["fits"]
    moving = [fit["fell"] for fit in fits if not fit["at_rest"]]
    if not moving:
        return (
            "Yes: over the last fifth of their epochs, no fit lowered its training "
            "loss by more than 1 %."
        )
    return (
        f"No: {len(moving)} of {len(fits)} fits lowered their training loss by more "
        f"than 1 % (at most {percent(max(moving))} %) over the last fifth of their "
        "epochs. The curves are those of this budget; a longer one may move them."
    )


def _opening(text: str) -> str:
    """As the first words of a sentence; names in it keep their capitals."""
    return text[0].upper() + text[1:]


def _paper_data(data: Mapping[str, Any]) -> str | None:
    """What the paper's figure is made from; drawn glyphs are not the benchmark."""
    unnamed = "Fig. 2 (whose data the supplement does not name)"
    return None if data["stand_in"] else unnamed
