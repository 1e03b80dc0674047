"""What the records of every table have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from replication.published.reader import PublishedTable
from replication.samples.predictions import by_seed
from replication.statistics.intervals import LEVEL, Estimate, estimate
from replication.statistics.verdicts import joint_p_value, judge_claim, judge_number

PROTOCOLS = ("paper", "released_code")


@dataclass(frozen=True)
class Comparison:
    """The rows of a table, and which are held against which.

    Fields: `table` as printed; `full`, the row that every other is held against;
    `plain`, the row whose difference to it decides on the full row's own number;
    `baselines`, label of each row that stands beside print; `about`, benchmark, data,
    and whether the conditions are the paper's (`same_conditions`) and the benchmark
    the table's (`same_benchmark`); `other_features`, rows on other features than
    print's, whatever the conditions.
    """

    table: PublishedTable
    full: str
    plain: str
    baselines: Mapping[str, str]
    about: Mapping[str, Any]
    other_features: frozenset[str] = frozenset()


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


def metric_records(
    rows: Comparison,
    protocol: str,
    metric: str,
    scores: Mapping[str, np.ndarray],
    weights: np.ndarray,
    labels: np.ndarray,
    step: float = 1.0,
) -> list[dict[str, Any]]:
    """One metric of every row under one protocol, and its paired differences.

    Args:
        scores: method -> (S, N); weights, labels: (N,); step: see `estimate`.

    Returns:
        For each method a record of `kind` value; and but for the full row one of `kind`
        difference: full minus the method, same samples and seeds.
    """
    gaps = {}
    if rows.full in scores:
        gaps = {
            method: estimate(scores[rows.full] - mine, weights, labels, step=step)
            for method, mine in scores.items()
            if method != rows.full
        }
    claims = {method: judge_claim(gap.low, gap.high) for method, gap in gaps.items()}
    claims[rows.full] = claims.get(rows.plain, "not run")
    same_benchmark = rows.about["same_benchmark"]
    full = as_printed(rows.table, rows.full, metric, same_benchmark)
    records = []
    for method, mine in scores.items():
        printed = as_printed(rows.table, method, metric, same_benchmark)
        ours = estimate(mine, weights, labels, step=step)
        verdict = None
        if printed is not None:
            verdict = judge_number(
                printed,
                ours.per_seed,
                claims.get(method, "not run"),
                rows.about["same_conditions"] and method not in rows.other_features,
                metric,
            )
        common = {
            "benchmark": rows.about["benchmark"],
            "data": rows.about["data"],
            "method": method,
            "label": rows.baselines.get(method) or rows.table.rows[method].label,
            "protocol": protocol,
            "metric": metric,
        }
        value = {"kind": "value", "published": printed, "verdict": verdict}
        records.append(common | value | interval_record(ours))
        if method not in gaps:
            continue
        known = printed is not None and full is not None
        gap = {
            "kind": "difference",
            "published": round(full - printed, 6) if known else None,
        }
        records.append(
            common | gap | interval_record(gaps[method]) | judged([gaps[method]])
        )
    return records


def interval_record(ours: Estimate) -> dict[str, Any]:
    """An estimate as the fields that every record has."""
    return {
        "mean": ours.mean,
        "low": ours.low,
        "high": ours.high,
        "per_seed": list(ours.per_seed),
        "seed_variance": ours.seed_variance,
        "test_variance": ours.test_variance,
        "freedom": ours.freedom,
    }


def judged(gaps: Sequence[Estimate]) -> dict[str, Any]:
    """What is said of a claim that every one of some differences is positive.

    Returns:
        Least mean and ends, all NaN where one is; verdict; `p_value`; `detectable`, the
        greatest. One of k differences would be below zero by chance k times as often:
        each upper end is that of an interval with 1 / k of the risk (Bonferroni). The
        least lower end needs no such care: all have to be above zero.
    """
    level = 1 - (1 - LEVEL) / max(len(gaps), 1)
    low = float(np.min([gap.low for gap in gaps]))
    high = float(np.min([gap.ends(level)[1] for gap in gaps]))
    return {
        "mean": float(np.min([gap.mean for gap in gaps])),
        "low": low,
        "high": high,
        "verdict": judge_claim(low, high),
        "p_value": joint_p_value([(gap.mean, gap.p_value) for gap in gaps]),
        "detectable": float(np.max([gap.detectable for gap in gaps])),
    }
