"""The page of Table 2: the ablation of Sect. 7 on one benchmark."""

from collections.abc import Mapping

from replication.published.reader import PublishedTable, read_published_tables
from replication.reporting.comparison import (
    HOW_JUDGED,
    beside_print,
    covered,
    diagnostics_table,
    difference_table,
    differences_figure,
    gain_in_words,
    tally,
    value_table,
)
from replication.reporting.rendering import data_sentence, notice, render
from replication.reporting.tables import claims_table
from replication.sections.table2.experiment import FULL, START, cluster_counts
from replication.sections.table2.figures import leaving_figure
from replication.statistics.comparison import read_methods
from replication.statistics.results import PROTOCOLS, Measurement

PAPER_DATA = "Places-LT with a ResNet-152"


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Table 2 on one benchmark: Markdown, and its figures by file name."""
    table = read_published_tables()["table2"]
    cells, data, details = beside_print(measured), measured.data, measured.details
    labels = {row: printed.label for row, printed in table.rows.items()}
    diagnostics = {row: details["diagnostics"][row] for row in table.rows}
    own = measured.benchmark == table.benchmark
    printed = any(cell.printed is not None for cell in cells)
    text = render(
        "sections/table2/page.md.j2",
        notice=notice(data, title, None if own else PAPER_DATA),
        stand_in=data["stand_in"],
        title=title,
        finding=finding(measured),
        figures=folder,
        table=table,
        features=measured.about["features"],
        covered=covered(sorted(diagnostics[FULL], key=int)),
        printed=printed,
        partial=details["partial"] if printed else [],
        clusters=clusters_in_words(details["clusters"], table),
        values=value_table(cells, table.metrics),
        differences={
            protocol: difference_table(
                cells, protocol, table.metrics, "Full model minus"
            )
            for protocol in PROTOCOLS
        },
        claims=claims_table(measured.claims),
        how_judged=HOW_JUDGED,
        diagnostics=diagnostics_table(diagnostics, labels),
        data_sentence=data_sentence(data),
    )
    colours = {
        key: method.colour for key, method in read_methods("table2", table).items()
    }
    share = measured.about["cascade"]["leaving_share"]
    return text, {
        "differences.svg": differences_figure(
            cells, table.metrics, colours, "The full model"
        ),
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
    """What the full model gains on the head it starts from; how the sentences fare."""
    sentences = [
        claim
        for claim in measured.claims
        if claim.sentence and claim.protocol != "as_released"
    ]
    gain = gain_in_words(measured, START, FULL, "validated", "the full model")
    return f"{gain} Of {len(sentences)} tests of what Sect. 7 says: {tally(sentences)}."
