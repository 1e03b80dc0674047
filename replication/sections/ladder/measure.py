"""ladder: from the head to DLSA, and whether its filters separate, on one benchmark."""

from replication.core.files import read_arrays, read_json, read_table
from replication.core.stage import OUTPUTS, Stage
from replication.sections.basis import read_basis
from replication.sections.ladder.experiment import ladder_cells
from replication.sections.ladder.filters import Filters, filter_cells, filter_claims
from replication.statistics.moves import decisions
from replication.statistics.results import Measurement


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Every rung's numbers and steps; AUROC of every filter and who leaves."""
    basis = read_basis(stage, "ladder", benchmark, "paco/dlsa/full")
    folder = OUTPUTS / benchmark / "paco" / "dlsa" / "full"
    notes = read_json(stage.reads(folder / "ladder.json"))
    diagnostics = read_json(stage.reads(folder / "diagnostics.json"))
    table = read_table(stage.reads(folder / "ladder.predictions.safetensors"))
    arrays = read_arrays(stage.reads(folder / "likelihoods.safetensors"))
    filters = Filters(arrays, diagnostics, basis.train_counts)
    rungs = {name: rows for name, rows in table.groupby("rung", observed=True)}
    second_terms = basis.about["classifier"]["second_terms"]
    exponent = basis.about["filter"]["weight_exponent"]
    return basis.measured(
        [
            *ladder_cells(rungs, notes, second_terms, basis),
            *filter_cells(filters, exponent, basis),
        ],
        filter_claims(filters, basis),
        {"second_terms": second_terms, "seeds": list(diagnostics)},
        decisions(rungs),
    )
