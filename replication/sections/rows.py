"""What Tables 1 and 2 share: every row that was run, beside the printed ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from replication.core.files import read_json
from replication.core.settings import PUBLISHED
from replication.core.stage import OUTPUTS, Stage
from replication.published.reader import PublishedTable, read_published_tables
from replication.sections.basis import Basis
from replication.statistics.comparison import (
    Comparison,
    methods_file,
    read_methods,
    read_predictions,
    table_cells,
)
from replication.statistics.results import BACKBONES_OF_A_RUN, Cell, data_in_words
from replication.statistics.verdicts import why_partial


@dataclass(frozen=True)
class Rows:
    """What was run of a table.

    Fields: `predictions` of each method; `cells` of `table_cells`; `partial`: why none
    of its numbers can be the printed one.
    """

    predictions: Mapping[str, pd.DataFrame]
    cells: tuple[Cell, ...]
    partial: list[str]


def printed_table(stage: Stage, name: str) -> PublishedTable:
    """`table1` or `table2`, as printed."""
    stage.reads(PUBLISHED / "tables.yaml")
    return read_published_tables()[name]


def read_rows(
    stage: Stage,
    basis: Basis,
    table: PublishedTable,
    full: str,
    plain: str,
    needed: Iterable[str] = (),
    other_features: bool = False,
) -> Rows:
    """Every row's numbers, and the full row minus each of them.

    Args:
        full: row that all others are subtracted from; `plain`: what it starts from.
        needed: rows that must be there, beside the printed ones.
        other_features: whether cross-entropy's rows are on other features than print's.
    """
    stage.reads(methods_file(basis.section))
    methods = read_methods(basis.section, table)
    published = read_json(stage.reads(PUBLISHED / "class_counts.json"))
    partial = why_partial(
        table.benchmark, basis.data, published[table.benchmark], basis.about
    )
    predictions = read_predictions(
        stage,
        OUTPUTS / basis.benchmark,
        methods,
        {*table.rows, *needed},
        basis.about["start"],
    )
    on_ce = frozenset(row for row in table.rows if methods[row].features == "ce")
    comparison = Comparison(
        section=basis.section,
        benchmark=basis.benchmark,
        data=data_in_words(basis.data),
        table=table,
        labels={key: method.label for key, method in methods.items()},
        full=full,
        plain=plain,
        same_conditions=not partial,
        backbones=BACKBONES_OF_A_RUN,
        other_features=on_ce if other_features else frozenset(),
    )
    cells = table_cells(comparison, predictions, basis.train_counts)
    return Rows(predictions, cells, partial)
