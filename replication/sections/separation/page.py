"""The page of Fig. 2's experiment: accuracy over p, its claim, what is left open."""

from dataclasses import replace

import numpy as np

from replication.reporting.figures import (
    DLSA_COLOUR,
    finished,
    interval_panel,
    panels,
    styled,
)
from replication.reporting.rendering import section_page
from replication.reporting.tables import (
    METRIC_NAMES,
    emphasised,
    entry,
    in_unit,
    markdown_table,
    percent,
    shown,
)
from replication.sections.separation.experiment import (
    BOUNDARIES,
    METRICS,
    VARIANTS,
    is_of_curve,
    point,
)
from replication.statistics.results import Cell, Claim, Measurement, pick

# The supplement does not name the data of its figure: nothing is the paper's.
OF_PAPER = "data of Fig. 2, which the supplement does not name"
_METRICS = METRIC_NAMES | {"head": "Head", "tail": "Tail"}
_CURVES = {"overall": "#000000", "head": "#009E73", "tail": "#CC79A7"}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of Fig. 2's experiment on one benchmark, and its figure by file name."""
    variant, boundary = _first(measured)
    text = section_page(
        measured,
        title,
        OF_PAPER,
        finding=finding(measured),
        variant=VARIANTS[variant],
        boundary=BOUNDARIES[boundary],
        has_images=variant == "images",
        values=_values_table(measured),
        curves=_curves_table(measured),
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
    text = (
        f"Where head and tail samples are told apart with probability p, Overall goes "
        f"from {percent(ends[0].mean)} % at p = {shares[0]:g} to "
        f"{percent(ends[-1].mean)} % at p = {shares[-1]:g}, {in_unit(claim)} "
        f"({VARIANTS[variant]}). That larger p leads to higher accuracy is "
        f"**{claim.verdict}**."
    )
    if any(not fit["at_rest"] for fit in measured.details["fits"]):
        text += (
            " Classifiers were still improving when their training ended: accuracies "
            "are those of a short budget."
        )
    return text


# ---- Looking things up --------------------------------------------------------------


def _first(measured: Measurement) -> tuple[str, str]:
    """Variant and boundary that are shown first: the paper's kind of classifier."""
    details = measured.details
    return details["variants"][0], details["boundaries"][0]["name"]


def _cell(
    measured: Measurement, variant: str, boundary: str, p: float, metric: str
) -> Cell | None:
    at = point(p, boundary)
    return pick(measured.cells, method=variant, at=at, metric=metric, minus=None)


def _claim_of(measured: Measurement, variant: str, boundary: str) -> Claim | None:
    return pick(measured.claims, id=f"larger_p_{variant}_{boundary}")


def _steps(measured: Measurement, variant: str, boundary: str) -> list[Cell]:
    """The steps of a curve."""
    cells = (cell for cell in measured.cells if cell.minus)
    return [cell for cell in cells if is_of_curve(cell, variant, boundary)]


def _of_step(cell: Cell) -> str:
    """`0.5 to 0.7`: from which p to which."""
    return f"{cell.minus.removeprefix('p=')} to {cell.at.partition(',')[0][2:]}"


# ---- Figure -------------------------------------------------------------------------


@styled
def accuracy_figure(measured: Measurement) -> str:
    """Accuracy over p with 95 % intervals, and what each step of p is worth, paired."""
    variant, boundary = _first(measured)
    left, right = panels(3.4, 1, 2)
    for (metric, colour), marker in zip(_CURVES.items(), "os^", strict=True):
        p, mean, low, high = _curve(measured, variant, boundary, metric)
        left.fill_between(p, low, high, color=colour, alpha=0.15, lw=0)
        style = {"color": colour, "marker": marker, "markersize": 5}
        left.plot(p, mean, label=_METRICS[metric], **style)
    shares = measured.details["probabilities"]
    left.set_xticks(shares)
    left.set_xlabel("p, probability of the right group")
    # An interval of few seeds may reach beyond what an accuracy can be.
    left.set_ylim(0, min(left.get_ylim()[1], 100))
    left.set_ylabel("accuracy, %")
    left.set_title("Overall, and means over head and tail classes")
    steps = _steps(measured, variant, boundary)
    rows = [(f"p = {_of_step(cell)}", cell, DLSA_COLOUR) for cell in steps]
    claim = _claim_of(measured, variant, boundary)
    if steps:
        ends = {end: getattr(claim, end) for end in ("mean", "low", "high")}
        whole = replace(steps[0], at=steps[-1].at, **ends)
        rows.append((f"p = {_of_step(whole)}", whole, "#000000"))
    interval_panel(right, rows)
    right.set_xlabel("Overall, points")
    right.set_title("Steps of p, and from first to last; paired")
    ends = f"p = {shares[0]:g} to p = {shares[-1]:g}"
    title = f"From {ends} Overall changes by {in_unit(claim)}: {claim.verdict}"
    return finished(left.figure, title)


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
    variant, boundary = _first(measured)
    rows = []
    for p in measured.details["probabilities"]:
        of = {"method": variant, "at": point(p, boundary)}
        values = [c for c in measured.cells if c.minus is None]
        row = [entry(values, metric=name, missing="not run", **of) for name in METRICS]
        steps = [c for c in measured.cells if c.minus]
        rows.append([f"{p:g}", *row, entry(steps, **of)])
    header = ["p", *(_METRICS[metric] for metric in METRICS), "Overall, step"]
    return markdown_table(header, rows)


def _curves_table(measured: Measurement) -> str:
    """A row a kind of classifier and reading of "head": Overall, and the verdict."""
    shares, rows = measured.details["probabilities"], []
    for variant in measured.details["variants"]:
        for head in measured.details["boundaries"]:
            if claim := _claim_of(measured, variant, head["name"]):
                where = measured, variant, head["name"]
                networks = " (networks on images)" * (variant == "images")
                rows.append(
                    [
                        BOUNDARIES[head["name"]] + networks,
                        f"{head['head_classes']} of {head['classes']}",
                        percent(head["share"]),
                        *(shown(_cell(*where, p, "overall")) for p in shares),
                        *(emphasised(claim), claim.verdict),
                    ]
                )
    header = ["Head is", "Classes", "Images, %"]
    header += [*(f"p = {p:g}" for p in shares), "Last minus first", "Verdict"]
    return markdown_table(header, rows)


def _unfinished(measured: Measurement) -> str:
    """Whether fits were still getting better when they ended."""
    fits = measured.details["fits"]
    moving = [fit["fell"] for fit in fits if not fit["at_rest"]]
    if not moving:
        return (
            "Over the last fifth of their epochs, no fit lowered its training loss by "
            "more than 1 %."
        )
    return (
        f"{len(moving)} of {len(fits)} fits still lowered their training loss by more "
        f"than 1 % (at most {percent(max(moving))} %) over the last fifth of their "
        "epochs. A longer budget may move the curves."
    )
