"""table1: the comparison of Sect. 6 on one benchmark, from predictions alone."""

import numpy as np

from replication.core.files import read_json, read_table, write_json
from replication.core.settings import PUBLISHED, read_published_tables
from replication.core.stage import OUTPUTS, Stage, features_in_words, run
from replication.sections.table1.experiment import table1_claims, table1_records
from replication.statistics.verdicts import why_other_features, why_partial

_BEHIND = (
    "prepare",
    "backbone_ce",
    "features_ce",
    "heads_ce",
    "decoupling",
    "backbone_paco",
    "features_paco",
    "heads_paco",
    "dlsa",
)


def main(stage: Stage, benchmark: str) -> None:
    """Write the benchmark's records, claims and what they were measured on."""
    counted = stage.reads(PUBLISHED / "class_counts.json")
    stage.reads(PUBLISHED / "tables.yaml")
    table = read_published_tables()["table1"]
    folder = OUTPUTS / benchmark
    data = read_json(stage.reads(folder / "data" / "summary.json"))
    runs = stage.behind(*(f"{name}@{benchmark}" for name in _BEHIND))
    start = next(run["start"] for run in runs if run["stage"].startswith("heads_paco@"))
    files = {
        "lws": folder / "ce" / "decoupling" / "lws.predictions.safetensors",
        "crt": folder / "ce" / "decoupling" / "crt.predictions.safetensors",
        "paco": folder / "paco" / "heads" / "start.predictions.safetensors",
        "paco_dlsa": folder / "paco" / "dlsa" / "full" / "predictions.safetensors",
        "ce": folder / "ce" / "heads" / "own_head.predictions.safetensors",
        "ce_balanced": folder
        / "ce"
        / "heads"
        / "balanced_softmax.predictions.safetensors",
    }
    if start == "own_head":
        refit = folder / "paco" / "heads" / "balanced_softmax.predictions.safetensors"
        files["paco_refit"] = refit
    if not files["ce"].is_file():  # imported features that brought no head
        del files["ce"]
    predictions = {name: read_table(stage.reads(file)) for name, file in files.items()}
    published = read_json(counted)[table.benchmark]
    partial = why_partial(table.benchmark, data, published, runs)
    other_features = why_other_features(benchmark, runs)
    about = {
        "benchmark": benchmark,
        "data": "stand-in" if data["stand_in"] else f"{data['input']} {data['hash']}",
        "same_benchmark": benchmark == table.benchmark,
        "same_conditions": not partial,
        "other_features": other_features is not None,
    }
    records = table1_records(predictions, np.array(data["class_counts"]), table, about)
    diagnostics = folder / "paco" / "dlsa" / "full" / "diagnostics.json"
    write_json(
        OUTPUTS / "tables" / benchmark / "table1.json",
        {
            "benchmark": benchmark,
            "data": {key: data[key] for key in data if key != "class_names"},
            "features": {
                name: features_in_words(runs, name) for name in ("ce", "paco")
            },
            "records": records,
            "claims": table1_claims(records),
            "partial": partial,
            "other_features": other_features,
            "runs": runs,
            "diagnostics": read_json(stage.reads(diagnostics)),
        },
    )
    stage.finish()


if __name__ == "__main__":
    run(main, lambda benchmark: f"table1@{benchmark}")
