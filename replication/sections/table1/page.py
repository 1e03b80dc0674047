"""The page of Table 1: the comparison of Sect. 6 on one benchmark."""

import textwrap
from collections.abc import Sequence

from replication.published.reader import Anchors, read_anchors, read_published_tables
from replication.reporting.comparison import (
    beside_print,
    figure_title,
    gain_in_words,
    row_tables,
)
from replication.reporting.figures import finished, paired_panel, panels, styled
from replication.reporting.rendering import HEADS, covered, section_page
from replication.reporting.tables import (
    METRIC_NAMES,
    claims_table,
    entry,
    markdown_table,
)
from replication.sections.table1.experiment import COMPARATOR, FULL, PLAIN
from replication.statistics.results import Measurement

OF_PAPER = "iNaturalist18 with an ImageNet-pretrained ResNet-50"


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Table 1 on one benchmark: Markdown, and its figures by file name."""
    table, anchors = read_published_tables()["table1"], read_anchors(measured.benchmark)
    tests = {row: f"best_overall_over_{row}" for row in table.rows}
    tests |= {PLAIN: "gain_overall", COMPARATOR: "cascade_helps"}
    text = section_page(
        measured,
        title,
        None if measured.benchmark == table.benchmark else OF_PAPER,
        finding=finding(measured),
        figures=folder,
        gains=claims_table([c for c in measured.claims if c.id.startswith("gain_")]),
        start=HEADS[measured.about["start"]],
        covered=covered(sorted(measured.details["diagnostics"], key=int)),
        anchors=anchors_table(measured, anchors),
        field=anchors,
        factor=measured.data["imbalance_factor"],
        **row_tables(measured, table.metrics, tests, "DLSA's row minus"),
    )
    return text, {"differences.svg": _figure(measured, table.metrics)}


def finding(measured: Measurement) -> str:
    """What DLSA does to PaCo + BalSoftmax, under both protocols."""
    gain = gain_in_words(measured, FULL, PLAIN, COMPARATOR)
    if ", frozen" in measured.about["features"]:
        gain += (
            " The network is frozen: nothing was trained by PaCo, and the row PaCo + "
            f"BalSoftmax is {HEADS[measured.about['start']]}."
        )
    return gain


@styled
def _figure(measured: Measurement, metrics: Sequence[str]) -> str:
    """DLSA minus every row in Overall, and minus its head in every metric."""
    gaps = [cell for cell in beside_print(measured) if cell.minus]
    labels = {cell.minus: textwrap.fill(cell.label, 24) for cell in gaps}
    left, right = panels(1.3 + 0.36 * len(labels), 1, 2, width_ratios=(3, 2))
    overall = [cell for cell in gaps if cell.metric == "overall"]
    paired_panel(left, overall, "minus", labels, "Overall: DLSA minus each row")
    of_head = [cell for cell in gaps if cell.minus == PLAIN]
    names = {metric: METRIC_NAMES[metric] for metric in metrics}
    paired_panel(right, of_head, "metric", names, "DLSA minus its head")
    return finished(left.figure, figure_title(measured, "DLSA", PLAIN))


def anchors_table(measured: Measurement, anchors: Anchors | None) -> str:
    """The field's numbers beside ours; empty: it has none, or this is the stand-in."""
    if anchors is None or measured.data["stand_in"]:
        return ""
    wanted = {"metric": "overall", "protocol": "validated", "minus": None}
    rows = [
        [
            anchor.label,
            f"{anchor.epochs} epochs, {anchor.augmentation} augmentation",
            f"{anchor.value:.1f}",
            entry(measured.cells, missing="not run", method=anchor.method, **wanted),
        ]
        for anchor in anchors.rows
    ]
    header = ["Method", "The field's training", "The field, %", "Here, %"]
    return markdown_table(header, rows, words=2)
