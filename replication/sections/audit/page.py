"""The audit's page: what the printed numbers alone can and cannot be."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.reporting.figures import finished, panels, styled
from replication.reporting.rendering import render
from replication.reporting.tables import METRIC_NAMES, markdown_table, percent, points
from replication.samples.metrics import ACCURACIES
from replication.samples.shots import SHOT_GROUPS
from replication.sections.audit.bounds import Bound
from replication.sections.audit.printed import outward
from replication.statistics.results import Measurement

_CHECKS = {"overall": "Overall", "mcc": "MCC"}
_COLOURS = {True: "#222222", False: "#D55E00"}  # possible or not


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The audit's page, and its figure by file name."""
    details = measured.details
    bounds = [Bound(**row) for row in details["bounds"]]
    rows = _rows(bounds)
    text = render(
        "sections/audit/page.md.j2",
        finding=finding(measured),
        in_full=[
            (where, bound)
            for where, of_row in rows.items()
            for bound in of_row.values()
            if not bound.possible
        ],
        figures=folder,
        sections=[
            {
                "title": f"{_table_name(name)}: {about['title']}",
                "design": _design_in_words(about),
                "bounds": _bounds_table(
                    [of_row for where, of_row in rows.items() if where[0] == name]
                ),
                "best": about["best"],
                "differences": _differences_table(about["differences"]),
            }
            for name, about in details["tables"].items()
        ],
    )
    return text, {"bounds.svg": _bounds_figure(rows)}


def finding(measured: Measurement) -> str:
    """Which rows cannot be, and why, in a sentence a row."""
    rows = _rows([Bound(**row) for row in measured.details["bounds"]])
    wrong = {}
    for where, of_row in rows.items():
        for bound in of_row.values():
            if not bound.possible:
                wrong.setdefault(where, bound)
    number = {0: "None", 1: "One"}.get(len(wrong), str(len(wrong)))
    verb = "are" if len(wrong) > 1 else "is"
    sentences = [f"{number} of the {len(rows)} printed rows {verb} impossible."]
    sentences += [
        f"{_table_name(table)}, {label}: {bound.finding}."
        for (table, label), bound in wrong.items()
    ]
    return " ".join(sentences)


def _rows(bounds: Sequence[Bound]) -> dict[tuple[str, str], dict[str, Bound]]:
    """(table, label) -> check -> bound; the simplest check comes first."""
    rows: dict[tuple[str, str], dict[str, Bound]] = {}
    for bound in bounds:
        rows.setdefault((bound.table, bound.label), {})[bound.check] = bound
    return rows


def _table_name(name: str) -> str:
    """`table1` as a reader calls it."""
    return f"Table {name.removeprefix('table')}"


def _design_in_words(about: Mapping[str, Any]) -> str:
    groups = ", ".join(
        f"{about['groups'][group]} {METRIC_NAMES[group]}" for group in SHOT_GROUPS
    )
    return (
        f"{about['section']}. {about['benchmark']}: {about['classes']} classes "
        f"({groups}), {about['test_per_class']} test images each."
    )


def _bounds_table(rows: Sequence[Mapping[str, Bound]]) -> str:
    """A row a printed row: its Overall and MCC beside what the others allow them."""
    by = {"overall": "shot groups allow", "mcc": "Overall allows"}
    checks = [check for check in by if any(check in of_row for of_row in rows)]
    header, lines = ["Row"], []
    for check in checks:
        header += [_CHECKS[check], by[check]]
    for of_row in rows:
        line = [next(iter(of_row.values())).label]
        for check in checks:
            bound = of_row.get(check)
            line += (
                [percent(bound.published), outward(bound.low, bound.high, 3)]
                if bound
                else ["—", "—"]
            )
        possible = all(bound.possible for bound in of_row.values())
        lines.append([*line, "possible" if possible else "**impossible**"])
    return markdown_table([*header, "Verdict"], lines)


def _differences_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A row a printed row; bold where more than what chance does to unrelated rows."""
    lines = []
    for label, of_metric in rows:
        line = [label]
        for gap, reach in (of_metric.get(m, (None, 0.0)) for m in ACCURACIES):
            text = "—" if gap is None else f"{points(gap)} ± {percent(reach)}"
            line.append(f"**{text}**" if gap and abs(gap) > reach else text)
        lines.append(line)
    header = ["Minus", *(METRIC_NAMES[metric] for metric in ACCURACIES)]
    return markdown_table(header, lines) if lines else ""


@styled
def _bounds_figure(rows: Mapping[tuple[str, str], Mapping[str, Bound]]) -> str:
    """A number line: each printed MCC, and what the printed Overall allows it."""
    shown = {row: of for row, of in rows.items() if "mcc" in of}
    (axis,) = panels(1.3 + 0.75 * len(shown), 1, 1)
    axis.spines["left"].set_visible(False)
    axis.grid(visible=False)
    axis.tick_params(axis="y", length=0)
    for place, of_row in enumerate(shown.values()):
        bound = of_row["mcc"]
        low, high, printed = (100 * n for n in (bound.low, bound.high, bound.published))
        colour = _COLOURS[bound.possible]
        style = {"color": "#009E73", "lw": 9, "solid_capstyle": "butt"}
        axis.plot([low, high], [place] * 2, **style)
        axis.plot(printed, place, "D", color=colour, markersize=8)
        style = {"ha": "center", "va": "top", "color": colour, "fontweight": "bold"}
        axis.annotate(f"printed {printed:.1f}", (printed, place + 0.2), **style)
        allowed = outward(bound.low, bound.high, 2)
        axis.annotate(
            f"Overall {percent(of_row['overall'].published)} allows {allowed}",
            ((low + high) / 2, place - 0.2),
            ha="center",
            color="#00664b",
        )
    labels = [label.replace(" + DLSA", "\n+ DLSA") for _, label in shown]
    axis.set_yticks(range(len(shown)), labels)
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.margins(x=0.08)
    axis.set_xlabel("MCC, times 100")
    outside = [label for (_, label), of in shown.items() if not of["mcc"].possible]
    title = (
        f"No predictions have the MCC that Table 1 prints for {' and '.join(outside)}"
    )
    if not outside:
        title = "Every printed MCC is one that the printed Overall allows"
    return finished(axis.figure, title)
