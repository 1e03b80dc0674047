"""The contract between methods and everything that is said of them.

Every method writes one table: sample, label, seed, protocol, prediction.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from replication.core.files import BadInput

COLUMNS = ("sample", "label", "seed", "protocol", "prediction")


def predictions_table(
    labels: np.ndarray, predictions: Mapping[tuple[int, str], np.ndarray]
) -> pd.DataFrame:
    """Put predictions into the table that every method writes.

    Args:
        labels: (N,) of the test samples, in the order of the index.
        predictions: (seed, protocol) -> (N,).

    Raises:
        BadInput: a sample was not decided (a prediction below 0).
    """
    parts = []
    for (seed, protocol), predicted in predictions.items():
        undecided = int((predicted < 0).sum())
        if undecided:
            raise BadInput(
                f"seed {seed}, protocol {protocol}: expected a class for every test "
                f"sample, {undecided} of {len(predicted)} have none"
            )
        parts.append(
            pd.DataFrame(
                {
                    "sample": np.arange(len(labels), dtype=np.int32),
                    "label": labels.astype(np.int32),
                    "seed": np.full(len(labels), seed, dtype=np.int32),
                    "protocol": pd.Categorical([protocol] * len(labels)),
                    "prediction": predicted.astype(np.int32),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    table["protocol"] = table["protocol"].astype(str)
    return table


def by_seed(table: pd.DataFrame, protocol: str) -> tuple[np.ndarray, np.ndarray, list]:
    """One protocol's predictions as a matrix.

    Returns:
        predictions (S, N), labels (N,), and the S seeds, ascending.

    Raises:
        BadInput: samples or seeds are missing.
    """
    mine = table[table["protocol"].astype(str) == protocol]
    refusal = BadInput(
        f"predictions: expected every sample once under every seed of protocol "
        f"{protocol}, got {len(mine)} rows"
    )
    if mine.duplicated(["seed", "sample"]).any():
        raise refusal
    matrix = mine.pivot(index="seed", columns="sample", values="prediction")
    if matrix.empty or matrix.isna().any().any():
        raise refusal
    labels = mine[mine["seed"] == matrix.index[0]].sort_values("sample")["label"]
    return matrix.to_numpy(), labels.to_numpy(), matrix.index.tolist()
