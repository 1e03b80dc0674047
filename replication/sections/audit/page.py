"""The audit's page: what the printed numbers alone can and cannot be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from replication.reporting.figures import STYLE, svg_text
from replication.reporting.rendering import origin, render
from replication.reporting.tables import METRIC_NAMES, markdown_table, percent, points
from replication.samples.shots import SHOT_GROUPS
from replication.sections.audit.experiment import (
    ACCURACIES,
    DIFFERENCE_VERDICTS,
    STATED,
)

FIGURES = "figures/audit"
VERDICT_COLOURS = {"possible": "#0072B2", "impossible": "#D55E00"}
CHECK_NAMES = {
    "overall": "Overall against the shot groups",
    "mcc": "MCC against Overall",
    "nmi": "NMI against Overall",
    "right_images": "Overall, shot groups and MCC at once, in whole images",
}

Finding = Mapping[str, Any]


def audit_page(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The audit's page; every count on it is made from the findings.

    Args:
        measured: what the stage `audit` wrote, and, to say where it comes from, its run
            record under `runs`.

    Returns:
        Markdown, and its figures by file name.
    """
    findings = measured["findings"]
    stated = [one for one in findings if one["reading"] == STATED.name]
    sections = [
        _section(name, about, [one for one in findings if one["table"] == name])
        for name, about in measured["tables"].items()
    ]
    runs = measured.get("runs", [])
    text = render(
        "sections/audit/page.md.j2",
        counts=_counts_table(stated),
        differences=_difference_counts(stated),
        impossible=[
            {**one, "where": _where(one), "name": CHECK_NAMES[one["check"]]}
            for one in stated
            if one["verdict"] == "impossible"
        ],
        figures=FIGURES,
        sections=sections,
        readings=_readings_table(findings, measured["tables"]),
        weights=_weights_table(measured["weights"]),
        weight_details=[
            {"title": one["title"], "text": one["arithmetic"]}
            for one in measured["weights"]
        ],
        origin=origin(None, "dvc repro audit", runs) if runs else "",
    )
    return text, {"bounds.svg": bounds_figure(stated)}


def summarise_audit(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the findings."""
    stated = [one for one in measured["findings"] if one["reading"] == STATED.name]
    impossible = [one for one in stated if one["verdict"] == "impossible"]
    checks = sum(one["check"] != "difference" for one in stated)
    text = f"{len(impossible)} of {checks} checks find printed numbers that cannot be"
    if not impossible:
        return text + "."
    named = "; ".join(
        f"{_where(one)}: {CHECK_NAMES[one['check']]}" for one in impossible
    )
    return f"{text}: {named}."


def bounds_figure(findings: Sequence[Finding]) -> str:
    """Each row's Overall and MCC against the bounds that follow, in points from print.

    Args:
        findings: of one reading.
    """
    checks = {
        "overall": "Overall: what its shot groups allow",
        "mcc": "MCC: what Overall allows",
    }
    checks = {
        check: title
        for check, title in checks.items()
        if any(one["check"] == check for one in findings)
    }
    rows = list(dict.fromkeys(map(_where, findings)))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 1.5 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots(1, len(checks), sharey=True, squeeze=False)[0]
        for axis, (check, title) in zip(axes, checks.items(), strict=True):
            mine = {_where(one): one for one in findings if one["check"] == check}
            _bounds_panel(axis, mine, rows)
            axis.set_title(title)
            axis.set_xlabel("points from the printed number")
        axes[0].set_yticks(range(len(rows)), rows)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        handles = {
            name: handle
            for axis in axes
            for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(), handles, loc="outside lower center", ncols=len(handles)
        )
        return svg_text(figure)


def _bounds_panel(axis: Any, mine: Mapping[str, Finding], rows: Sequence[str]) -> None:
    for place, row in enumerate(rows):
        one = mine.get(row)
        if one is None:
            axis.text(
                0.5,
                place,
                "not printed",
                transform=axis.get_yaxis_transform(),
                ha="center",
                va="center",
                color="#777777",
            )
            continue
        low, high, least, most = (
            100 * (one[name] - one["published"])
            for name in ("low", "high", "printed_low", "printed_high")
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
            color=VERDICT_COLOURS[one["verdict"]],
            linewidth=2.2,
            marker="|",
            markersize=9,
            markeredgewidth=2.2,
            linestyle="-" if one["verdict"] == "possible" else (0, (3, 1.2)),
            label=f"bounds: print is {one['verdict']}",
        )
    axis.grid(axis="y", visible=False)
    axis.use_sticky_edges = False  # the grey bar would lie on the panel's edge
    axis.margins(x=0.05)
    axis.autoscale_view()


# --- the top of the page


def _counts_table(stated: Sequence[Finding]) -> str:
    rows = []
    for check, name in CHECK_NAMES.items():
        count = Counter(one["verdict"] for one in stated if one["check"] == check)
        rows.append(
            [name, str(count.total()), str(count["possible"]), str(count["impossible"])]
        )
    header = ["Check of a row", "Rows it can be made on", "Possible", "Impossible"]
    return markdown_table(header, rows)


def _difference_counts(stated: Sequence[Finding]) -> str:
    differences = [one for one in stated if one["check"] == "difference"]
    rows = []
    for verdict in DIFFERENCE_VERDICTS:
        mine = [one for one in differences if one["verdict"] == verdict]
        per_metric = Counter(one["metric"] for one in mine)
        fragile = sum(not one["robust"] for one in mine)
        numbers = (*(per_metric[metric] for metric in ACCURACIES), len(mine), fragile)
        rows.append([verdict, *map(str, numbers)])
    header = ["Printed difference to the best row, against test-set sampling error"]
    header += [METRIC_NAMES[metric] for metric in ACCURACIES]
    return markdown_table([*header, "In all", "Of these, rounding decides"], rows)


def _where(finding: Finding) -> str:
    return f"{_table_name(finding['table'])}: {finding['label']}"


def _table_name(name: str) -> str:
    """`table1` as a reader calls it."""
    return f"Table {name[5:]}" if name.startswith("table") else name


# --- a table's section


def _section(
    name: str, about: Mapping[str, Any], findings: Sequence[Finding]
) -> dict[str, Any]:
    stated = [one for one in findings if one["reading"] == STATED.name]
    differences = [one for one in stated if one["check"] == "difference"]
    groups = ", ".join(
        f"{about['groups'][group]} {METRIC_NAMES[group]}" for group in SHOT_GROUPS
    )
    return {
        "title": f"{_table_name(name)}: {about['title']}",
        "design": f"{about['section']}. {about['benchmark']}: {about['classes']} "
        f"classes ({groups}), {about['test_per_class']} test images each, "
        f"{about['classes'] * about['test_per_class']} in all.",
        "numbers": _value_table(stated),
        "reference": differences[0]["reference_label"] if differences else None,
        "differences": _difference_table(differences),
        "rows": [
            {
                "label": label,
                "findings": [
                    {
                        "name": _finding_name(one),
                        "statement": one["statement"],
                        "arithmetic": one["arithmetic"],
                        "verdict": one["verdict"],
                    }
                    for one in stated
                    if one["label"] == label
                ],
            }
            for label in dict.fromkeys(one["label"] for one in stated)
        ],
    }


def _finding_name(finding: Finding) -> str:
    if finding["check"] == "difference":
        metric = METRIC_NAMES[finding["metric"]]
        return f"{metric}, {finding['reference_label']} minus this row"
    return CHECK_NAMES[finding["check"]]


def _value_table(stated: Sequence[Finding]) -> str:
    header = ["Row", "Number", "Printed", "Can be, by", "Bounds", "Overlap", "Verdict"]
    rows = []
    for one in stated:
        if one["check"] == "difference":
            continue
        digits = 1 if one["check"] == "nmi" else 3
        bounds = f"{percent(one['low'], digits)} to {percent(one['high'], digits)}"
        overlap = points(one["slack"], digits)
        if one["check"] == "right_images":
            overlap = f"{one['number']} count" + "s" * (one["number"] != 1)
            if one["low"] > one["high"]:
                bounds = "none"
        verdict = one["verdict"]
        rows.append(
            [
                one["label"],
                METRIC_NAMES[one["metric"]],
                percent(one["published"]),
                _BY[one["check"]],
                bounds,
                overlap,
                f"**{verdict}**" if verdict == "impossible" else verdict,
            ]
        )
    return markdown_table(header, rows)


_BY = {
    "overall": "shot groups",
    "mcc": "Overall",
    "nmi": "Overall",
    "right_images": "all at once, whole images",
}


def _difference_table(differences: Sequence[Finding]) -> str:
    metrics = [
        metric
        for metric in ACCURACIES
        if any(one["metric"] == metric for one in differences)
    ]
    rows: dict[str, list[str]] = {}
    for label in dict.fromkeys(one["label"] for one in differences):
        mine = {one["metric"]: one for one in differences if one["label"] == label}
        rows[label] = [label] + [_difference_cell(mine.get(name)) for name in metrics]
    header = ["Best row minus"] + [METRIC_NAMES[metric] for metric in metrics]
    return markdown_table(header, rows.values())


def _difference_cell(one: Finding | None) -> str:
    if one is None:
        return "not printed"
    doubt = "" if one["robust"] else " †"
    least, most = one["least_discordance"], one["greatest_discordance"]
    limit = f"D ≤ {percent(one['threshold'])}"
    if one["verdict"] in (DIFFERENCE_VERDICTS[0], DIFFERENCE_VERDICTS[-1]):
        limit = "any D" if one["verdict"] == DIFFERENCE_VERDICTS[0] else "no D"
    return (
        f"{points(one['published'])} (± {percent(one['unpaired'], 2)})<br>"
        f"{limit} of {percent(least)} to {percent(most)}<br>"
        f"*{one['verdict']}*{doubt}"
    )


# --- other readings, and the weights


def _readings_table(
    findings: Sequence[Finding], tables: Mapping[str, Mapping[str, Any]]
) -> str:
    names = list(dict.fromkeys(one["reading"] for one in findings))
    columns = [
        (table, check)
        for table in tables
        for check in CHECK_NAMES
        if any(
            one["table"] == table
            and one["check"] == check
            and one["reading"] != names[0]
            for one in findings
        )
    ]
    rows = []
    for name in names:
        row = [name]
        for table, check in columns:
            mine = [
                one["verdict"] == "possible"
                for one in findings
                if (one["table"], one["check"], one["reading"]) == (table, check, name)
            ]
            row.append(f"{sum(mine)} of {len(mine)}" if mine else "as above")
        rows.append(row)
    header = ["Reading: Many, Medium, Few; rounding"]
    header += [f"{_table_name(table)}: {_SHORT[check]}" for table, check in columns]
    return markdown_table(header, rows)


_SHORT = {
    "overall": "Overall",
    "mcc": "MCC",
    "nmi": "NMI",
    "right_images": "all at once",
}


def _weights_table(weights: Sequence[Finding]) -> str:
    rows = [
        [
            one["title"],
            f"{one['exponent']:g}",
            *(percent(one["shares"][group]) for group in SHOT_GROUPS),
            percent(one["few_classes"] / one["classes"]),
            f"{one['effective_classes']:.0f} of {one['classes']}",
        ]
        for one in weights
    ]
    header = ["Benchmark", "q"]
    header += [f"Weight on {METRIC_NAMES[group]}, %" for group in SHOT_GROUPS]
    header += ["Few among the classes, %", "Effective number of classes"]
    return markdown_table(header, rows)
