"""Confusion matrices of Sect. 4 on one benchmark, from predictions alone."""

from replication.core.files import read_table
from replication.core.stage import OUTPUTS, Stage
from replication.samples.predictions import paired
from replication.sections.basis import read_basis
from replication.sections.confusion.experiment import (
    area_claims,
    confusion_matrices,
    counts_in_bins,
    error_cells,
    error_kinds,
    frequency_bins,
    head_to_tail_claims,
)
from replication.statistics.results import PROTOCOLS, Measurement


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Matrices, kinds of errors and claims, without DLSA and with it."""
    basis = read_basis(stage, "confusion", benchmark, "paco/dlsa/full")
    folder = OUTPUTS / benchmark / "paco"
    files = {
        "start": folder / "heads" / "start.predictions.safetensors",
        "full": folder / "dlsa" / "full" / "predictions.safetensors",
    }
    predictions = {name: read_table(stage.reads(file)) for name, file in files.items()}
    counts = basis.train_counts
    bin_of_class = frequency_bins(counts)
    kinds = error_kinds(counts, bin_of_class)
    cells, claims, matrices = [], [], {}
    for protocol in PROTOCOLS:
        pairs = paired(predictions, protocol)
        given = pairs, kinds, basis, protocol
        placed, reductions = area_claims(*given)
        cells += [*error_cells(*given), *reductions]
        claims += [*head_to_tail_claims(*given), *placed]
        matrices[protocol] = confusion_matrices(pairs, bin_of_class)
    return basis.measured(
        cells,
        claims,
        {
            "seeds": list(pairs.seeds),
            "bins": counts_in_bins(counts, bin_of_class),
            "errors": {name: kind.label for name, kind in kinds.items()},
            "matrices": matrices,
        },
    )
