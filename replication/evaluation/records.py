"""What the records of every table have in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from replication.evaluation.intervals import Estimate
from replication.evaluation.predictions import by_seed
from replication.settings import PublishedTable

PROTOCOLS = ("paper", "released_code")


def right_answers(
    predictions: Mapping[str, pd.DataFrame], protocol: str
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Method -> (S, N) 1 where right, as whole numbers; and the labels (N,)."""
    right = {}
    labels = np.empty(0)
    for method, table in predictions.items():
        predicted, labels, _ = by_seed(table, protocol)
        right[method] = (predicted == labels).astype(np.int8)
    return right, labels


def as_printed(
    table: PublishedTable, method: str, metric: str, same_benchmark: bool
) -> float | None:
    """A printed number as a fraction; None where the paper prints none."""
    if method not in table.rows or not same_benchmark:
        return None
    percent = table.rows[method].values[metric]
    return None if percent is None else percent / 100


def interval_record(ours: Estimate) -> dict[str, Any]:
    """An estimate as the fields that every record has."""
    return {
        "mean": ours.mean,
        "low": ours.low,
        "high": ours.high,
        "per_seed": list(ours.per_seed),
        "seed_variance": ours.seed_variance,
        "test_variance": ours.test_variance,
    }
