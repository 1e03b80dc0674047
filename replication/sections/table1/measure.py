"""Table 1: the comparison of Sect. 6 on one benchmark, from predictions alone."""

from replication.core.files import read_json
from replication.core.stage import OUTPUTS, Stage
from replication.sections.basis import read_basis
from replication.sections.rows import printed_table, read_rows
from replication.sections.table1.experiment import FULL, table1_claims
from replication.statistics.moves import decisions
from replication.statistics.results import Measurement
from replication.statistics.verdicts import why_other_features

_ON_CE = ("ce/heads", "ce/decoupling")


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Every row's numbers, paired differences and claims.

    `about` is of PaCo's rows; `about["ce"]` of those on cross-entropy features.
    """
    table, folder = printed_table(stage, "table1"), OUTPUTS / benchmark
    ce = stage.about(*(folder / artefact for artefact in _ON_CE))
    basis = read_basis(stage, "table1", benchmark, *_ON_CE, "paco/dlsa/full", ce=ce)
    other_features = why_other_features(ce)
    rows = read_rows(stage, basis, table, FULL, other_features=bool(other_features))
    diagnostics = folder / "paco" / "dlsa" / "full" / "diagnostics.json"
    return basis.measured(
        rows.cells,
        table1_claims(rows.cells, table, basis),
        {
            "partial": rows.partial,
            "other_features": other_features,
            "diagnostics": read_json(stage.reads(diagnostics)),
        },
        decisions(rows.predictions),
    )
