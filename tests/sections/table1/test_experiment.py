"""Claims of Table 1 from made predictions."""

from dataclasses import replace

import numpy as np

from replication.sections.table1.experiment import table1_claims
from replication.statistics.results import Claim
from tests.made import basis
from tests.sections.test_rows import COUNTS, TABLE, table_of

BASIS = basis("table1", "inat18")
METRICS = ("overall", "many", "medium", "few", "mcc", "nmi")


def claims_of(shares: dict[str, float], counts=COUNTS, seeds: int = 3) -> list[Claim]:
    cells = table_of(shares, counts, seeds=seeds)
    return table1_claims(cells, TABLE, BASIS)


def test_every_column_and_every_printed_row_is_asked_under_both_protocols() -> None:
    """DLSA above PaCo + BalSoftmax in six columns; above LWS and cRT in Overall."""
    claims = claims_of(
        {"lws": 1.0, "crt": 0.2, "paco": 0.5, "paco_plain": 0.6, "paco_dlsa": 0.85},
        seeds=8,
    )
    verdicts = {(claim.id, claim.verdict) for claim in claims}
    assert verdicts == {
        *((f"gain_{metric}", "supported") for metric in METRICS),
        ("best_overall_over_lws", "contradicted"),
        ("best_overall_over_crt", "supported"),
        ("cascade_helps", "supported"),
    }
    assert len(claims) == 2 * len(verdicts)
    assert {claim.sentence for claim in claims[:-1]} == {"s6_bold", None}
    assert claims[-1].sentence is None  # print has no such comparison
    assert {c.id for c in claims if c.caveat} == {
        "best_overall_over_lws",
        "best_overall_over_crt",
    }
    assert claims[-2].statement == (
        "PaCo + BalSoftmax + DLSA is the best row in Overall accuracy: better than cRT."
    )


def test_a_row_that_was_not_run_and_an_empty_group_leave_their_claim_not_run() -> None:
    no_few = np.array([300, 200, 60, 40, 50, 55])
    shares = {"lws": 0.5, "paco": 0.5, "paco_dlsa": 0.9}
    claims = claims_of(shares, counts=no_few)
    silent = {claim.id for claim in claims if claim.verdict == "not run"}
    assert silent == {"gain_few", "best_overall_over_crt", "cascade_helps"}
    assert {claim.mean for claim in claims if claim.id.endswith("crt")} == {None}
    without = claims_of({"lws": 0.5, "paco": 0.5})
    assert {claim.verdict for claim in without} == {"not run"}


def test_a_further_printed_row_is_asked_without_a_word_of_code() -> None:
    rows = {**TABLE.rows, "tau": replace(TABLE.rows["crt"], label="tau-norm")}
    claims = table1_claims((), replace(TABLE, rows=rows), BASIS)
    (claim, _) = (c for c in claims if c.id == "best_overall_over_tau")
    assert claim.statement.endswith("better than tau-norm.")
