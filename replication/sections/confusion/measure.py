"""confusion: the matrices of Sect. 4 on one benchmark, from predictions alone."""

import numpy as np

from replication.core.files import read_json, read_table, write_json
from replication.core.stage import OUTPUTS, Stage, features_in_words, run
from replication.sections.confusion.experiment import measure_confusion

_BEHIND = ("prepare", "backbone_paco", "features_paco", "heads_paco", "dlsa")


def main(stage: Stage, benchmark: str) -> None:
    """Write matrices, error masses and claims, and what they were measured on."""
    folder = OUTPUTS / benchmark / "paco"
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    without, with_dlsa = (
        read_table(stage.reads(folder / part))
        for part in (
            "heads/start.predictions.safetensors",
            "dlsa/full/predictions.safetensors",
        )
    )
    runs = stage.behind(*(f"{name}@{benchmark}" for name in _BEHIND))
    measured = measure_confusion(without, with_dlsa, np.array(data["class_counts"]))
    write_json(
        OUTPUTS / "tables" / benchmark / "confusion.json",
        {
            "benchmark": benchmark,
            "data": {key: data[key] for key in data if key != "class_names"},
            "features": features_in_words(runs, "paco"),
            "runs": runs,
            **measured,
        },
    )
    stage.finish()


if __name__ == "__main__":
    run(main, lambda benchmark: f"confusion@{benchmark}")
