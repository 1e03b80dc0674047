"""Claims of Table 2 from made predictions and diagnostics."""

import math

import numpy as np
import pandas as pd
import pytest

from replication.published.reader import read_published_tables
from replication.sections.rows import read_methods, table_cells
from replication.sections.table2.experiment import (
    changed_as_printed,
    greatest_drop,
    in_proportion,
    removals,
    row_claims,
    separation_claims,
)
from replication.statistics.results import Cell, Claim
from tests.made import basis, diagnostics, predicted

TABLE = read_published_tables()["table2"]
LABELS = np.repeat(np.arange(6), 50)
COUNTS = np.array([300, 200, 60, 40, 10, 5])
METHODS = read_methods("table2", TABLE)
BASIS = basis("table2", counts=COUNTS)
# Every row changes what the printed one changes.
ALL = frozenset(TABLE.rows) - {"full"}


def table_of(made: dict[str, pd.DataFrame]) -> tuple[Cell, ...]:
    return table_cells(BASIS, TABLE, METHODS, "full", made)


def rows_of(
    tested=ALL, clusters: int | None = None, **shares: float
) -> dict[str, Claim]:
    """`validated` claims on the rows by id: right for half but `shares`."""
    made = predicted(dict.fromkeys(METHODS, 0.5) | shares, LABELS)
    claims = row_claims(table_of(made), TABLE, tested, BASIS, clusters)
    return {claim.id: claim for claim in claims if claim.protocol == "validated"}


def test_each_row_tests_its_sentence_in_its_words() -> None:
    claims = rows_of(
        full=0.7, no_mle=0.4, no_bal=1.0, start=0.9, plain=0.8, own_head=0.1
    )
    assert {name: claim.sentence for name, claim in claims.items()} == {
        "gain_overall": None,
        "cascade_helps": None,
        "over_refitted": None,
        "drop_no_mle": "s7_losses",
        "drop_no_bal": "s7_losses",
        "drop_no_pure": "s7_losses",
        "drop_clusters_300": "s7_clusters",
        "drop_clusters_1000": "s7_clusters",
    }
    assert claims["drop_no_mle"].verdict == "supported"
    assert (
        claims["drop_no_bal"].verdict
        == claims["gain_overall"].verdict
        == "contradicted"
    )
    assert claims["drop_clusters_300"].statement == (
        "Models with fewer clusters perform worse than the default 500."
    )


def filters(**full: float) -> dict[str, dict]:
    """Settings of each row's filter, the full model's changed by a what-if."""
    weights = {"lambda_mle": 1.0, "lambda_bal": 2.0, "lambda_pure": 0.03}
    base = weights | {"num_clusters": 500} | full
    return {row: base | printed.changes for row, printed in TABLE.rows.items()}


@pytest.mark.parametrize(
    ("full", "gone"),
    [
        ({}, set()),
        ({"lambda_pure": 0.0}, {"no_pure"}),
        ({"lambda_mle": 0.0, "lambda_bal": 0.0}, {"no_mle", "no_bal"}),
        ({"num_clusters": 1000}, {"clusters_300", "clusters_1000"}),
    ],
)
def test_a_row_tests_its_sentence_only_where_it_changes_what_print_changes(
    full: dict[str, float], gone: set[str]
) -> None:
    """A what-if may leave nothing to be removed, or no default of 500."""
    assert changed_as_printed(TABLE, filters(**full)) == ALL - gone
    otherwise = filters(**full)
    otherwise["no_bal"] |= {"lambda_bal": 1.0}
    assert "no_bal" not in changed_as_printed(TABLE, otherwise)


def test_scaled_rows_of_clusters_are_shares_of_the_full_models() -> None:
    """47 x 300 / 500 = 28.2, 47 x 1000 / 500 = 94; of 2 clusters, 2 are left."""
    table = in_proportion(TABLE, 47)
    used = filters(num_clusters=47)
    used["clusters_300"] |= {"num_clusters": 28}
    used["clusters_1000"] |= {"num_clusters": 94}
    assert changed_as_printed(table, used) == ALL
    assert "clusters_300" not in changed_as_printed(table, filters(num_clusters=47))
    fewest = in_proportion(TABLE, 2)
    used = filters(num_clusters=2)
    used["clusters_300"] |= {"num_clusters": 2}
    used["clusters_1000"] |= {"num_clusters": 4}
    assert changed_as_printed(fewest, used) == ALL - {"clusters_300"}
    claims = rows_of(clusters=47)
    assert claims["drop_clusters_300"].statement == (
        "Models with fewer clusters perform worse than the default 500 (47 at the size "
        "of this data)."
    )


def test_what_a_row_does_not_test_is_not_run() -> None:
    tested = frozenset({"no_bal", "clusters_300"})
    claims = rows_of(tested)
    silent = {name for name, claim in claims.items() if claim.verdict == "not run"}
    assert silent == {"drop_no_mle", "drop_no_pure", "drop_clusters_1000"}
    assert all(claims[name].p_value is claims[name].mean is None for name in silent)
    made = predicted(dict.fromkeys(removals(TABLE), 0.5), LABELS)
    (greatest, _) = greatest_drop(made, TABLE, tested, BASIS)
    assert (greatest.verdict, greatest.mean) == ("not run", None)


# --- the greatest drop


def drop(no_mle: float, no_bal: float, no_pure: float) -> Claim:
    shares = {"no_mle": no_mle, "no_bal": no_bal, "no_pure": no_pure}
    (paper, _) = greatest_drop(predicted(shares, LABELS), TABLE, ALL, BASIS)
    return paper


def test_the_greatest_drop_is_against_both_other_losses() -> None:
    assert drop(0.4, 0.8, 0.8).verdict == "supported"
    assert drop(1.0, 0.7, 0.7).verdict == "contradicted"
    claim = drop(0.4, 0.5, 0.9)
    assert claim.test == "Overall, smaller of (w/o L_bal, w/o L_pure) minus w/o L_MLE"
    assert claim.mean == pytest.approx(0.1, abs=0.05)


# --- mechanism

SEEDS = ("0", "1", "2")


def separated(full: tuple, no_mle: tuple) -> list[Claim]:
    """The claims for the AUROC of each seed's first filter."""
    made = {
        row: {
            seed: diagnostics(value)["0"]
            for seed, value in zip(SEEDS, values, strict=False)
        }
        for row, values in (("full", full), ("no_mle", no_mle))
    }
    return separation_claims(made, TABLE, ALL, BASIS)


@pytest.mark.parametrize(
    ("full", "no_mle", "verdict"),
    [
        ((0.9, 0.8, 0.9), (0.5, 0.4, 0.4), "supported"),
        ((None, None, None), (0.5, 0.6, 0.7), "not run"),
        ((0.9, None, None), (0.5, 0.4, 0.4), "undecided"),
        ((0.9,), (0.5,), "undecided"),
    ],
)
def test_separation_is_that_of_the_first_filters(
    full: tuple, no_mle: tuple, verdict: str
) -> None:
    """None: a test split without Many or Few has no AUROC. One seed has no interval."""
    claims = separated(full, no_mle)
    assert [claim.protocol for claim in claims] == ["validated", "as_released"]
    claim = claims[0]
    assert (claim.verdict, claim.sentence) == (verdict, "s7_separation")
    if len(full) == 1:
        assert (claim.low, claim.high) == (-math.inf, math.inf)
        assert math.isnan(claim.p_value) and math.isnan(claim.detectable)
