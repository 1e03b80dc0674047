"""A table of methods beside a printed one: every number, and paired differences."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import read_table, read_yaml
from replication.core.record import PACKAGE
from replication.core.stage import Stage
from replication.published.reader import PublishedTable
from replication.samples.metrics import (
    CLASS_MEAN,
    metric_scores,
    metric_step,
    metric_weights,
)
from replication.samples.predictions import paired
from replication.statistics.intervals import estimate
from replication.statistics.results import PROTOCOLS, Cell, estimated
from replication.statistics.verdicts import judge_claim, judge_number, judged

# DLSA minus the head that it starts from mixes more training with the cascade. This
# asks about the cascade alone.
CASCADE_HELPS = (
    "The cascade itself helps: DLSA is better than a plain classifier that starts from "
    "the same head and is trained as long."
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

    @property
    def features(self) -> str:
        """The objective that the features were trained by: ce or paco."""
        return self.file.split("/")[0]


@dataclass(frozen=True)
class Comparison:
    """Which rows are compared, with which one, and with what in print.

    Fields: `section`, `benchmark`, `data` of the Cells; `table` as printed; `labels` of
    the methods; `full`, the row that every other is subtracted from; `plain`, the row
    whose difference to it decides on the full row's own number; `same_conditions`,
    whether the conditions are the paper's; `backbones`, how many trained networks are
    behind the rows; `other_features`, rows that are on other
    features than print's, whatever the conditions.
    """

    section: str
    benchmark: str
    data: str
    table: PublishedTable
    labels: Mapping[str, str]
    full: str
    plain: str
    same_conditions: bool
    backbones: int
    other_features: frozenset[str] = frozenset()

    def printed(self, method: str, metric: str) -> float | None:
        """A printed number as a fraction; None where the paper prints none."""
        rows = self.table.rows
        if method not in rows or self.benchmark != self.table.benchmark:
            return None
        percent = rows[method].values.get(metric)
        return None if percent is None else percent / 100


def methods_file(section: str) -> Path:
    """Where a section lists its methods."""
    return PACKAGE / "sections" / section / "methods.yaml"


def read_methods(section: str, table: PublishedTable) -> dict[str, Method]:
    """The rows of a table by key: those that methods.yaml lists, in its order.

    Then come the printed rows that it does not list: each is the variant of DLSA of
    that name.
    """
    listed = read_yaml(methods_file(section))
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
    needed: set[str],
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
    rows: Comparison,
    predictions: Mapping[str, pd.DataFrame],
    train_counts: np.ndarray,
) -> tuple[Cell, ...]:
    """Every number of a table under both protocols, with interval and verdict.

    Implements: Sect. 6, Table 1; Sect. 7, Table 2.

    Args:
        predictions: method -> what it wrote; a method that is not there has no Cells.
        train_counts: (C,) training images of each class.

    Returns:
        A Cell a method and metric, where the test set is unbalanced also for the mean
        over classes; and but for the full row one with `minus`: the full
        row minus the method, same samples and seeds, under the method's label.

    Raises:
        BadInput: methods differ in their seeds or test samples.
    """
    cells = []
    for protocol in PROTOCOLS:
        pairs = paired(predictions, protocol)
        weights = metric_weights(pairs.labels, train_counts)
        for metric in (*rows.table.metrics, CLASS_MEAN):
            if metric not in weights:
                continue
            scores = {
                method: metric_scores(metric, answers, pairs.labels, len(train_counts))
                for method, answers in pairs.of.items()
            }
            cells += _cells(
                rows, protocol, metric, scores, weights[metric], pairs.labels
            )
    return tuple(cells)


def _cells(
    rows: Comparison,
    protocol: str,
    metric: str,
    scores: Mapping[str, np.ndarray],
    weights: np.ndarray,
    labels: np.ndarray,
) -> list[Cell]:
    """One metric of every row, scores (S, N), and its differences."""
    step = metric_step(metric)
    gaps = {
        method: estimate(scores[rows.full] - other, weights, labels, step=step)
        for method, other in scores.items()
        if method != rows.full and rows.full in scores
    }
    gains = {method: judge_claim(gap.low, gap.high) for method, gap in gaps.items()}
    gains[rows.full] = gains.get(rows.plain, "not run")
    full = rows.printed(rows.full, metric)
    cells = []
    for method, of_method in scores.items():
        printed, verdict = rows.printed(method, metric), None
        ours = estimate(of_method, weights, labels, step=step)
        if printed is not None:
            same = rows.same_conditions and method not in rows.other_features
            gain = gains.get(method, "not run")
            verdict = judge_number(
                printed, ours.per_seed, gain, same, rows.backbones, metric
            )
        new_cell = partial(
            Cell,
            section=rows.section,
            benchmark=rows.benchmark,
            data=rows.data,
            label=rows.labels[method],
            protocol=protocol,
            metric=metric,
        )
        known = ours.within(-1.0 if metric == "mcc" else 0.0, 1.0)
        value = estimated(known) | {"printed": printed, "verdict": verdict}
        cells.append(new_cell(method=method, **value))
        if method in gaps:
            gap = estimated(gaps[method]) | judged([gaps[method]])
            if printed is not None and full is not None:
                gap["printed"] = round(full - printed, 6)
            cells.append(new_cell(method=rows.full, minus=method, **gap))
    return cells


def answer_of(gap: Cell | None) -> dict[str, Any]:
    """What a difference answers, as fields of a Claim; not run where there is none."""
    if gap is None:
        return {"verdict": "not run"}
    return {name: getattr(gap, name) for name in _ASKED}
