"""Table 2: the ablation of Sect. 7 on one benchmark, from predictions alone."""

from functools import partial

import numpy as np

from replication.core.files import read_json
from replication.core.settings import PUBLISHED
from replication.core.stage import OUTPUTS, Stage
from replication.published.reader import read_published_tables
from replication.sections.table2.experiment import (
    FULL,
    START,
    changed_as_printed,
    greatest_drop,
    in_proportion,
    row_claims,
    separation_claims,
)
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
    Claim,
    Measurement,
    data_in_words,
    grade_of,
    without_names,
)
from replication.statistics.verdicts import why_partial


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Every row's numbers, paired differences and claims."""
    stage.reads(PUBLISHED / "tables.yaml")
    table = read_published_tables()["table2"]
    stage.reads(methods_file("table2"))
    methods = read_methods("table2", table)
    folder = OUTPUTS / benchmark
    data = read_json(stage.reads(folder / "data" / "summary.json"))
    variants = {row: folder / "paco" / "dlsa" / row for row in table.rows}
    filters = {row: stage.about(place)["filter"] for row, place in variants.items()}
    about = stage.about(*variants.values(), variants[FULL])
    published = read_json(stage.reads(PUBLISHED / "class_counts.json"))
    reasons = why_partial(table.benchmark, data, published[table.benchmark], about)
    needed = {START, *table.rows}
    predictions = read_predictions(stage, folder, methods, needed, about["start"])
    counts = np.array(data["class_counts"])
    comparison = Comparison(
        section="table2",
        benchmark=benchmark,
        data=data_in_words(data),
        table=table,
        labels={key: method.label for key, method in methods.items()},
        full=FULL,
        plain=START,
        same_conditions=not reasons,
        backbones=BACKBONES_OF_A_RUN,
    )
    cells = table_cells(comparison, predictions, counts)
    diagnostics = {
        row: read_json(stage.reads(place / "diagnostics.json"))
        for row, place in variants.items()
    }
    new_claim = partial(
        Claim,
        section="table2",
        place="Sect. 7",
        benchmark=benchmark,
        grade=grade_of(data, about),
    )
    clusters = filters[FULL]["num_clusters"]
    scaled = about["recipe"] == "scaled"
    as_run = in_proportion(table, clusters) if scaled else table
    given = (as_run, changed_as_printed(as_run, filters), new_claim)
    claims = [
        *row_claims(cells, *given),
        *greatest_drop(predictions, counts, *given),
        *separation_claims(diagnostics, *given),
    ]
    return Measurement(
        section="table2",
        benchmark=benchmark,
        cells=cells,
        claims=tuple(claims),
        data=without_names(data),
        about=about,
        details={
            "partial": reasons,
            "diagnostics": diagnostics,
            "clusters": {row: used["num_clusters"] for row, used in filters.items()},
        },
        decisions=decisions(predictions),
    )
