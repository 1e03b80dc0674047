"""The page of what DLSA would need: finding, ladder, factors, search."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.reporting.figures import COLOURS, STYLE, interval_panel, svg_text
from replication.reporting.rendering import notice, render
from replication.reporting.tables import (
    METRIC_NAMES,
    emphasised,
    in_unit,
    markdown_table,
    percent,
    shown,
)
from replication.sections.diagnosis.search import (
    FACTORS,
    RUNGS,
    change_in_words,
    value_in_words,
)
from replication.statistics.results import Cell, Measurement, pick

_PAPER_BENCHMARKS = ("imagenet_lt", "places_lt", "inat18")
# `at` of a Cell -> name, colour, marker and shift of its marks.
_SPLITS = {
    "validation": ("validation", "#999999", "s", -0.15),
    "": ("test", COLOURS["full"], "o", 0.15),
}
_BETTER = {"supported": "yes", "contradicted": "no, worse"}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The page of the search on one benchmark, and its figures by file name."""
    data, details = measured.data, measured.details
    known = data["stand_in"] or data["benchmark"] in _PAPER_BENCHMARKS
    rates = [f"lr {lr:g}" for lr in details["learning_rates"]]
    gains = _gains(measured)
    text = render(
        "sections/diagnosis/page.md.j2",
        notice=notice(data, title, None if known else "benchmarks"),
        title=title,
        finding=finding(measured),
        more=_more(measured, rates),
        validation=data["images"]["val"],
        details=details,
        methods=_methods_table(measured.cells),
        differences=_differences_table(measured.cells),
        chosen=_chosen_in_words(details),
        ladders=[(at.split()[1], _ladder_table(measured.cells, at)) for at in rates],
        parts=_part_tables(measured.cells),
        factors=_factors_table(gains),
        steps=_steps_table(details["steps"]),
        figures=folder,
    )
    figures = {
        "ladder.svg": _ladder_figure(measured.cells, rates),
        "factors.svg": _factors_figure(gains),
    }
    return text, figures


# ---- In words ---------------------------------------------------------------------


def finding(measured: Measurement) -> str:
    """Whether tuning helps DLSA, and whether the cascade is what it helps."""
    on = "On the stand-in, " if measured.data["stand_in"] else ""
    tuned, head = (_overall(measured, name) for name in ("chosen", "head"))
    gap = _overall(measured, "chosen", "head")
    does = {
        "supported": "beats",
        "contradicted": "loses to",
        "undecided": "is not distinguishable from",
    }[gap.verdict]
    first = (
        f"{on}DLSA tuned on validation images {does} the head that it starts from: "
        f"{percent(tuned.mean)} % Overall on test against {percent(head.mean)} %, "
        f"{in_unit(gap)}."
    )
    if not measured.details["steps"]:
        first = (
            f"{on}DLSA gains from no other settings on validation images; with those "
            f"in use it reaches {percent(tuned.mean)} % Overall on test, "
            f"{in_unit(gap)} against the head that it starts from."
        )
    gap = _overall(measured, "chosen", "plain")
    words = {
        "supported": "so the cascade itself is worth something",
        "contradicted": "so the cascade itself takes away",
        "undecided": "so no gain of the cascade itself is shown",
    }[gap.verdict]
    plain = percent(_overall(measured, "plain").mean)
    return (
        f"{first} A plain classifier without any cascade, tuned in the same way, "
        f"reaches {plain} %: tuned DLSA is {in_unit(gap)} against it, {words}."
    )


def _overall(measured: Measurement, method: str, minus: str | None = None) -> Cell:
    """Overall on test of a method, or a difference of two."""
    wanted = {"method": method, "minus": minus, "metric": "overall", "at": ""}
    cell = pick(measured.cells, **wanted)
    assert cell is not None
    return cell


def _more(measured: Measurement, rates: Sequence[str]) -> str:
    """The untuned settings, the factor that helps most, the steps that lose."""
    untuned, gap = (_overall(measured, "published", minus) for minus in (None, "head"))
    losing = "; ".join(
        f"at learning rate {at.split()[1]} {_losing_steps(measured.cells, at)}"
        for at in rates
    )
    place = {"method": "untrained", "at": rates[0]}
    changed = pick(measured.cells, metric="changed", **place)
    drawn = pick(measured.cells, metric="overall", minus="head", **place)
    return (
        f"Untuned, DLSA reaches {percent(untuned.mean)} %, {in_unit(gap)} against "
        f"the head. {_helps_most(measured)} Of the steps from the head to DLSA, those "
        f"shown to lose on test: {losing}. Drawing the second terms, with nothing "
        f"fitted, changes the decision on {percent(changed.mean, 0)} % of the test "
        f"images ({shown(drawn)})."
    )


def _helps_most(measured: Measurement) -> str:
    gains = [gain for gain in _gains(measured) if not gain["diverged"]]
    if not gains or gains[0]["validation"].mean <= 0:
        return "No single change of a setting helps on validation images."
    best = gains[0]
    return (
        f"The single change that helps most: {best[''].label}, "
        f"{in_unit(best['validation'])} on validation, {in_unit(best[''])} on test."
    )


def _losing_steps(cells: Sequence[Cell], at: str) -> str:
    """Steps whose whole interval is below zero; where there is none, the lowest one."""
    steps = [_step(cells, name, at) for name in list(RUNGS)[1:]]
    losing = [step for step in steps if step.high < 0]
    lowest = min(steps, key=lambda step: step.mean)
    words = ", ".join(f"“{s.label}” ({shown(s)})" for s in losing or [lowest])
    return words if losing else f"none, the lowest is {words}"


def _step(cells: Sequence[Cell], name: str, at: str) -> Cell | None:
    """A rung minus the one before; None on the first and off the ladder."""
    names = list(RUNGS)
    if name not in names[1:]:
        return None
    before = names[names.index(name) - 1]
    return pick(cells, method=name, minus=before, metric="overall", at=at)


def _chosen_in_words(details: Mapping[str, Any]) -> str:
    """What tuning changed, and what the plain classifier's settings are."""
    settings = details["settings"]
    tuned, base = settings["chosen"], settings["published"]
    changes = [
        change_in_words(name, tuned[name], base[name])
        for name in FACTORS
        if tuned[name] != base[name]
    ]
    plain = ", ".join(
        f"{FACTORS[name]} {value_in_words(name, settings['plain'][name])}"
        for name in ("lr", "refitted")
    )
    changed = "; ".join(changes) or "nothing"
    return f"Tuning changed of DLSA: {changed}. Of the plain classifier: {plain}."


# ---- Tables -----------------------------------------------------------------------


def _methods_table(cells: Sequence[Cell]) -> str:
    """A row a model: validation Overall, and its accuracies on test."""
    values = [cell for cell in cells if cell.minus is None]
    validation = [cell for cell in values if cell.at == "validation"]
    metrics = [metric for metric in METRIC_NAMES if _has(values, metric)]
    header = ["", "Overall, validation"]
    header += [f"{METRIC_NAMES[metric]}, test" for metric in metrics]
    rows = []
    for first in validation:
        diverged = pick(values, method=first.method, metric="diverged")
        label = first.label
        if diverged:
            share = percent(diverged.mean, 0)
            label += f" (diverged under {share} % of the seeds, counted as wrong)"
        tested = (
            pick(values, method=first.method, metric=metric, at="")
            for metric in metrics
        )
        rows.append([label, percent(first.mean), *map(shown, tested)])
    return markdown_table(header, rows)


def _labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Model -> what a reader calls it."""
    values = (cell for cell in cells if cell.minus is None and cell.at == "validation")
    return {cell.method: cell.label for cell in values}


def _has(cells: Sequence[Cell], metric: str) -> bool:
    return pick(cells, metric=metric, at="") is not None


def _differences_table(cells: Sequence[Cell]) -> str:
    """A row a pair of models: first minus second on test."""
    names = _labels(cells)
    gaps = [cell for cell in cells if cell.minus in names and cell.method in names]
    gaps = [gap for gap in gaps if gap.at == ""]
    metrics = [metric for metric in METRIC_NAMES if _has(gaps, metric)]
    header = ["First", "minus second", *(METRIC_NAMES[metric] for metric in metrics)]
    rows = []
    for first, second in dict.fromkeys((gap.method, gap.minus) for gap in gaps):
        pair = {"method": first, "minus": second}
        row = [pick(gaps, metric=metric, **pair) for metric in metrics]
        verdict = row[0].verdict
        better = _BETTER.get(verdict, verdict)
        rows.append([names[first], names[second], *map(emphasised, row), better])
    return markdown_table([*header, "Overall: is the first better?"], rows, words=2)


def _ladder_table(cells: Sequence[Cell], at: str) -> str:
    """A row a rung: Overall, and the step to it."""
    header = ["", "Overall, validation", "step", "Overall, test", "step"]
    header += ["from the head", "Moved", "Changed, %"]
    rows = []
    for name in [*RUNGS, "untrained"]:
        rung = [cell for cell in cells if cell.method == name]
        row = [pick(rung, at=at).label]
        for where in (f"{at}, validation", at):
            step = _step(rung, name, where)
            value = pick(rung, metric="overall", minus=None, at=where)
            row += [percent(value.mean), emphasised(step) if step else "—"]
        gap = pick(rung, minus="head", at=at)
        moved, changed = (
            pick(rung, metric=metric, at=at).mean for metric in ("moved", "changed")
        )
        row += [emphasised(gap) if gap else "—", f"{moved:.2g}", percent(changed)]
        rows.append(row)
    return markdown_table(header, rows)


def _part_tables(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Title and table of each pair: whom each classifier decides, and its worth."""
    labels = _labels(cells)
    decided = [cell for cell in cells if cell.metric == "decided"]
    tables = []
    for first in dict.fromkeys(cell.method for cell in decided):
        rows = []
        for share in (cell for cell in decided if cell.method == first):
            here = [cell for cell in cells if cell.at == share.at]
            gap = next(cell for cell in here if cell.minus)
            who = share.at.split(", ")[1]
            who = "plain classifier" if who == "rest" else f"leaving at {who}"
            right = (
                pick(here, method=name, metric="right").mean
                for name in (first, gap.minus)
            )
            shares = (percent(value) for value in (share.mean, *right))
            rows.append([who, *shares, emphasised(gap)])
        header = ["Decided by", "Test images, %", "first right, %", "second right, %"]
        table = markdown_table([*header, "of the difference, points"], rows)
        tables.append((f"{labels[first]}, minus {labels[gap.minus]}", table))
    return tables


def _gains(measured: Measurement) -> list[dict[str, Any]]:
    """A changed factor each, the most helpful first, those that diverged last."""
    gains = []
    for row in measured.details["factors"]:
        name = f"{row['factor']}={row['value']}"
        of_it = [cell for cell in measured.cells if cell.method == name]
        diverged = pick(of_it, metric="diverged")
        gain = {at: pick(of_it, metric="overall", at=at) for at in _SPLITS}
        gains.append(row | gain | {"diverged": diverged.mean if diverged else 0.0})
    return sorted(gains, key=lambda g: (g["diverged"] > 0, -g["validation"].mean))


def _factors_table(gains: Sequence[Mapping[str, Any]]) -> str:
    """A row a changed factor, the most helpful on validation first."""
    header = ["Setting", "Value", "instead of", "Overall, validation", "Overall, test"]
    rows = []
    for gain in gains:
        factor = gain["factor"]
        words = [value_in_words(factor, gain[name]) for name in ("value", "base")]
        worth = [emphasised(gain[at]) for at in _SPLITS]
        if gain["diverged"]:
            worth = [f"diverged on {percent(gain['diverged'], 0)} % of the seeds", "—"]
        rows.append([FACTORS[factor], *words, *worth])
    return markdown_table(header, rows, words=3)


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> str:
    """A row a change that the search made."""
    if not steps:
        return "Nothing: no change helped."
    header = ["Setting", "from", "to", "validation, before", "after"]
    rows = [
        [
            FACTORS[step["factor"]],
            *(value_in_words(step["factor"], step[name]) for name in ("old", "new")),
            *(percent(step[name], 2) for name in ("before", "after")),
        ]
        for step in steps
    ]
    return markdown_table(header, rows, words=3)


# ---- Figures ----------------------------------------------------------------------


def _ladder_figure(cells: Sequence[Cell], rates: Sequence[str]) -> str:
    """Overall on the way from the head to DLSA, a panel a learning rate."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.4), layout="constrained")
        axes = figure.subplots(1, len(rates), sharey=True, sharex=True, squeeze=False)
        for axis, at in zip(axes[0], rates, strict=True):
            rungs = [
                (
                    label,
                    {
                        split: pick(
                            cells,
                            method=name,
                            minus="head",
                            at=", ".join(filter(None, (at, split))),
                        )
                        for split in _SPLITS
                    },
                )
                for name, label in RUNGS.items()
            ]
            _both_splits(axis, rungs)
            axis.set_title(f"Learning rate {at.split()[1]}", fontsize=9)
            axis.set_xlabel("Overall minus the head's, points")
        _legend(figure, axes[0, 0])
        return svg_text(figure)


def _factors_figure(gains: Sequence[Mapping[str, Any]]) -> str:
    """What each factor alone changes, validation beside test."""
    known = [gain for gain in gains if not gain["diverged"]]
    rows = [
        (
            f"{FACTORS[gain['factor']]}: "
            f"{value_in_words(gain['factor'], gain['value'])}",
            gain,
        )
        for gain in known
    ]
    with matplotlib.rc_context(STYLE):
        height = 1.2 + 0.27 * len(known)
        figure = Figure(figsize=(9.2, height), layout="constrained")
        axis = figure.subplots()
        _both_splits(axis, rows)
        axis.set_xlabel("Overall minus that of untuned DLSA, points")
        _legend(figure, axis)
        return svg_text(figure)


def _both_splits(
    axis: Axes, rows: Sequence[tuple[str, Mapping[str, Cell | None]]]
) -> None:
    """Differences with their intervals: validation above test, a row each."""
    for at, (name, colour, marker, shift) in _SPLITS.items():
        panel = [(label, cells[at], colour) for label, cells in rows]
        interval_panel(axis, panel, shift=shift, marker=marker)
        axis.plot([], [], marker, color=colour, label=name)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9)
