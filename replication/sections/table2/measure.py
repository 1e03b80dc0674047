"""table2: the ablation of Sect. 7 on one benchmark, from predictions alone."""

import numpy as np

from replication.core.files import read_json, read_table, write_json
from replication.core.settings import PUBLISHED, read_published_tables
from replication.core.stage import OUTPUTS, Stage, dlsa_name, features_in_words, run
from replication.sections.table2.experiment import (
    BASELINES,
    changed_as_printed,
    greatest_drop,
    mechanism_claims,
    table2_claims,
    table2_records,
)
from replication.statistics.verdicts import corrected, why_partial


def main(stage: Stage, benchmark: str) -> None:
    """Write the benchmark's records, claims and what they were measured on."""
    counted = stage.reads(PUBLISHED / "class_counts.json")
    stage.reads(PUBLISHED / "tables.yaml")
    table = read_published_tables()["table2"]
    folder = OUTPUTS / benchmark / "paco"
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    before = [f"{name}_paco@{benchmark}" for name in ("backbone", "features", "heads")]
    names = [f"prepare@{benchmark}", *before]
    names += [dlsa_name(benchmark, variant) for variant in table.rows]
    runs = stage.behind(*names)
    start = next(run["start"] for run in runs if "start" in run)
    files = {
        name: folder / "heads" / f"{name}.predictions.safetensors"
        for name in BASELINES
        if name != start
    } | {
        name: folder / "dlsa" / name / "predictions.safetensors" for name in table.rows
    }
    if start != "own_head" and not files["own_head"].is_file():
        del files["own_head"]  # imported features that brought no head
    predictions = {name: read_table(stage.reads(file)) for name, file in files.items()}
    counts = np.array(data["class_counts"])
    published = read_json(counted)[table.benchmark]
    partial = why_partial(table.benchmark, data, published, runs)
    about = {
        "benchmark": benchmark,
        "data": "stand-in" if data["stand_in"] else f"{data['input']} {data['hash']}",
        "same_benchmark": benchmark == table.benchmark,
        "same_conditions": not partial,
    }
    records = table2_records(predictions, counts, table, about)
    by_variant = {
        variant: run
        for variant in table.rows
        for run in runs
        if run["stage"] == dlsa_name(benchmark, variant)
    }
    tested = changed_as_printed({one: by_variant[one]["filter"] for one in by_variant})
    claims = table2_claims(records, tested)
    claims += greatest_drop(predictions, counts, tested)
    timing = {variant: run["timing"] for variant, run in by_variant.items()}
    diagnostics = {
        name: read_json(stage.reads(folder / "dlsa" / name / "diagnostics.json"))
        for name in table.rows
    }
    target = OUTPUTS / "tables" / benchmark
    write_json(
        target / "table2.json",
        {
            "benchmark": benchmark,
            "features": features_in_words(runs, "paco"),
            "data": {key: data[key] for key in data if key != "class_names"},
            "records": records,
            "claims": corrected(claims + mechanism_claims(timing, diagnostics, tested)),
            "timing": timing,
            "partial": partial,
            "runs": runs,
            "diagnostics": diagnostics,
        },
    )
    stage.finish()


if __name__ == "__main__":
    run(main, lambda benchmark: f"table2@{benchmark}")
