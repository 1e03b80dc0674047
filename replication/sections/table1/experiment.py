"""Table 1 (Sect. 6): records, paired differences and claims from predictions alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import BadInput
from replication.core.settings import PublishedTable
from replication.samples.association import STEPS, mcc_scores, nmi_scores
from replication.samples.metrics import accuracy_weights
from replication.samples.predictions import by_seed
from replication.statistics.comparison import PROTOCOLS, Comparison, metric_records
from replication.statistics.verdicts import JUDGED, corrected

# What stands beside the printed rows and is not in print.
BASELINES = {
    "ce": "Cross-entropy network",
    "ce_balanced": "Cross-entropy features, BalSoftmax refitted",
    "paco_refit": "PaCo features, BalSoftmax refitted",
}
_FULL, _PLAIN = "paco_dlsa", "paco"
_ON_CROSS_ENTROPY = ("lws", "crt")
_NOTHING = dict.fromkeys(JUDGED) | {"verdict": "not run"}


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
            (`same_conditions`), the benchmark the table's (`same_benchmark`), and
            cRT's and LWS's features other than print's (`other_features`).

    Returns:
        Tidy records. `kind` value: a method's metric. `kind` difference: PaCo +
        BalSoftmax + DLSA minus the method, same samples and seeds; what the claims are
        about. The verdict on its own number rests on its difference to PaCo +
        BalSoftmax.

    Raises:
        BadInput: methods differ in their seeds or test samples.
    """
    other = frozenset(_ON_CROSS_ENTROPY if about["other_features"] else ())
    rows = Comparison(table, _FULL, _PLAIN, BASELINES, about, other)
    records = []
    for protocol in PROTOCOLS:
        scores, weights, labels = _scores(predictions, protocol, train_counts)
        for metric in table.metrics:
            records += metric_records(
                rows,
                protocol,
                metric,
                scores[metric],
                weights[metric],
                labels,
                STEPS.get(metric, 1.0),
            )
    return records


def table1_claims(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Table 1 shows and could be wrong, each with what was measured.

    Returns:
        For each claim and protocol: section, sentence, test, estimate, interval,
        verdict, p-value (Holm's too, over these claims) and detectable difference; no
        estimate where a method has no records.
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
                    **{name: gap[name] for name in JUDGED},
                }
            )
    return corrected(claims)


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
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray], np.ndarray]:
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
