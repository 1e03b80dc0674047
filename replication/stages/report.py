"""report: what every stage measured becomes results/ and reports/."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from replication.core.files import read_json, write_json, write_table, write_text
from replication.core.settings import load, read_published_tables, read_recipe
from replication.core.stage import OUTPUTS, REPORTS, RESULTS, Stage, run
from replication.reporting.pages import (
    Page,
    benchmark_page,
    claims_overview,
    index_page,
    kinds,
    suite_pages,
    summary_page,
)
from replication.reporting.provenance import provenance, refuse_mixed_data
from replication.reporting.staleness import Checkout, read_lock, stale

TABLES = ("table1", "table2")

Measured = Mapping[str, Any]
Outdated = Callable[[Sequence[Mapping[str, Any]]], list[str]]


def main(stage: Stage) -> None:
    """Write results/*.json, metrics, plots, and every page with its figures."""
    every = kinds(read_published_tables())
    outdated = partial(stale, checkout=Checkout(load(), read_lock()))
    measured = {
        kind.name: [
            _measured(stage, kind.name, benchmark, outdated)
            for benchmark in stage.settings.listed(kind.listed)
        ]
        for kind in every
    }
    titles = {
        one["benchmark"]: read_recipe(one["benchmark"])["title"]
        for some in measured.values()
        for one in some
    }
    suite = [_suite(stage, name, outdated) for name in ("audit", "ledger")]
    pages = [
        claims_overview(measured, titles),
        summary_page(measured, titles),
        *(benchmark_page(kind, measured[kind.name], titles) for kind in every),
        *suite_pages(*suite),
    ]
    _write_pages(pages)
    _write_results(measured)
    shown = [*(one for some in measured.values() for one in some), *suite]
    stage.notes(behind=sorted({run["stage"] for one in shown for run in one["runs"]}))
    stage.finish()


def _measured(
    stage: Stage, name: str, benchmark: str, outdated: Outdated
) -> dict[str, Any]:
    """What a stage wrote on a benchmark, with its own run record behind it.

    Raises:
        BadInput: the runs behind it saw different data.
    """
    found = read_json(stage.reads(OUTPUTS / "tables" / benchmark / f"{name}.json"))
    runs = [*found["runs"], *stage.behind(f"{name}@{benchmark}")]
    refuse_mixed_data(f"{name}@{benchmark}", found["data"]["hash"], runs)
    return found | {"runs": runs, "stale": outdated(runs)}


def _suite(stage: Stage, name: str, outdated: Outdated) -> dict[str, Any]:
    found = read_json(stage.reads(OUTPUTS / "tables" / f"{name}.json"))
    runs = stage.behind(name)
    return found | {"runs": runs, "stale": outdated(runs)}


def _write_pages(pages: Sequence[Page]) -> None:
    for page in pages:
        for file, svg in page.figures.items():
            write_text(REPORTS / file, svg)
        write_text(REPORTS / page.file, page.text)
    write_text(REPORTS / "README.md", index_page(pages))


def _write_results(measured: Mapping[str, Sequence[Measured]]) -> None:
    """The numbers behind the pages, for machines, each with what made them.

    Where a file has no room for that (a table for `dvc plots`, the metrics, of which
    every number is compared), it stands in provenance.json under the file's name.
    """
    beside = {}
    for name in TABLES:
        records = [record for one in measured[name] for record in one["records"]]
        origins = _origins({name: measured[name]})
        _write(f"{name}.json", {"provenance": origins, "records": records})
        _write(f"{name}.csv", plot_points(records))
        beside[f"{name}.csv"] = origins
    claims = [
        {"page": name, "benchmark": one["benchmark"], **claim}
        for name, some in measured.items()
        for one in some
        for claim in one["claims"]
    ]
    _write("claims.json", {"provenance": _origins(measured), "claims": claims})
    tables = {name: measured[name] for name in TABLES}
    _write("metrics.json", headline(tables))
    _write("training.csv", training_curves(tables))
    beside |= dict.fromkeys(("metrics.json", "training.csv"), _origins(tables))
    _write("provenance.json", beside)


def _write(name: str, content: Any) -> None:
    """One file of results/, for readers other than this suite."""
    if isinstance(content, pd.DataFrame):
        write_table(RESULTS / name, content)
    else:
        write_json(RESULTS / name, content)


def _origins(measured: Mapping[str, Sequence[Measured]]) -> dict[str, Any]:
    """What made some pages, by the stage that measured them."""
    return {
        f"{name}@{one['benchmark']}": provenance(one["data"]["hash"], one["runs"])
        for name, some in measured.items()
        for one in some
    }


def headline(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The few numbers that `dvc metrics show` is for: Overall and Few, in fractions."""
    return {
        name: {
            one["benchmark"]: {
                record["method"]: {
                    found["metric"]: round(found["mean"], 4)
                    for found in one["records"]
                    if found["kind"] == "value"
                    and found["protocol"] == "paper"
                    and found["method"] == record["method"]
                    and found["metric"] in ("overall", "few")
                    and found["mean"] is not None
                }
                for record in one["records"]
            }
            for one in some
        }
        for name, some in tables.items()
    }


def plot_points(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows for `dvc plots`: Overall of each method, protocol `paper`, percent."""
    rows = [
        {
            "method": f"{record['benchmark']}: {record['label']}",
            "overall_percent": round(100 * record["mean"], 2),
        }
        for record in records
        if record["kind"] == "value"
        and record["metric"] == "overall"
        and record["protocol"] == "paper"
        and record["mean"] is not None
    ]
    return pd.DataFrame(rows, columns=["method", "overall_percent"])


def training_curves(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> pd.DataFrame:
    """Rows for `dvc plots`: accuracy of each backbone trained here, percent."""
    runs = {
        run["stage"]: run
        for some in tables.values()
        for one in some
        for run in one["runs"]
        if run["stage"].startswith("backbone_")
    }
    rows = [
        {
            "curve": f"{stage.removeprefix('backbone_')}: {name}",
            "epoch": epoch,
            "accuracy_percent": round(100 * value, 2),
        }
        for stage, run in sorted(runs.items())
        for name in ("train_accuracy", "val_accuracy")
        for epoch, value in enumerate(run.get("history", {}).get(name, []), start=1)
    ]
    return pd.DataFrame(rows, columns=["curve", "epoch", "accuracy_percent"])


if __name__ == "__main__":
    run(main, lambda: "report")
