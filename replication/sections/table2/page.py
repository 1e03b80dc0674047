"""The page of Table 2: the ablation of Sect. 7 on one benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.core.settings import PublishedTable
from replication.reporting import figures, tables
from replication.reporting.rendering import data_sentence, notice, origin, render
from replication.sections.table2.experiment import BASELINES


def table2_section(
    measured: Mapping[str, Any],
    table: PublishedTable,
    title: str,
    figures_folder: str,
) -> tuple[str, dict[str, str]]:
    """Table 2 on one benchmark.

    Args:
        measured: what the stage `table2` wrote.
        table: as printed.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The section, and its figures by file name.
    """
    records, data = measured["records"], measured["data"]
    labels = {name: row.label for name, row in table.rows.items()}
    diagnostics = {name: measured["diagnostics"][name] for name in table.rows}
    share = _used(measured, "cascade", "leaving_share")
    drawn = {
        "accuracy.svg": figures.table2_figure(
            records, table.metrics, show_printed=not data["stand_in"]
        ),
        "leaving.svg": figures.leaving_figure(diagnostics, labels, share),
        "fitting.svg": figures.fitting_figure(diagnostics, labels),
        "counts.svg": figures.counts_figure(data["class_counts"]),
    }
    start = _start(measured["runs"])  # stands on the page as `start`, and only so
    beside = {name: label for name, label in BASELINES.items() if name != start}
    protocols = tuple(tables.PROTOCOL_NAMES)
    where = " (stand-in)" if data["stand_in"] else ""
    page = render(
        "sections/table2/page.md.j2",
        notice=notice(data, title, paper_data(data)),
        stand_in=data["stand_in"],
        title=title,
        table=table,
        features=measured["features"],
        seeds=sorted(measured["diagnostics"]["full"], key=int),
        summary=summarise(measured),
        partial=measured["partial"],
        figures=figures_folder,
        protocol_names=tables.PROTOCOL_NAMES,
        values={
            p: tables.value_table(records, p, table.metrics, beside | labels)
            for p in protocols
        },
        differences={
            p: tables.difference_table(records, p, table.metrics) for p in protocols
        },
        protocols=tables.protocol_table(records, table.metrics),
        claims=tables.claims_table(
            [claim for claim in measured["claims"] if claim["protocol"]], where
        ),
        mechanism=tables.claims_list(
            [claim for claim in measured["claims"] if not claim["protocol"]], where
        ),
        timing=tables.timing_table(measured["timing"], labels),
        diagnostics=tables.diagnostics_table(diagnostics, labels),
        data=data,
        data_sentence=data_sentence(data),
        origin=origin(
            data["hash"], f"dvc repro table2@{measured['benchmark']}", measured["runs"]
        ),
    )
    return page, drawn


def _start(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Which head DLSA starts from, as its stage recorded it."""
    return next((run["start"] for run in runs if "start" in run), None)


def summarise(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    records = measured["records"]
    parts = []
    for protocol, name in (("paper", "paper"), ("released_code", "released-code")):
        gap = tables.find(
            records,
            method="start",
            protocol=protocol,
            metric="overall",
            kind="difference",
        )
        full = tables.find(
            records, method="full", protocol=protocol, metric="overall", kind="value"
        )
        assert gap is not None and full is not None
        verb = {
            "supported": "more than",
            "contradicted": "less than",
            "undecided": "not distinguishable from",
        }[gap["verdict"]]
        parts.append(
            f"Under the {name} protocol the full model reaches "
            f"{tables.percent(full['mean'])} % overall, {verb} PaCo + BalSoftmax "
            f"without it ({tables.with_interval(gap)} points)."
        )
    claims = [claim for claim in measured["claims"] if claim["protocol"] == "paper"]
    counts = {
        verdict: sum(claim["verdict"] == verdict for claim in claims)
        for verdict in ("supported", "contradicted", "undecided")
    }
    said = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    on = "on the stand-in" if measured["data"]["stand_in"] else "on this data"
    parts.append(f"Of {len(claims)} claims under the paper protocol, {said} {on}.")
    return " ".join(parts)


def _used(measured: Mapping[str, Any], section: str, name: str) -> float:
    """A setting as the full model's run recorded it."""
    for run in measured["runs"]:
        if run["stage"].startswith("dlsa@"):
            return run[section][name]
    raise KeyError(f"{section}.{name}")


def paper_data(data: Mapping[str, Any]) -> str | None:
    """What the printed table is made from, where that is not this data."""
    return None if data["benchmark"] == "places_lt" else "Places-LT with a ResNet-152"
