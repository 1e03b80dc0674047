"""The contract between methods and everything that is said of them.

Every method writes one table: sample, label, seed, protocol, prediction.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from replication.core.files import BadInput

_NUMBERS = ("sample", "label", "seed", "prediction")


def predictions_table(
    labels: np.ndarray, predictions: Mapping[tuple[int, str], np.ndarray]
) -> pd.DataFrame:
    """The table that every method writes, of labels (N,) and predictions (N,).

    Raises BadInput: a sample was not decided (a prediction below 0).
    """
    parts = []
    for (seed, protocol), predicted in predictions.items():
        undecided = int((predicted < 0).sum())
        if undecided:
            raise BadInput(
                f"seed {seed}, protocol {protocol}: expected a class for every test "
                f"sample, {undecided} of {len(predicted)} have none"
            )
        columns = {
            "sample": np.arange(len(labels)),
            "label": labels,
            "seed": seed,
            "protocol": protocol,
            "prediction": predicted,
        }
        parts.append(pd.DataFrame(columns))
    table = pd.concat(parts, ignore_index=True)
    return table.astype(dict.fromkeys(_NUMBERS, np.int32))


def by_seed(table: pd.DataFrame, protocol: str) -> tuple[np.ndarray, np.ndarray, list]:
    """One protocol's predictions as a matrix.

    Returns predictions (S, N), labels (N,), and the S seeds, ascending. Raises
    BadInput: samples or seeds are missing.
    """
    rows = table[table["protocol"] == protocol]
    refusal = BadInput(
        f"predictions: expected every sample once under every seed of protocol "
        f"{protocol}, got {len(rows)} rows"
    )
    if rows.duplicated(["seed", "sample"]).any():
        raise refusal
    matrix = rows.pivot(index="seed", columns="sample", values="prediction")
    if matrix.empty or matrix.isna().any().any():
        raise refusal
    labels = rows[rows["seed"] == matrix.index[0]].sort_values("sample")["label"]
    return matrix.to_numpy(), labels.to_numpy(), matrix.index.tolist()


@dataclass(frozen=True)
class Paired:
    """Methods on the same test samples under the same seeds: what pairing needs.

    Fields: `of`: method -> (S, N) classes; `labels` (N,); the S `seeds`, ascending.
    """

    of: Mapping[str, np.ndarray]
    labels: np.ndarray
    seeds: tuple[int, ...]


def paired(tables: Mapping[str, pd.DataFrame], protocol: str) -> Paired:
    """One protocol's predictions of several methods, sample by sample.

    Raises BadInput: methods differ in their seeds or test samples.
    """
    matrices = {method: by_seed(table, protocol) for method, table in tables.items()}
    first = next(iter(matrices))
    _, labels, seeds = matrices[first]
    for method, (_, its_labels, its_seeds) in matrices.items():
        words = f"predictions of {method}, protocol {protocol}: expected the"
        if its_seeds != seeds:
            raise BadInput(f"{words} seeds of {first}, {seeds}, got {its_seeds}")
        if not np.array_equal(its_labels, labels):
            raise BadInput(f"{words} test samples of {first}, got others")
    answers = {method: matrix for method, (matrix, *_) in matrices.items()}
    return Paired(answers, labels, tuple(seeds))
