"""Table 2 (Sect. 7): records, paired differences and claims from predictions alone."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd

from replication.core.settings import PublishedTable
from replication.samples.metrics import accuracy_weights
from replication.statistics.comparison import (
    PROTOCOLS,
    Comparison,
    judged,
    metric_records,
    right_answers,
)
from replication.statistics.intervals import estimate, over_seeds
from replication.statistics.verdicts import JUDGED

# What stands beside the printed rows: the head that DLSA starts from, and others.
BASELINES = {
    "start": "PaCo + BalSoftmax, no DLSA",
    "own_head": "Network's own head, no DLSA",
    "balanced_softmax": "BalSoftmax refitted, no DLSA",
}


def table2_records(
    predictions: Mapping[str, pd.DataFrame],
    train_counts: np.ndarray,
    table: PublishedTable,
    about: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Every cell of Table 2, the baselines' too, with interval and verdict.

    Implements: Sect. 7, Table 2.

    Args:
        predictions: method -> the table that the method wrote.
        train_counts: (C,) training images of each class.
        table: as printed.
        about: benchmark, data, and whether the conditions are the paper's
            (`same_conditions`) and the benchmark the table's (`same_benchmark`).

    Returns:
        Tidy records. `kind` value: a method's accuracy. `kind` difference: the full
        model minus the method, same samples and seeds; what the claims are about.
    """
    rows = Comparison(table, "full", "start", BASELINES, about)
    records = []
    for protocol in PROTOCOLS:
        right, labels = right_answers(predictions, protocol)
        weights = accuracy_weights(labels, train_counts)
        for metric in table.metrics:
            records += metric_records(
                rows, protocol, metric, right, weights[metric], labels
            )
    return records


def changed_as_printed(filters: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Rows whose change from the full model is the printed one, as they were run.

    Implements: Sect. 7. A what-if may make the full model what a row was to differ in:
    with lambda_pure=0 nothing is left to be removed, with num_clusters=1000 there is no
    default of 500. What such a row shows is no test of its sentence.

    Args:
        filters: variant -> the filter's settings that its run recorded.
    """
    full = filters["full"]
    found = {
        row for row, loss in _LOSSES.items() if filters[row][loss] == 0 < full[loss]
    }
    counts = {row: filters[row]["num_clusters"] for row in _CLUSTERS}
    if full["num_clusters"] == _CLUSTERS["full"]:
        found |= {row for row in _CLUSTERS if counts[row] == _CLUSTERS[row]} - {"full"}
    return frozenset(found)


def table2_claims(
    records: list[dict[str, Any]], tested: AbstractSet[str]
) -> list[dict[str, Any]]:
    """The sentences of Sect. 7 that can be wrong, each with what was measured.

    Args:
        records: of `table2_records`.
        tested: rows that test their sentence, of `changed_as_printed`.

    Returns:
        For each claim and protocol: section, sentence, test, estimate, interval,
        verdict, p-value and detectable difference; not run where its row tests nothing.
    """
    claims = []
    for protocol in PROTOCOLS:
        gaps = {
            record["method"]: record
            for record in records
            if record["kind"] == "difference"
            and record["protocol"] == protocol
            and record["metric"] == "overall"
        }
        for method, sentence in _SENTENCES.items():
            gap = gaps[method]
            if method not in BASELINES and method not in tested:
                gap = {**gap, **_NOTHING}
            claims.append(
                {
                    "section": "Sect. 6" if method in BASELINES else "Sect. 7",
                    "sentence": sentence,
                    "test": f"Overall, full model minus {gap['label']}, paired",
                    "protocol": protocol,
                    **{name: gap[name] for name in JUDGED},
                }
            )
    return claims


_NOTHING = dict.fromkeys(JUDGED) | {"verdict": "not run"}
_LOSSES = {"no_mle": "lambda_mle", "no_bal": "lambda_bal", "no_pure": "lambda_pure"}
_GREATEST = "Among the losses, w/o L_MLE shows the greatest degradation."
_SENTENCES = {
    "no_mle": "Removing L_MLE leads to a significant performance drop.",
    "no_bal": "Removing L_bal leads to a significant performance drop.",
    "no_pure": "Removing L_pure leads to a significant performance drop.",
    "clusters_300": "Models with fewer clusters perform worse than the default 500.",
    "clusters_1000": "Models with more clusters perform worse than the default 500.",
    "start": "DLSA improves on PaCo + Balanced Softmax.",
}


def greatest_drop(
    predictions: Mapping[str, pd.DataFrame],
    train_counts: np.ndarray,
    tested: AbstractSet[str],
) -> list[dict[str, Any]]:
    """Sect. 7: `w/o L_MLE shows the greatest degradation`, against each other loss.

    Args:
        predictions: as for `table2_records`.
        train_counts: (C,).
        tested: as for `table2_claims`; all three losses have to be among them.

    Returns:
        As `table2_claims`. Supported where both differences are positive, contradicted
        where one is negative.
    """
    claims = []
    for protocol in PROTOCOLS:
        right, labels = right_answers(predictions, protocol)
        weights = accuracy_weights(labels, train_counts)["overall"]
        gaps = [
            estimate(right[other] - right["no_mle"], weights, labels)
            for other in ("no_bal", "no_pure")
        ]
        claims.append(
            {
                "section": "Sect. 7",
                "sentence": _GREATEST,
                "test": "Overall, smaller of (w/o L_bal, w/o L_pure) minus w/o L_MLE",
                "protocol": protocol,
                **(judged(gaps) if _LOSSES.keys() <= tested else _NOTHING),
            }
        )
    return claims


def mechanism_claims(
    timing: Mapping[str, Mapping[str, Mapping[str, float]]],
    diagnostics: Mapping[str, Mapping[str, Any]],
    tested: AbstractSet[str],
) -> list[dict[str, Any]]:
    """Sect. 7 on why: what L_MLE controls, and what clusters cost.

    Args:
        timing: variant -> seed -> epoch_seconds, seconds_per_1000 of its filter.
        diagnostics: variant -> seed -> what the stage `dlsa` wrote.
        tested: as for `table2_claims`.

    Returns:
        For each claim: section, sentence, test, unit, estimate, interval over seeds,
        verdict, p-value and detectable difference; `protocol` None: both share the
        filters.
    """
    seeds = list(timing["full"])

    def auroc(variant: str, seed: str) -> float:
        first = diagnostics[variant][seed]["filters"][0]
        value = first["splits"]["test"]["auroc_tail"]
        return float("nan") if value is None else value

    def slower(name: str, more: str, less: str) -> list[float]:
        """Log of the ratio of times, a seed; NaN where one was not timed."""
        pairs = [[timing[one][seed][name] for one in (more, less)] for seed in seeds]
        longer, shorter = np.array(pairs, dtype=float).T
        return np.log(longer / shorter).tolist()

    apart = [auroc("full", seed) - auroc("no_mle", seed) for seed in seeds]
    measured = [
        (
            "L_MLE controls the head-tail separation.",
            "AUROC of log P(x), Few against Many test images at depth 1: full model "
            "minus w/o L_MLE",
            "AUROC",
            apart if "no_mle" in tested else [],
        )
    ]
    for name, what in (
        ("epoch_seconds", "training: seconds an epoch"),
        ("seconds_per_1000", "inference: seconds per 1,000 samples"),
    ):
        for more, less in (("clusters_1000", "full"), ("full", "clusters_300")):
            counts = f"{_CLUSTERS[more]} against {_CLUSTERS[less]} clusters"
            measured.append(
                (
                    f"A larger cluster number makes {what.split(':')[0]} slower "
                    f"({counts}).",
                    f"ratio of {what.split(': ')[1]}, {counts}, geometric mean",
                    _LOG_RATIO,
                    slower(name, more, less)
                    if {more, less} - {"full"} <= tested
                    else [],
                )
            )
    claims = []
    for sentence, test, unit, values in measured:
        claims.append(
            {
                "section": "Sect. 7",
                "sentence": sentence,
                "test": test,
                "unit": unit,
                "protocol": None,
                "timed": unit == _LOG_RATIO,
                **judged([over_seeds(values)]),
            }
        )
    return claims


_LOG_RATIO = "log ratio"
_CLUSTERS = {"clusters_300": 300, "full": 500, "clusters_1000": 1000}
