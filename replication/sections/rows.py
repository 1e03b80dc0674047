"""What Tables 1 and 2 share: every row that was run, beside the printed ones."""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from replication.core.files import read_json, read_table, read_yaml
from replication.core.record import PACKAGE
from replication.core.settings import PUBLISHED
from replication.core.stage import OUTPUTS, Stage
from replication.published.reader import PublishedTable, read_published_tables
from replication.samples.metrics import (
    CLASS_MEAN,
    metric_scores,
    metric_step,
    metric_weights,
)
from replication.samples.predictions import paired
from replication.sections.basis import Basis
from replication.statistics.intervals import estimate
from replication.statistics.results import PROTOCOLS, Cell, estimated
from replication.statistics.verdicts import judge_number, judged, why_partial

# DLSA minus the head that it starts from mixes more training with the cascade. This
# asks about the cascade, with the start of the weights that it adds.
CASCADE_HELPS = (
    "DLSA is more than training its head longer: it is better than a plain classifier "
    "that starts from the same head and is trained as long."
)
_ASKED = ("mean", "low", "high", "verdict", "p_value", "detectable")


@dataclass(frozen=True)
class Method:
    """A row of a table: its label and its predictions.

    Fields: `file` below outputs/<benchmark>/; its first folder says whose features the
    method works on, ce or paco.
    """

    label: str
    file: str


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
    needed: Iterable[str] = (),
    other_features: bool = False,
) -> Rows:
    """Every row's numbers, and the full row minus each of them.

    Args:
        full: row that all others are subtracted from.
        needed: rows that must be there, beside the printed ones.
        other_features: whether cross-entropy's rows are on other features than print's.
    """
    stage.reads(_methods_file(basis.section))
    methods = read_methods(basis.section, table)
    published = read_json(stage.reads(PUBLISHED / "class_counts.json"))
    why = why_partial(
        table.benchmark, basis.data, published[table.benchmark], basis.about
    )
    predictions = read_predictions(
        stage,
        OUTPUTS / basis.benchmark,
        methods,
        {*table.rows, *needed},
        basis.about["start"],
    )
    other = {
        key
        for key, method in methods.items()
        if why or (other_features and method.file.startswith("ce/"))
    }
    return Rows(
        predictions, table_cells(basis, table, methods, full, predictions, other), why
    )


def _methods_file(section: str) -> Path:
    """Where a section lists its methods."""
    return PACKAGE / "sections" / section / "methods.yaml"


def read_methods(section: str, table: PublishedTable) -> dict[str, Method]:
    """The rows of a table by key: those that methods.yaml lists, in its order.

    Then come the printed rows that it does not list: each is the variant of DLSA of
    that name.
    """
    listed = read_yaml(_methods_file(section))
    labels = {key: row.label for key, row in table.rows.items()}
    methods = {
        key: Method(labels.get(key) or entry["label"], entry["file"])
        for key, entry in listed.items()
    }
    return methods | {
        row: Method(labels[row], f"paco/dlsa/{row}/predictions.safetensors")
        for row in table.rows
        if row not in listed
    }


def read_predictions(
    stage: Stage,
    folder: Path,
    methods: Mapping[str, Method],
    needed: Collection[str],
    start: str,
) -> dict[str, pd.DataFrame]:
    """Method -> its predictions. What is not needed is left out where it has no file.

    Args:
        folder: outputs/<benchmark>/.
        start: the head that DLSA starts from; a row for it under its own name would
            repeat the row `heads/start`, and is left out.
    """
    again = f"paco/heads/{start}.predictions.safetensors"
    tables = {}
    for key, method in methods.items():
        path = folder / method.file
        if key in needed or (path.is_file() and method.file != again):
            tables[key] = read_table(stage.reads(path))
    return tables


def table_cells(
    basis: Basis,
    table: PublishedTable,
    methods: Mapping[str, Method],
    full: str,
    predictions: Mapping[str, pd.DataFrame],
    other: AbstractSet[str] = frozenset(),
) -> tuple[Cell, ...]:
    """Every number of a table under both protocols, with interval and verdict.

    Implements: Sect. 6, Table 1; Sect. 7, Table 2.

    Args:
        full: the row that every other is subtracted from.
        predictions: method -> what it wrote; a method that is not there has no Cells.
        other: methods under other conditions than print's.

    Returns:
        A Cell a method and metric, where the test set is unbalanced also for the mean
        over classes; and but for the full row one with `minus`: the full row minus the
        method, same samples and seeds, under the method's label.

    Raises:
        BadInput: methods differ in their seeds or test samples.
    """
    in_print = table.rows if basis.benchmark == table.benchmark else {}
    classes, cells = len(basis.train_counts), []
    for protocol in PROTOCOLS:
        pairs = paired(predictions, protocol)
        weights = metric_weights(pairs.labels, basis.train_counts)
        for metric in (*table.metrics, CLASS_MEAN):
            if metric not in weights:
                continue
            new = partial(basis.cell, protocol=protocol, metric=metric)
            over = {"weights": weights[metric], "strata": pairs.labels}
            scored = partial(estimate, **over, step=metric_step(metric))
            percents = {m: row.values.get(metric) for m, row in in_print.items()}
            printed = {m: p / 100 for m, p in percents.items() if p is not None}
            scores = {
                method: metric_scores(metric, answers, pairs.labels, classes)
                for method, answers in pairs.of.items()
            }
            for method, of_method in scores.items():
                label, number = methods[method].label, printed.get(method)
                ours = scored(of_method)
                known = ours.within(-1.0 if metric == "mcc" else 0.0, 1.0)
                value = {"method": method, "label": label, "printed": number}
                if number is not None:
                    value["verdict"] = judge_number(ours.per_seed, method not in other)
                cells.append(new(**value, **estimated(known)))
                if method != full and full in scores:
                    gap = scored(scores[full] - of_method)
                    both = number is not None and full in printed
                    less = round(printed[full] - number, 6) if both else None
                    value = {"method": full, "minus": method, "label": label}
                    answer = estimated(gap) | judged([gap])
                    cells.append(new(**value, printed=less, **answer))
    return tuple(cells)


def answer_of(gap: Cell | None) -> dict[str, Any]:
    """What a difference answers, as fields of a Claim; not run where there is none."""
    if gap is None:
        return {"verdict": "not run"}
    return {name: getattr(gap, name) for name in _ASKED}
