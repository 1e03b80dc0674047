"""The page of Table 2: the ablation of Sect. 7 on one benchmark."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from replication.published.reader import PublishedTable, read_published_tables
from replication.reporting.comparison import (
    beside_print,
    diagnostics_table,
    figure_title,
    gain_in_words,
    row_tables,
)
from replication.reporting.figures import (
    GROUP_COLOURS,
    finished,
    paired_panel,
    panels,
    styled,
)
from replication.reporting.rendering import covered, section_page
from replication.reporting.runs import COMPARED
from replication.reporting.tables import METRIC_NAMES, claims_table
from replication.sections.table2.experiment import (
    COMPARATOR,
    FULL,
    START,
    cluster_counts,
)
from replication.statistics.results import Measurement

OF_PAPER = "Places-LT with a ResNet-152"


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Table 2 on one benchmark: Markdown, and its figures by file name."""
    table, details = read_published_tables()["table2"], measured.details
    labels = {row: printed.label for row, printed in table.rows.items()}
    diagnostics = {row: details["diagnostics"][row] for row in table.rows}
    tests = {row: f"drop_{row}" for row in table.rows} | COMPARED
    asked = [c for c in measured.claims if c.id in ("greatest_drop", "separation")]
    text = section_page(
        measured,
        title,
        None if measured.benchmark == table.benchmark else OF_PAPER,
        finding=finding(measured),
        figures=folder,
        covered=covered(sorted(diagnostics[FULL], key=int)),
        clusters=_clusters_in_words(details["clusters"], table),
        claims=claims_table(asked),
        diagnostics=diagnostics_table(diagnostics, labels),
        **row_tables(measured, table.metrics, tests, "Full model minus"),
    )
    share = measured.about["cascade"]["leaving_share"]
    return text, {
        "differences.svg": _differences_figure(measured, table.metrics),
        "leaving.svg": _leaving_figure(diagnostics, labels, share),
    }


def _clusters_in_words(clusters: Mapping[str, int], table: PublishedTable) -> str:
    """Which numbers of clusters the rows have, where they are not the printed ones."""
    printed = cluster_counts(table)
    if clusters[FULL] == printed[FULL]:
        return ""
    rows = [row for row in printed if row != FULL]
    of_print, of_run = (
        " and ".join(str(counts[row]) for row in rows) for counts in (printed, clusters)
    )
    return (
        f"The full model has {clusters[FULL]} clusters here, not {printed[FULL]}; the "
        f"rows of {of_print} clusters have {of_run}."
    )


def finding(measured: Measurement) -> str:
    """How the sentences of Sect. 7 fare; what the full model gains on its head."""
    drops = [
        claim.verdict
        for claim in measured.claims
        if claim.id.startswith("drop_") and claim.protocol == "validated"
    ]
    lower, higher = (
        drops.count(verdict) or "none" for verdict in ("supported", "contradicted")
    )
    gain = gain_in_words(measured, FULL, START, COMPARATOR, "the full model")
    return (
        f"Sect. 7 says that each of {len(drops)} changes to the full model lowers "
        f"accuracy. Here {lower} is shown to lower it, {higher} to raise it."
        f"{_ruled_out(measured)} {gain}"
    )


def _ruled_out(measured: Measurement) -> str:
    """How many of the printed drops are larger than our intervals allow."""
    if measured.data["stand_in"]:
        return ""
    table = read_published_tables()["table2"].rows
    whole, tested, beyond = table[FULL].values["overall"], 0, 0
    for claim in measured.claims:
        row = claim.id.removeprefix("drop_")
        if claim.protocol == "validated" and row in table and claim.high is not None:
            tested += 1
            beyond += 100 * claim.high < whole - table[row].values["overall"]
    if not beyond:
        return ""
    return (
        f" A drop as large as print's is ruled out for {beyond} of {tested}: the 95 % "
        "interval ends below it."
    )


# ---- Figures ------------------------------------------------------------------------


@styled
def _differences_figure(measured: Measurement, metrics: tuple[str, ...]) -> str:
    """The full model minus every other row: a panel a metric, both protocols."""
    gaps = [cell for cell in beside_print(measured) if cell.minus]
    labels = {gap.minus: textwrap.fill(gap.label, 20) for gap in gaps}
    drawn = panels(1.3 + 0.36 * len(labels), 1, len(metrics), sharey=True)
    for axes, metric in zip(drawn, metrics, strict=True):
        of_metric = [cell for cell in gaps if cell.metric == metric]
        paired_panel(axes, of_metric, "minus", labels, METRIC_NAMES[metric])
    return finished(drawn[0].figure, figure_title(measured, "The full model", START))


@styled
def _leaving_figure(
    diagnostics: Mapping[str, Any], labels: Mapping[str, str], share: float
) -> str:
    """Whom the first filter lets go, per variant: share of each shot group.

    Under protocol `validated`; the title is about the first variant. `diagnostics`:
    variant -> seed -> what the stage wrote; `share`: that was meant to leave.
    """
    (axes,), places = panels(3.0, 1, 1), np.arange(len(diagnostics))
    first = []
    for number, (group, colour) in enumerate(GROUP_COLOURS.items()):
        shares = [
            [_first_filter(run)["leaving_by_group"][group] for run in seeds.values()]
            for seeds in diagnostics.values()
        ]
        leaving = 100 * np.array(shares, dtype=float)
        x, mean = places + 0.26 * (number - 1), leaving.mean(1)
        first.append(f"{mean[0]:.0f} % of {METRIC_NAMES[group]}")
        axes.bar(x, mean, width=0.24, color=colour, label=METRIC_NAMES[group])
        axes.plot(x, leaving, ".", color="#222222", markersize=4)
    meant = "meant to leave, of the training images"
    style = {"color": "#444444", "linestyle": "--", "linewidth": 1}
    axes.axhline(100 * share, label=meant, **style)
    axes.set_xticks(places, [labels[name] for name in diagnostics])
    axes.set_ylabel("test images that leave, %")
    axes.grid(axis="x", visible=False)
    title = f"The full model's first filter lets go {', '.join(first)} test images"
    return finished(axes.figure, title.replace("nan %", "none"), columns=4)


def _first_filter(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the first filter did to the test images, under protocol `validated`."""
    return run["filters"]["validated"][0]["splits"]["test"]
