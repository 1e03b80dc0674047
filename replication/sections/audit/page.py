"""The audit's page: what the printed numbers alone can and cannot be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.reporting.figures import STYLE, svg_text
from replication.reporting.rendering import render
from replication.reporting.tables import METRIC_NAMES, markdown_table, percent, points
from replication.samples.metrics import ACCURACIES
from replication.samples.shots import SHOT_GROUPS
from replication.sections.audit.bounds import Bound
from replication.sections.audit.differences import (
    BEYOND_ANY,
    DIFFERENCE_VERDICTS,
    WITHIN,
    Difference,
)
from replication.sections.audit.experiment import Weights
from replication.sections.audit.printed import STATED
from replication.statistics.results import Measurement

CHECK_NAMES = {
    "overall": "Overall against the shot groups",
    "mcc": "MCC against Overall",
    "nmi": "NMI against Overall",
    "right_images": "Overall, shot groups and MCC at once, in whole images",
}
_COLOURS = {"possible": "#0072B2", "impossible": "#D55E00"}
_BY = {
    "overall": "shot groups",
    "mcc": "Overall",
    "nmi": "Overall",
    "right_images": "all at once, whole images",
}
_SHORT = {
    "overall": "Overall",
    "mcc": "MCC",
    "nmi": "NMI",
    "right_images": "all at once",
}
_PANELS = {
    "overall": "What the shot groups allow Overall",
    "mcc": "What Overall allows MCC",
}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The audit's page, and its figure by file name."""
    details = measured.details
    bounds = [Bound(**row) for row in details["bounds"]]
    gaps = [Difference(**row) for row in details["differences"]]
    weights = [Weights(**row) for row in details["weights"]]
    stated = _stated(bounds)
    text = render(
        "sections/audit/page.md.j2",
        finding=finding(measured),
        counts=_counts_table(stated),
        differences=_difference_counts(gaps),
        impossible=[b for b in stated if b.verdict == "impossible"],
        where=_where,
        names=CHECK_NAMES,
        figures=folder,
        sections=[
            _section(name, about, _of(stated, name), _of(gaps, name))
            for name, about in details["tables"].items()
        ],
        readings=_readings_table(bounds, details["tables"]),
        weights=_weights_table(weights),
        arithmetic=weights,
    )
    return text, {"bounds.svg": _bounds_figure(stated)}


def finding(measured: Measurement) -> str:
    """Which rows cannot be, and why, in a sentence a row."""
    stated = _stated([Bound(**row) for row in measured.details["bounds"]])
    rows: dict[str, list[Bound]] = {}
    for bound in stated:
        rows.setdefault(_where(bound), []).append(bound)
    impossible = {
        where: min(wrong, key=lambda bound: bound.check == "right_images").short
        for where, bounds in rows.items()
        if (wrong := [b for b in bounds if b.verdict == "impossible"])
    }
    narrow = [bound for bound in stated if bound.number == 1]
    number = {0: "None", 1: "One"}.get(len(impossible), str(len(impossible)))
    text = f"{number} of the {len(rows)} printed rows cannot be"
    if impossible:
        named = "; ".join(f"{where}: {short}" for where, short in impossible.items())
        text += f". {named}"
    survive = "".join(f" {_where(bound)}: {bound.short}." for bound in narrow)
    return f"{text}.{survive}"


def _stated(bounds: Iterable[Bound]) -> list[Bound]:
    """Under the paper's own reading of its numbers."""
    return [bound for bound in bounds if bound.reading == STATED.name]


def _of(results: Iterable[Any], table: str) -> list[Any]:
    return [result for result in results if result.table == table]


def _where(bound: Bound) -> str:
    return f"{_table_name(bound.table)}, {bound.label}"


def _table_name(name: str) -> str:
    """`table1` as a reader calls it."""
    return f"Table {name[5:]}" if name.startswith("table") else name


# ---- The top of the page ----------------------------------------------------------


def _counts_table(stated: Sequence[Bound]) -> str:
    rows = []
    for check, name in CHECK_NAMES.items():
        count = Counter(bound.verdict for bound in stated if bound.check == check)
        numbers = (count.total(), count["possible"], count["impossible"])
        rows.append([name, *map(str, numbers)])
    header = ["Check of a row", "Rows it can be made on", "Possible", "Impossible"]
    return markdown_table(header, rows)


def _difference_counts(gaps: Sequence[Difference]) -> str:
    rows = []
    for verdict in DIFFERENCE_VERDICTS:
        some = [gap for gap in gaps if gap.verdict == verdict]
        per_metric = Counter(gap.metric for gap in some)
        fragile = sum(not gap.robust for gap in some)
        numbers = (*(per_metric[metric] for metric in ACCURACIES), len(some), fragile)
        rows.append([verdict, *map(str, numbers)])
    header = ["Printed difference to the best row, against test-set sampling error"]
    header += [METRIC_NAMES[metric] for metric in ACCURACIES]
    return markdown_table([*header, "In all", "Of these, rounding decides"], rows)


# ---- A table's section ------------------------------------------------------------


def _section(
    name: str,
    about: Mapping[str, Any],
    bounds: Sequence[Bound],
    gaps: Sequence[Difference],
) -> dict[str, Any]:
    groups = ", ".join(
        f"{about['groups'][group]} {METRIC_NAMES[group]}" for group in SHOT_GROUPS
    )
    tested = about["classes"] * about["test_per_class"]
    arithmetic: dict[str, list[tuple[str, Any]]] = {}
    for bound in bounds:
        arithmetic.setdefault(bound.label, []).append((CHECK_NAMES[bound.check], bound))
    for gap in gaps:
        words = f"{METRIC_NAMES[gap.metric]}, {gap.reference_label} minus this row"
        arithmetic.setdefault(gap.label, []).append((words, gap))
    return {
        "title": f"{_table_name(name)}: {about['title']}",
        "design": f"{about['section']}. {about['benchmark']}: {about['classes']} "
        f"classes ({groups}), {about['test_per_class']} test images each, "
        f"{tested} in all.",
        "numbers": _bounds_table(bounds),
        "reference": gaps[0].reference_label if gaps else None,
        "differences": _difference_table(gaps),
        "arithmetic": arithmetic,
    }


def _bounds_table(bounds: Sequence[Bound]) -> str:
    header = ["Row", "Number", "Printed", "Can be, by", "Bounds", "Overlap", "Verdict"]
    rows = []
    for bound in bounds:
        digits = 1 if bound.check == "nmi" else 3
        ends = f"{percent(bound.low, digits)} to {percent(bound.high, digits)}"
        overlap = points(bound.slack, digits)
        if bound.check == "right_images":
            overlap = f"{bound.number} count" + "s" * (bound.number != 1)
            ends = "none" if bound.low > bound.high else ends
        verdict = bound.verdict
        rows.append(
            [
                bound.label,
                METRIC_NAMES[bound.metric],
                percent(bound.published),
                _BY[bound.check],
                ends,
                overlap,
                f"**{verdict}**" if verdict == "impossible" else verdict,
            ]
        )
    return markdown_table(header, rows)


def _difference_table(gaps: Sequence[Difference]) -> str:
    """A row a difference: from which discordance D on it is within sampling error."""
    header = ["Best row minus", "Metric", "Printed, points", "1.96 SE, unpaired"]
    header += ["Beyond as long as D, %", "D can be, %", "Sampling error"]
    rows = []
    for gap in gaps:
        limit = {BEYOND_ANY: "is anything", WITHIN: "never"}.get(
            gap.verdict, f"≤ {percent(gap.threshold)}"
        )
        rows.append(
            [
                gap.label,
                METRIC_NAMES[gap.metric],
                points(gap.published),
                percent(gap.unpaired, 2),
                limit,
                f"{percent(gap.least_discordance)} to "
                f"{percent(gap.greatest_discordance)}",
                gap.verdict + ("" if gap.robust else " †"),
            ]
        )
    return markdown_table(header, rows, words=2)


# ---- Other readings, and the weights ----------------------------------------------


def _readings_table(
    bounds: Sequence[Bound], tables: Mapping[str, Mapping[str, Any]]
) -> str:
    """Rows that are possible, a line a reading, a column a check of a table."""
    verdicts: dict[tuple[str, str, str], list[bool]] = {}
    for bound in bounds:
        key = (bound.table, bound.check, bound.reading)
        verdicts.setdefault(key, []).append(bound.verdict == "possible")
    readings = list(dict.fromkeys(bound.reading for bound in bounds))
    columns = [
        (table, check)
        for table in tables
        for check in CHECK_NAMES
        if any((table, check, reading) in verdicts for reading in readings[1:])
    ]
    rows = []
    for reading in readings:
        row = [reading]
        for column in columns:
            of_it = verdicts.get((*column, reading))
            row.append(f"{sum(of_it)} of {len(of_it)}" if of_it else "as above")
        rows.append(row)
    header = ["Reading: Many, Medium, Few; rounding"]
    header += [f"{_table_name(table)}: {_SHORT[check]}" for table, check in columns]
    return markdown_table(header, rows)


def _weights_table(weights: Sequence[Weights]) -> str:
    rows = [
        [
            some.title,
            f"{some.exponent:g}",
            *(percent(some.shares[group]) for group in SHOT_GROUPS),
            percent(some.few_classes / some.classes),
            f"{some.effective_classes:.0f} of {some.classes}",
        ]
        for some in weights
    ]
    header = ["Benchmark", "q"]
    header += [f"Weight on {METRIC_NAMES[group]}, %" for group in SHOT_GROUPS]
    header += ["Few among the classes, %", "Effective number of classes"]
    return markdown_table(header, rows)


# ---- The figure -------------------------------------------------------------------


def _bounds_figure(bounds: Sequence[Bound]) -> str:
    """Printed numbers and the bounds on them, in points from print.

    MCC's, and Overall's where one of them is impossible.
    """
    shown = {"mcc"} & {bound.check for bound in bounds}
    shown |= {bound.check for bound in bounds if bound.verdict == "impossible"}
    checks = [check for check in _PANELS if check in shown]
    rows = list(dict.fromkeys(_where(b) for b in bounds if b.check in checks))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 1.5 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots(1, max(len(checks), 1), sharey=True, squeeze=False)[0]
        for axis, check in zip(axes, checks, strict=False):
            of_row = {_where(b): b for b in bounds if b.check == check}
            _bounds_panel(axis, of_row, rows)
            axis.set_title(_PANELS[check])
            axis.set_xlabel("points from the printed number")
        axes[0].set_yticks(range(len(rows)), rows)
        axes[0].set_ylim(max(len(rows), 1) - 0.5, -0.5)
        legends = (axis.get_legend_handles_labels() for axis in axes)
        handles = {
            name: handle for pair in legends for handle, name in zip(*pair, strict=True)
        }
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=3)
        return svg_text(figure)


def _bounds_panel(axis: Axes, bounds: Mapping[str, Bound], rows: Sequence[str]) -> None:
    for place, row in enumerate(rows):
        bound = bounds.get(row)
        if bound is None:
            continue
        low, high, least, most = (
            100 * (end - bound.published)
            for end in (bound.low, bound.high, bound.printed_low, bound.printed_high)
        )
        axis.barh(
            place,
            most - least,
            left=least,
            height=0.7,
            color="#bbbbbb",
            label="printed number, with its rounding",
        )
        axis.plot(
            [low, high],
            [place, place],
            color=_COLOURS[bound.verdict],
            linewidth=2.2,
            marker="|",
            markersize=9,
            markeredgewidth=2.2,
            linestyle="-" if bound.verdict == "possible" else (0, (3, 1.2)),
            label=f"bounds: print is {bound.verdict}",
        )
    axis.grid(axis="y", visible=False)
    axis.use_sticky_edges = False  # the grey bar would lie on the panel's edge
    axis.margins(x=0.05)
    axis.autoscale_view()
