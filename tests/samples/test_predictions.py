"""The table of predictions: round trip through matrix and file, and refusals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replication.core.files import BadInput, read_table, write_table
from replication.samples.predictions import COLUMNS, by_seed, predictions_table

LABELS = np.array([2, 0, 1, 2])
MADE = {
    (7, "paper"): np.array([2, 0, 0, 1]),
    (7, "released_code"): np.array([0, 0, 0, 0]),
    (3, "paper"): np.array([1, 1, 1, 2]),
    (3, "released_code"): np.array([2, 2, 2, 2]),
}


def made_table() -> pd.DataFrame:
    return predictions_table(LABELS, MADE)


def check(table: pd.DataFrame) -> None:
    """Both protocols come back by seed, ascending, sample by sample."""
    for protocol in ("paper", "released_code"):
        predictions, labels, seeds = by_seed(table, protocol)
        assert seeds == [3, 7]
        expected = np.array([MADE[3, protocol], MADE[7, protocol]])
        np.testing.assert_array_equal(predictions, expected)
        np.testing.assert_array_equal(labels, LABELS)


def test_table_has_a_row_for_each_sample_seed_and_protocol() -> None:
    table = made_table()
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 4 * len(LABELS)
    assert not table.duplicated(["sample", "seed", "protocol"]).any()
    row = table[
        (table["seed"] == 7) & (table["protocol"] == "paper") & (table["sample"] == 3)
    ]
    assert row[["label", "prediction"]].to_numpy().tolist() == [[2, 1]]


def test_round_trip_through_the_matrix() -> None:
    check(made_table())


@pytest.mark.parametrize("ending", ["csv", "safetensors"])
def test_round_trip_through_a_file(tmp_path: Path, ending: str) -> None:
    """What is written is what is read, whatever the kind of file."""
    path = tmp_path / f"predictions.{ending}"
    write_table(path, made_table())
    check(read_table(path))


def test_the_order_of_the_rows_does_not_matter() -> None:
    check(made_table().sample(frac=1, random_state=1))


def test_inputs_are_left_alone() -> None:
    table = made_table()
    before = table.copy()
    by_seed(table, "paper")
    pd.testing.assert_frame_equal(table, before)


def test_undecided_samples_are_refused() -> None:
    undecided = {**MADE, (3, "paper"): np.array([1, -1, -1, 2])}
    with pytest.raises(BadInput) as refusal:
        predictions_table(LABELS, undecided)
    assert str(refusal.value) == (
        "seed 3, protocol paper: expected a class for every test sample, "
        "2 of 4 have none"
    )


def test_a_missing_sample_is_refused() -> None:
    table = made_table()
    gone = (
        (table["seed"] == 3) & (table["protocol"] == "paper") & (table["sample"] == 2)
    )
    with pytest.raises(BadInput) as refusal:
        by_seed(table[~gone], "paper")
    assert str(refusal.value) == (
        "predictions: expected every sample once under every seed of protocol paper, "
        "got 7 rows"
    )
    assert by_seed(table[~gone], "released_code")[0].shape == (2, 4)


def test_a_protocol_that_was_not_run_is_refused() -> None:
    table = made_table()
    with pytest.raises(BadInput) as refusal:
        by_seed(table[table["protocol"] == "paper"], "released_code")
    assert str(refusal.value) == (
        "predictions: expected every sample once under every seed of protocol "
        "released_code, got 0 rows"
    )


def test_a_sample_decided_twice_is_refused() -> None:
    """A row twice is the user's broken file, not a traceback of pandas."""
    table = made_table()
    twice = pd.concat([table, table.iloc[:1]])
    with pytest.raises(BadInput, match=r"^predictions: .* protocol paper, got 9 rows"):
        by_seed(twice, "paper")
