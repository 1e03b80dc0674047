"""Table 1 (Sect. 6): records, paired differences and claims from predictions alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from replication.evaluation.association import mcc_scores, nmi_scores
from replication.evaluation.intervals import estimate
from replication.evaluation.metrics import accuracy_weights
from replication.evaluation.predictions import by_seed
from replication.evaluation.records import PROTOCOLS, as_printed, interval_record
from replication.evaluation.verdicts import judge_claim, judge_number
from replication.files import BadInput
from replication.settings import PublishedTable

# What stands beside the printed rows and is not in print.
BASELINES = {
    "ce": "Cross-entropy network",
    "ce_balanced": "Cross-entropy features, BalSoftmax refitted",
    "paco_refit": "PaCo features, BalSoftmax refitted",
}
_FULL, _PLAIN = "paco_dlsa", "paco"
_NOTHING = {"mean": None, "low": None, "high": None, "verdict": "not run"}


def table1_records(
    predictions: Mapping[str, pd.DataFrame],
    train_counts: np.ndarray,
    table: PublishedTable,
    about: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Every cell of Table 1, the baselines' too, with interval and verdict.

    Implements: Sect. 6, Table 1.

    Args:
        predictions: method -> the table that the method wrote; a method that is not
            there gets no records.
        train_counts: (C,) training images of each class.
        table: as printed.
        about: benchmark, data, and whether the conditions are the paper's
            (`same_conditions`) and the benchmark the table's (`same_benchmark`).

    Returns:
        Tidy records. `kind` value: a method's metric. `kind` difference: PaCo +
        BalSoftmax + DLSA minus the method, same samples and seeds; what the claims are
        about. The verdict on its own number rests on its difference to PaCo +
        BalSoftmax.

    Raises:
        BadInput: methods differ in their seeds or test samples.
    """
    records = []
    for protocol in PROTOCOLS:
        scores, weights, labels = _scores(predictions, protocol, train_counts)
        for metric in table.metrics:
            of_method, weight = scores[metric], weights[metric]
            gaps = {}
            if _FULL in of_method:
                gaps = {
                    method: estimate(of_method[_FULL] - mine, weight, labels)
                    for method, mine in of_method.items()
                    if method != _FULL
                }
            claims = {
                method: judge_claim(gap.low, gap.high) for method, gap in gaps.items()
            }
            claims[_FULL] = claims.get(_PLAIN, "not run")
            full = as_printed(table, _FULL, metric, about["same_benchmark"])
            for method, mine in of_method.items():
                printed = as_printed(table, method, metric, about["same_benchmark"])
                ours = estimate(mine, weight, labels)
                verdict = None
                if printed is not None:
                    claim = claims.get(method, "not run")
                    verdict = judge_number(
                        printed, ours.per_seed, claim, about["same_conditions"]
                    )
                common = {
                    "benchmark": about["benchmark"],
                    "data": about["data"],
                    "method": method,
                    "label": BASELINES.get(method) or table.rows[method].label,
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
                    "verdict": claims[method],
                }
                records.append(common | gap | interval_record(gaps[method]))
    return records


def table1_claims(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Table 1 shows and could be wrong, each with what was measured.

    Returns:
        For each claim and protocol: section, sentence, test, estimate, interval and
        verdict; no estimate where a method has no records.
    """
    claims = []
    for protocol in PROTOCOLS:
        gaps = {
            (record["method"], record["metric"]): record
            for record in records
            if record["kind"] == "difference" and record["protocol"] == protocol
        }
        for (method, metric), sentence in _SENTENCES.items():
            gap = gaps.get((method, metric), _NOTHING)
            claims.append(
                {
                    "section": "Sect. 6",
                    "sentence": sentence,
                    "test": f"{_WORDS[metric]}, DLSA's row minus {_ROWS[method]}, "
                    "paired",
                    "protocol": protocol,
                    "mean": gap["mean"],
                    "low": gap["low"],
                    "high": gap["high"],
                    "verdict": gap["verdict"],
                }
            )
    return claims


_WORDS = {
    "overall": "Overall accuracy",
    "many": "Many-shot accuracy",
    "medium": "Medium-shot accuracy",
    "few": "Few-shot accuracy",
    "mcc": "MCC",
    "nmi": "NMI",
}
_ROWS = {_PLAIN: "PaCo + BalSoftmax", "lws": "LWS", "crt": "cRT"}
# (method, metric) -> what print shows of DLSA's row against the method.
_SENTENCES = {
    (_PLAIN, metric): f"DLSA improves PaCo + BalSoftmax in {word}."
    for metric, word in _WORDS.items()
} | {
    (method, "overall"): "PaCo + BalSoftmax + DLSA is the best row in Overall "
    f"accuracy: better than {_ROWS[method]}."
    for method in ("lws", "crt")
}


def _scores(
    predictions: Mapping[str, pd.DataFrame], protocol: str, train_counts: np.ndarray
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray], np.ndarray | None]:
    """Metric -> method -> (S, N) scores; metric -> (N,) weights; labels (N,).

    The weighted mean of a row of scores is the metric under that seed.
    """
    matrices = {name: by_seed(one, protocol) for name, one in predictions.items()}
    first = next(iter(matrices))
    _, labels, seeds = matrices[first]
    for name, (_, its_labels, its_seeds) in matrices.items():
        if its_seeds != seeds:
            raise BadInput(
                f"predictions of {name}, protocol {protocol}: expected the seeds of "
                f"{first}, {seeds}, got {its_seeds}"
            )
        if not np.array_equal(its_labels, labels):
            raise BadInput(
                f"predictions of {name}, protocol {protocol}: expected the test "
                f"samples of {first}, got others"
            )
    weights = dict(accuracy_weights(labels, train_counts))
    right = {
        name: (predicted == labels).astype(np.int8)
        for name, (predicted, _, _) in matrices.items()
    }
    scores = dict.fromkeys(weights, right)
    for metric, scored in (("mcc", mcc_scores), ("nmi", nmi_scores)):
        weights[metric] = weights["overall"]
        scores[metric] = {
            name: scored(predicted, labels, len(train_counts))
            for name, (predicted, _, _) in matrices.items()
        }
    return scores, weights, labels
