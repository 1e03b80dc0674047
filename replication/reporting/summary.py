"""The half page to cite: does DLSA help, by how much, under which protocol."""

from collections.abc import Sequence

from replication.reporting.comparison import tally
from replication.reporting.headlines import answers, in_a_line
from replication.reporting.rendering import data_sentence, notice, render
from replication.reporting.tables import METRIC_NAMES, in_unit, markdown_table, shown
from replication.statistics.results import Cell, Claim, Measurement, pick
from replication.statistics.selection import CHOICE

_METRICS = ("overall", "many", "medium", "few")
_PROTOCOLS = {"validated": "validated", "as_released": "as released"}
_OTHERS = ("start", "balanced_softmax")


def summary_page(
    table2: Measurement, claims: Sequence[Claim], title: str, paper_data: str | None
) -> str:
    """The summary on one benchmark on which Table 2 was measured.

    Args:
        claims: of all sections on this benchmark, and those that need no data.
        title: of the benchmark.
        paper_data: what print's Table 2 is made from; None where it is this benchmark.
    """
    data, cells = table2.data, table2.cells
    worth = pick(cells, metric=CHOICE)
    overall = pick(
        cells, method="full", metric="overall", protocol="validated", minus=None
    )
    judged, free = (
        [
            claim
            for claim in claims
            if claim.sentence
            and claim.protocol in (None, "validated")
            and (claim.grade == "none needed") == without_data
        ]
        for without_data in (False, True)
    )
    return render(
        "reporting/templates/summary.md.j2",
        notice=notice(data, title, paper_data),
        title=title,
        stand_in=data["stand_in"],
        features=table2.about["features"],
        seeds=len(overall.per_seed),
        data_sentence=data_sentence(data),
        answers=answers(table2.claims),
        values=_values(cells),
        worth=in_unit(worth),
        judged=len(judged),
        verdicts=tally(judged),
        free=tally(free),
    )


def summary_finding(table2: Measurement, title: str) -> str:
    """The answers under both protocols, in words; of the stand-in, that it has none."""
    if table2.data["stand_in"]:
        return "Says nothing about the paper: it shows what the page would show."
    return in_a_line(table2, title)


def _values(cells: Sequence[Cell]) -> str:
    """The heads without DLSA, and the full model under both protocols, percent."""
    rows = []
    for method, protocol in [(name, "validated") for name in _OTHERS] + [
        ("full", protocol) for protocol in _PROTOCOLS
    ]:
        row = [
            pick(cells, method=method, protocol=protocol, metric=metric, minus=None)
            for metric in _METRICS
        ]
        if all(row):  # one head may be the start, without a row of its own
            dlsa = f"DLSA, {_PROTOCOLS[protocol]}"
            label = dlsa if method == "full" else row[0].label
            rows.append([label, *map(shown, row)])
    return markdown_table(["Percent", *map(METRIC_NAMES.get, _METRICS)], rows)
