"""report: the records of every table become results/ and reports/."""

import pandas as pd

from replication.files import read_json, write_json, write_table, write_text
from replication.reporting.pages import index_page, summarise, table2_section
from replication.settings import read_published_tables, read_recipe
from replication.stages.running import OUTPUTS, REPORTS, RESULTS, Stage, run


def main(stage: Stage) -> None:
    """Write results/table2.json, metrics, plots, and every page with its figures."""
    table = read_published_tables()["table2"]
    measured = [
        read_json(stage.reads(OUTPUTS / "tables" / benchmark / "table2.json"))
        for benchmark in stage.settings.ablation()
    ]
    sections, entries = [], []
    for one in measured:
        benchmark, data = one["benchmark"], one["data"]
        title = read_recipe(benchmark)["title"]
        folder = f"figures/table2-{benchmark}"
        section, figures = table2_section(one, table, title, folder)
        for file, text in figures.items():
            write_text(REPORTS / folder / file, text)
        sections.append(section)
        entries.append(
            {
                "name": f"Table 2 on {title}",
                "link": "table2.md",
                "data": "stand-in"
                if data["stand_in"]
                else f"{data['input']} `{data['hash']}`",
                "finding": summarise(one),
            }
        )
    write_text(REPORTS / "table2.md", "\n---\n\n".join(sections))
    write_text(REPORTS / "README.md", index_page(entries))
    records = [record for one in measured for record in one["records"]]
    write_json(RESULTS / "table2.json", records)
    write_json(RESULTS / "metrics.json", headline(measured))
    write_table(RESULTS / "table2.csv", plot_points(records))
    write_table(RESULTS / "training.csv", training_curves(measured))
    stage.finish()


def headline(measured: list[dict]) -> dict:
    """The few numbers that `dvc metrics show` is for: Overall and Few, in fractions."""
    return {
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
        for one in measured
    }


def plot_points(records: list[dict]) -> pd.DataFrame:
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
    ]
    return pd.DataFrame(rows)


def training_curves(measured: list[dict]) -> pd.DataFrame:
    """Rows for `dvc plots`: accuracy of each backbone trained here, percent."""
    rows = []
    for one in measured:
        run = next(run for run in one["runs"] if run["stage"].startswith("backbone@"))
        for name in ("train_accuracy", "val_accuracy"):
            values = run.get("history", {}).get(name, [])
            rows += [
                {
                    "curve": f"{one['benchmark']} {one['objective']}: {name}",
                    "epoch": epoch,
                    "accuracy_percent": round(100 * value, 2),
                }
                for epoch, value in enumerate(values, start=1)
            ]
    return pd.DataFrame(rows, columns=["curve", "epoch", "accuracy_percent"])


if __name__ == "__main__":
    run(main, lambda: "report")
