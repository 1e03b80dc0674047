"""ladder: from the head to DLSA, and whether its filters separate, on one benchmark."""

import numpy as np

from replication.cascade import PROTOCOLS
from replication.core.files import read_arrays, read_json, read_table
from replication.core.stage import OUTPUTS, Stage
from replication.sections.ladder.experiment import ladder_cells
from replication.sections.ladder.filters import Filters, filter_cells, filter_claims
from replication.statistics.moves import decisions
from replication.statistics.results import (
    Measurement,
    data_in_words,
    grade_of,
    without_names,
)


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Every rung's numbers and steps; AUROC of every filter and who leaves."""
    folder = OUTPUTS / benchmark / "paco" / "dlsa" / "full"
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    about = stage.about(folder)
    second_terms = about["classifier"]["second_terms"]
    counts = np.array(data["class_counts"])
    notes = read_json(stage.reads(folder / "ladder.json"))
    diagnostics = read_json(stage.reads(folder / "diagnostics.json"))
    table = read_table(stage.reads(folder / "ladder.predictions.safetensors"))
    arrays = read_arrays(stage.reads(folder / "likelihoods.safetensors"))
    by_protocol = {
        key: [run["filters"][key] for run in diagnostics.values()] for key in PROTOCOLS
    }
    filters = Filters(
        arrays,
        {
            key: [[some["threshold"] for some in of] for of in zip(*runs, strict=True)]
            for key, runs in by_protocol.items()
        },
        counts,
        list(diagnostics),
    )
    common = {
        "section": "ladder",
        "benchmark": benchmark,
        "data": data_in_words(data),
    }
    return Measurement(
        section="ladder",
        benchmark=benchmark,
        cells=(
            *ladder_cells(table, notes, counts, second_terms, common),
            *filter_cells(filters, common),
        ),
        claims=tuple(filter_claims(filters, benchmark, grade_of(data, about))),
        data=without_names(data),
        about=about,
        details={
            "second_terms": second_terms,
            "seeds": list(diagnostics),
        },
        decisions=decisions(
            {name: rows for name, rows in table.groupby("rung", observed=True)}
        ),
    )
