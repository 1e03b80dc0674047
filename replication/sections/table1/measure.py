"""Table 1: the comparison of Sect. 6 on one benchmark, from predictions alone."""

import numpy as np

from replication.core.files import read_json
from replication.core.settings import PUBLISHED
from replication.core.stage import OUTPUTS, Stage
from replication.published.reader import read_published_tables
from replication.sections.table1.experiment import FULL, PLAIN, table1_claims
from replication.statistics.comparison import (
    Comparison,
    methods_file,
    read_methods,
    read_predictions,
    table_cells,
)
from replication.statistics.moves import decisions
from replication.statistics.results import (
    BACKBONES_OF_A_RUN,
    Measurement,
    data_in_words,
    grade_of,
    without_names,
)
from replication.statistics.verdicts import why_other_features, why_partial


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Every row's numbers, paired differences and claims.

    `about` is of PaCo's rows; `about["ce"]` of those on cross-entropy features.
    """
    stage.reads(PUBLISHED / "tables.yaml")
    table = read_published_tables()["table1"]
    stage.reads(methods_file("table1"))
    methods = read_methods("table1", table)
    folder = OUTPUTS / benchmark
    data = read_json(stage.reads(folder / "data" / "summary.json"))
    full = folder / "paco" / "dlsa" / "full"
    on_ce = [folder / "ce" / name for name in ("heads", "decoupling")]
    ce, about = stage.about(*on_ce), stage.about(*on_ce, full)
    published = read_json(stage.reads(PUBLISHED / "class_counts.json"))
    partial = why_partial(table.benchmark, data, published[table.benchmark], about)
    other_features = why_other_features(ce)
    others = {key for key in table.rows if methods[key].features == "ce"}
    given = read_predictions(stage, folder, methods, set(table.rows), about["start"])
    cells = table_cells(
        Comparison(
            section="table1",
            benchmark=benchmark,
            data=data_in_words(data),
            table=table,
            labels={key: method.label for key, method in methods.items()},
            full=FULL,
            plain=PLAIN,
            same_conditions=not partial,
            backbones=BACKBONES_OF_A_RUN,
            other_features=frozenset(others if other_features else ()),
        ),
        given,
        np.array(data["class_counts"]),
    )
    return Measurement(
        section="table1",
        benchmark=benchmark,
        cells=cells,
        claims=table1_claims(cells, table, benchmark, grade_of(data, about)),
        data=without_names(data),
        about=about | {"ce": ce},
        details={
            "partial": partial,
            "other_features": other_features,
            "diagnostics": read_json(stage.reads(full / "diagnostics.json")),
        },
        decisions=decisions(given),
    )
