"""Confusion matrices of Sect. 4 on one benchmark, from predictions alone."""

from functools import partial
from typing import Any

import numpy as np

from replication.core.files import read_json, read_table
from replication.core.stage import OUTPUTS, Stage
from replication.samples.predictions import paired
from replication.sections.confusion.experiment import (
    area_claims,
    confusion_matrices,
    counts_in_bins,
    error_cells,
    error_kinds,
    frequency_bins,
    head_to_tail_claims,
)
from replication.statistics.results import (
    PROTOCOLS,
    Cell,
    Claim,
    Measurement,
    data_in_words,
    grade_of,
    without_names,
)


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Matrices, kinds of errors and claims, without DLSA and with it."""
    folder = OUTPUTS / benchmark / "paco"
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    files = {
        "start": folder / "heads" / "start.predictions.safetensors",
        "full": folder / "dlsa" / "full" / "predictions.safetensors",
    }
    predictions = {name: read_table(stage.reads(file)) for name, file in files.items()}
    counts = np.array(data["class_counts"])
    bin_of_class = frequency_bins(counts)
    kinds = error_kinds(counts, bin_of_class)
    common = {"section": "confusion", "benchmark": benchmark}
    about = stage.about(folder / "dlsa" / "full")
    grade = grade_of(data, about)
    cells, claims = [], []
    matrices: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        pairs = paired(predictions, protocol)
        new_cell = partial(Cell, **common, data=data_in_words(data), protocol=protocol)
        new_claim = partial(
            Claim, **common, place="Sect. 4", grade=grade, protocol=protocol
        )
        placed, reductions = area_claims(pairs, kinds, new_claim, new_cell)
        cells += [*error_cells(pairs, kinds, new_cell), *reductions]
        claims += [*head_to_tail_claims(pairs, kinds, new_claim), *placed]
        matrices[protocol] = confusion_matrices(pairs, bin_of_class)
    return Measurement(
        section="confusion",
        benchmark=benchmark,
        cells=tuple(cells),
        claims=tuple(claims),
        data=without_names(data),
        about=about,
        details={
            "seeds": list(pairs.seeds),
            "bins": counts_in_bins(counts, bin_of_class),
            "errors": {name: kind.label for name, kind in kinds.items()},
            "matrices": matrices,
        },
    )
