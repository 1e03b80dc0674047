"""report: what every stage measured becomes results/ and reports/."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from replication.files import read_json, write_json, write_table, write_text
from replication.reporting.pages import (
    Page,
    benchmark_page,
    claims_overview,
    index_page,
    kinds,
    suite_pages,
)
from replication.settings import read_published_tables, read_recipe
from replication.stages.running import OUTPUTS, REPORTS, RESULTS, Stage, record_of, run

TABLES = ("table1", "table2")


def main(stage: Stage) -> None:
    """Write results/*.json, metrics, plots, and every page with its figures."""
    every = kinds(read_published_tables())
    measured = {
        kind.name: [
            _measured(stage, kind.name, benchmark)
            for benchmark in stage.settings.listed(kind.listed)
        ]
        for kind in every
    }
    titles = {
        one["benchmark"]: read_recipe(one["benchmark"])["title"]
        for some in measured.values()
        for one in some
    }
    pages = [
        claims_overview(measured, titles),
        *(benchmark_page(kind, measured[kind.name], titles) for kind in every),
        *suite_pages(_suite(stage, "audit"), _suite(stage, "ledger")),
    ]
    _write_pages(pages)
    _write_results(measured)
    stage.finish()


def _measured(stage: Stage, name: str, benchmark: str) -> dict[str, Any]:
    """What a stage wrote on a benchmark, with its own run record behind it."""
    found = read_json(stage.reads(OUTPUTS / "tables" / benchmark / f"{name}.json"))
    own = read_json(stage.reads(record_of(f"{name}@{benchmark}")))
    return found | {"runs": [*found["runs"], own]}


def _suite(stage: Stage, name: str) -> dict[str, Any]:
    found = read_json(stage.reads(OUTPUTS / "tables" / f"{name}.json"))
    return found | {"runs": [read_json(stage.reads(record_of(name)))]}


def _write_pages(pages: Sequence[Page]) -> None:
    for page in pages:
        for file, svg in page.figures.items():
            write_text(REPORTS / file, svg)
        write_text(REPORTS / page.file, page.text)
    write_text(REPORTS / "README.md", index_page(pages))


def _write_results(measured: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """The numbers behind the pages, for machines: one file a page."""
    for name, some in measured.items():
        if name in TABLES:
            records = [record for one in some for record in one["records"]]
            write_json(RESULTS / f"{name}.json", records)
            write_table(RESULTS / f"{name}.csv", plot_points(records))
    claims = [
        {"page": name, "benchmark": one["benchmark"], **claim}
        for name, some in measured.items()
        for one in some
        for claim in one["claims"]
    ]
    write_json(RESULTS / "claims.json", claims)
    tables = {name: measured[name] for name in TABLES}
    write_json(RESULTS / "metrics.json", headline(tables))
    write_table(RESULTS / "training.csv", training_curves(tables))


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
