"""The table of predictions: round trip through matrix and file, and refusals."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replication.core.files import read_table, write_table
from replication.samples.predictions import (
    by_seed,
    paired,
    predictions_table,
)

LABELS = np.array([2, 0, 1, 2])
MADE = {
    (7, "validated"): np.array([2, 0, 0, 1]),
    (7, "as_released"): np.array([0, 0, 0, 0]),
    (3, "validated"): np.array([1, 1, 1, 2]),
    (3, "as_released"): np.array([2, 2, 2, 2]),
}


def made_table() -> pd.DataFrame:
    return predictions_table(LABELS, MADE)


def check(table: pd.DataFrame) -> None:
    """Both protocols come back by seed, ascending, sample by sample."""
    for protocol in ("validated", "as_released"):
        predictions, labels, seeds = by_seed(table, protocol)
        assert seeds == [3, 7]
        expected = np.array([MADE[3, protocol], MADE[7, protocol]])
        np.testing.assert_array_equal(predictions, expected)
        np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("ending", ["csv", "safetensors"])
def test_round_trip_through_a_file(tmp_path: Path, ending: str) -> None:
    """What is written is what is read, whatever the kind of file or order of rows."""
    path = tmp_path / f"predictions.{ending}"
    write_table(path, made_table().sample(frac=1, random_state=1))
    check(read_table(path))


def test_undecided_samples_are_refused(refused) -> None:
    undecided = {**MADE, (3, "validated"): np.array([1, -1, -1, 2])}
    assert refused(lambda: predictions_table(LABELS, undecided)) == [
        "seed 3, protocol validated: expected a class for every test sample, 2 of 4 "
        "have none"
    ]


def test_a_sample_that_is_missing_or_twice_is_refused(refused) -> None:
    """Also a protocol that was not run; the other one can still be read."""
    table = made_table()
    gone = (table["seed"] == 3) & (table["sample"] == 2)
    broken = {
        ("validated", 7): table[~(gone & (table["protocol"] == "validated"))],
        ("validated", 9): pd.concat([table, table.iloc[:1]]),
        ("as_released", 0): table[table["protocol"] == "validated"],
    }
    for (protocol, rows), some in broken.items():
        assert refused(partial(by_seed, some, protocol)) == [
            "predictions: expected every sample once under every seed of protocol "
            f"{protocol}, got {rows} rows"
        ]
    assert by_seed(broken["validated", 7], "as_released")[0].shape == (2, 4)


def test_methods_are_paired_by_sample_and_seed(refused) -> None:
    """Other seeds or other samples are refused by name."""
    pairs = paired({"a": made_table(), "b": made_table()}, "validated")
    assert pairs.seeds == (3, 7) and pairs.labels.tolist() == LABELS.tolist()
    assert (pairs.of["a"] == pairs.of["b"]).all()
    fewer = predictions_table(LABELS, {(3, "validated"): LABELS})
    assert refused(lambda: paired({"a": fewer, "b": made_table()}, "validated")) == [
        "predictions of b, protocol validated: expected the seeds of a, [3], got [3, 7]"
    ]
    other = predictions_table(LABELS[::-1], MADE)
    assert refused(lambda: paired({"a": other, "b": made_table()}, "validated")) == [
        "predictions of b, protocol validated: expected the test samples of a, got "
        "others"
    ]
