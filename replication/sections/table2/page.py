"""The page of Table 2: the ablation of Sect. 7 on one benchmark."""

import textwrap
from collections.abc import Mapping

from replication.published.reader import PublishedTable, read_published_tables
from replication.reporting.comparison import (
    beside_print,
    diagnostics_table,
    figure_title,
    gain_in_words,
    metrics_table,
    overall_table,
)
from replication.reporting.figures import finished, paired_panel, panels, styled
from replication.reporting.rendering import covered, section_page
from replication.reporting.tables import METRIC_NAMES, claims_table, seen
from replication.sections.table2.experiment import (
    COMPARATOR,
    FULL,
    REFITTED,
    START,
    cluster_counts,
)
from replication.sections.table2.figures import leaving_figure
from replication.statistics.results import Measurement

OF_PAPER = "Places-LT with a ResNet-152"
_TESTS = {
    START: "gain_overall",
    COMPARATOR: "cascade_helps",
    REFITTED: "over_refitted",
}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Table 2 on one benchmark: Markdown, and its figures by file name."""
    table = read_published_tables()["table2"]
    cells, details = beside_print(measured), measured.details
    labels = {row: printed.label for row, printed in table.rows.items()}
    diagnostics = {row: details["diagnostics"][row] for row in table.rows}
    tests = {row: f"drop_{row}" for row in table.rows} | _TESTS
    groups = [metric for metric in table.metrics if metric != "overall"]
    overall = [cell for cell in cells if cell.metric == "overall" and cell.minus]
    text = section_page(
        measured,
        title,
        None if measured.benchmark == table.benchmark else OF_PAPER,
        finding=finding(measured),
        figures=folder,
        covered=covered(sorted(diagnostics[FULL], key=int)),
        printed=any(cell.printed is not None for cell in cells),
        clusters=clusters_in_words(details["clusters"], table),
        overall=overall_table(cells, measured.claims, tests),
        seen=seen(overall),
        claims=claims_table(
            [c for c in measured.claims if c.id in ("greatest_drop", "separation")]
        ),
        values=metrics_table([c for c in cells if not c.minus], groups, "Row"),
        differences=metrics_table(
            [cell for cell in cells if cell.minus], groups, "Full model minus"
        ),
        diagnostics=diagnostics_table(diagnostics, labels),
    )
    share = measured.about["cascade"]["leaving_share"]
    return text, {
        "differences.svg": _figure(measured, table.metrics),
        "leaving.svg": leaving_figure(diagnostics, labels, share),
    }


def clusters_in_words(clusters: Mapping[str, int], table: PublishedTable) -> str:
    """Which numbers of clusters the rows have, where they are not the printed ones."""
    printed = cluster_counts(table)
    if clusters[FULL] == printed[FULL]:
        return ""
    rows = [row for row in printed if row != FULL]
    of_print = " and ".join(str(printed[row]) for row in rows)
    of_run = " and ".join(str(clusters[row]) for row in rows)
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
    gain = gain_in_words(measured, FULL, START, COMPARATOR, "The full model")
    return (
        f"Sect. 7 says that each of {len(drops)} changes to the full model lowers "
        f"accuracy. Here {lower} is shown to, and {higher} to raise it. {gain}"
    )


@styled
def _figure(measured: Measurement, metrics: tuple[str, ...]) -> str:
    """The full model minus every other row: a panel a metric, both protocols."""
    gaps = [cell for cell in beside_print(measured) if cell.minus]
    labels = {gap.minus: textwrap.fill(gap.label, 20) for gap in gaps}
    drawn = panels(1.3 + 0.36 * len(labels), 1, len(metrics), sharey=True)
    for axes, metric in zip(drawn, metrics, strict=True):
        of_metric = [cell for cell in gaps if cell.metric == metric]
        paired_panel(axes, of_metric, "minus", labels, METRIC_NAMES[metric])
    return finished(drawn[0].figure, figure_title(measured, "The full model", START))
