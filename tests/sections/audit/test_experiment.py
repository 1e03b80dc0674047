"""Bounds against enumeration, worked cases by hand, and the supplement's own tables."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from replication.core.files import read_json
from replication.core.settings import PUBLISHED, Row
from replication.published.reader import PublishedTable, read_published_tables
from replication.samples.metrics import accuracies
from replication.sections.audit import printed
from replication.sections.audit.bounds import (
    greatest_concentration,
    greatest_mcc,
    least_mcc,
    mcc_bound,
    overall_bound,
)
from replication.sections.audit.experiment import (
    differences,
    mcc_claims,
    table_bounds,
)
from replication.sections.audit.printed import Design, design_of

# One class of each shot group, and of each border.
SMALL = Design({200: 1, 100: 1, 20: 1, 5: 1}, 10)


def fractions(**percents: float) -> dict[str, Fraction]:
    return printed.fractions(percents)


def table(rows: dict[str, dict[str, float | None]]) -> PublishedTable:
    metrics = tuple(next(iter(rows.values())))
    named = {key: Row(key.upper(), {}, values) for key, values in rows.items()}
    return PublishedTable("A table", "Sect. 0", "small", metrics, named)


def every_prediction(classes: int, per_class: int) -> dict[int, list[np.ndarray]]:
    """Right images -> prediction counts (C,) of each confusion matrix there is."""
    rows = [
        row
        for row in product(range(per_class + 1), repeat=classes)
        if sum(row) == per_class
    ]
    by_right: dict[int, list[np.ndarray]] = {}
    for matrix in product(rows, repeat=classes):
        right = sum(matrix[k][k] for k in range(classes))
        by_right.setdefault(right, []).append(np.sum(matrix, axis=0))
    return by_right


@pytest.mark.parametrize(
    ("overall", "possible"), [(60.1, True), (60.2, False), (59.9, True), (59.8, False)]
)
def test_overall_by_hand(overall, possible) -> None:
    """0.25 * 80 + 0.5 * 60 + 0.25 * 40 = 60, give or take 0.05, as Overall is."""
    of_print = fractions(overall=overall, many=80.0, medium=60.0, few=40.0)
    bound = overall_bound(of_print, SMALL)
    assert (bound.low, bound.high, bound.possible) == (0.5995, 0.6005, possible)
    assert bound.arithmetic.startswith("That mean is in [59.950, 60.050], Overall in")


@pytest.mark.parametrize(("classes", "per_class"), [(2, 5), (3, 3), (4, 2)])
def test_mcc_bounds_are_those_of_every_prediction_there_is(classes, per_class) -> None:
    """Attained, but from below where the errors cannot balance.

    One error cannot, and of two classes no odd number of errors.
    """
    tested = classes * per_class
    for right, predicted in every_prediction(classes, per_class).items():
        accuracy = Fraction(right, tested)
        if right < per_class:
            continue
        squares = [Fraction(int((p**2).sum()), tested**2) for p in predicted]
        assert max(squares) == greatest_concentration(accuracy, classes)
        wrong = tested - right
        if wrong % 2 == 0 if classes == 2 else wrong != 1:
            assert min(squares) == Fraction(1, classes)
        spread = [(1 - q) * (1 - Fraction(1, classes)) for q in squares]
        above = float(accuracy - Fraction(1, classes))
        mcc = [above / math.sqrt(s) if s else 0.0 for s in spread]
        assert max(mcc) == pytest.approx(greatest_mcc(accuracy, classes))
        assert min(mcc) >= float(least_mcc(accuracy, classes)) - 1e-12


@pytest.mark.parametrize(
    ("mcc", "possible"), [(59.8, False), (59.9, True), (67.4, True), (67.5, False)]
)
def test_mcc_by_hand(mcc, possible) -> None:
    """C = 4, a in [69.95, 70.05]: least (0.6995 - 0.25) / 0.75 = 59.933 %.

    Greatest: q = (0.25 + 0.2995, 0.25, 0.2005), sum of squares 0.404651, and
    0.4505 / sqrt(0.595350 * 0.75) = 67.4184 %. With an MCC of 59.85 Overall could be
    0.25 + 0.5985 * 0.75 = 69.8875 %: of 40 images at most 27, and 70.0 needs 28.
    """
    bound = mcc_bound(fractions(overall=70.0, mcc=mcc), SMALL)
    assert bound.possible == possible
    assert bound.low == pytest.approx(0.599333, abs=1e-6)
    assert bound.high == pytest.approx(0.674184, abs=1e-6)
    needed = "could be at most 69.8875: 0.0625 points below what is printed, at least 1"
    assert (needed in bound.arithmetic) == (mcc == 59.8)


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_what_was_measured_is_always_possible(seed) -> None:
    """A real prediction, printed to one decimal, passes every check of a row."""
    generator = np.random.default_rng(seed)
    train_counts = np.array([200, 150, 100, 50, 20, 19, 5, 2])
    labels = np.repeat(np.arange(8), 5)
    keep = generator.random(40) < 0.3 + 0.7 * generator.random()
    predicted = np.where(keep, labels, generator.integers(0, 8, 40))
    measured = accuracies(predicted, labels, train_counts)
    measured |= {"mcc": matthews_corrcoef(labels, predicted)}
    if measured["overall"] < 0.2:
        return
    values = {name: round(100 * value, 1) for name, value in measured.items()}
    design = Design({int(n): 1 for n in train_counts}, 5)
    overall, mcc = table_bounds("t", table({"a": values}), design)
    assert overall.possible and mcc.possible


def test_differences_are_to_the_best_row_where_both_print() -> None:
    """n = 24,426: sqrt((0.728 * 0.272 + 0.718 * 0.282) / n) * 1.96 = 0.7936 points.

    Of Many, 3 images of one class, 1.96 * sqrt((0.7 * 0.3 + 0.8 * 0.2) / 3).
    """
    design = Design({200: 1, 50: 8141}, 3)
    rows = {
        "a": {"overall": 71.8, "many": 70.0},
        "b": {"overall": 72.8, "many": 80.0},
        "c": {"overall": 69.5, "many": None},
    }
    gaps = dict(differences(table(rows), design))
    assert gaps.keys() == {"A", "C"} and gaps["C"].keys() == {"overall"}
    assert gaps["A"]["overall"] == pytest.approx((0.01, 0.007936), abs=1e-6)
    assert gaps["A"]["many"] == pytest.approx((0.1, 0.688329), abs=1e-6)


def test_a_number_that_is_not_printed_has_no_bound() -> None:
    rows = {"a": {"overall": 60.0, "many": None, "medium": 60.0, "mcc": None}}
    assert table_bounds("t", table(rows), SMALL) == []


def test_the_impossible_mcc_is_a_claim_with_its_number() -> None:
    """Overall 71.8 is at least 71.75; (0.7175 - 1/C) / (1 - 1/C) = 0.71747, C = 8142.

    71.1 is at most 71.15, 0.597 points below; with DLSA 72.7 is at most 72.75, and
    (0.7275 - 1/C) / (1 - 1/C) = 0.72747 is in reach.
    """
    counts = read_json(PUBLISHED / "class_counts.json")
    table1 = read_published_tables()["table1"]
    bounds = table_bounds("table1", table1, design_of("inat18", counts))
    plain, dlsa = mcc_claims(bounds)
    assert (plain.verdict, dlsa.verdict) == ("contradicted", "supported")
    assert plain.high == pytest.approx(-0.00597, abs=1e-5)
    assert plain.mean - plain.low == pytest.approx(0.0005)
    assert "71.1 %" in plain.statement and "allows: 71.74 to 74.88 %" in plain.statement
    assert dlsa.high > 0
