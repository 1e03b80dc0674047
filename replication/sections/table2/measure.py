"""Table 2: the ablation of Sect. 7 on one benchmark, from predictions alone."""

from replication.core.files import read_json
from replication.core.stage import OUTPUTS, Stage
from replication.sections.basis import read_basis
from replication.sections.rows import printed_table, read_rows
from replication.sections.table2.experiment import (
    FULL,
    START,
    changed_as_printed,
    greatest_drop,
    in_proportion,
    row_claims,
    separation_claims,
)
from replication.statistics.moves import decisions
from replication.statistics.results import Measurement


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Every row's numbers, paired differences and claims."""
    table = printed_table(stage, "table2")
    folders = {row: OUTPUTS / benchmark / "paco" / "dlsa" / row for row in table.rows}
    filters = {row: stage.about(folder)["filter"] for row, folder in folders.items()}
    # Where facts of the variants differ, the last one's count: the full model's.
    artefacts = [f"paco/dlsa/{row}" for row in (*table.rows, FULL)]
    basis = read_basis(stage, "table2", benchmark, *artefacts)
    rows = read_rows(stage, basis, table, FULL, needed=[START])
    diagnostics = {
        row: read_json(stage.reads(folder / "diagnostics.json"))
        for row, folder in folders.items()
    }
    clusters = {row: used["num_clusters"] for row, used in filters.items()}
    scaled = basis.about["recipe"] == "scaled"
    as_run = in_proportion(table, clusters[FULL]) if scaled else table
    given = (table, changed_as_printed(as_run, filters), basis)
    return basis.measured(
        rows.cells,
        [
            *row_claims(rows.cells, *given, clusters[FULL] if scaled else None),
            *greatest_drop(rows.predictions, *given),
            *separation_claims(diagnostics, *given),
        ],
        {"partial": rows.partial, "diagnostics": diagnostics, "clusters": clusters},
        decisions(rows.predictions),
    )
