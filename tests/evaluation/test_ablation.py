"""Table 2's records and claims from made predictions."""

import numpy as np
import pytest

from replication.evaluation.ablation import (
    greatest_drop,
    table2_claims,
    table2_records,
)
from replication.evaluation.predictions import predictions_table
from replication.settings import read_published_tables

TABLE = read_published_tables()["table2"]
LABELS = np.repeat(np.arange(6), 50)
COUNTS = np.array([300, 200, 60, 40, 10, 5])
ABOUT = {
    "benchmark": "places_lt",
    "data": "made",
    "same_benchmark": True,
    "same_conditions": False,
}


def made(shares: dict[str, float], seeds: int = 3) -> dict:
    """Predictions of each method that are right for a given share of the samples."""
    tables = {}
    for number, (method, share) in enumerate(shares.items()):
        generator = np.random.default_rng(number)
        some = {}
        for seed in range(seeds):
            for protocol in ("paper", "released_code"):
                right = generator.random(len(LABELS)) < share
                some[seed, protocol] = np.where(right, LABELS, (LABELS + 1) % 6)
        tables[method] = predictions_table(LABELS, some)
    return tables


def shares(**changes: float) -> dict[str, float]:
    """Every method right for half of the samples, but for the changes."""
    names = ("own_head", "balanced_softmax", *TABLE.rows)
    return {name: changes.get(name, 0.5) for name in names}


def test_a_value_record_is_the_share_that_is_right() -> None:
    predictions = made(shares(full=1.0))
    records = table2_records(predictions, COUNTS, TABLE, ABOUT)
    full = [r for r in records if r["method"] == "full" and r["kind"] == "value"]
    assert [record["mean"] for record in full] == pytest.approx([1.0] * 8)
    assert {record["verdict"] for record in full} == {"partial"}
    overall = next(record for record in full if record["metric"] == "overall")
    assert overall["published"] == pytest.approx(0.421)


def test_a_large_gap_supports_its_claim_and_the_reverse_contradicts_it() -> None:
    predictions = made(shares(full=0.7, no_mle=0.4, no_bal=1.0))
    claims = table2_claims(table2_records(predictions, COUNTS, TABLE, ABOUT))
    verdicts = {claim["test"]: claim["verdict"] for claim in claims}
    assert verdicts["Overall, full model minus w/o L_MLE, paired"] == "supported"
    assert verdicts["Overall, full model minus w/o L_bal, paired"] == "contradicted"


def test_equal_methods_are_undecided() -> None:
    predictions = made(shares())
    predictions["no_mle"] = predictions["full"]
    claims = table2_claims(table2_records(predictions, COUNTS, TABLE, ABOUT))
    claim = next(c for c in claims if "L_MLE" in c["sentence"])
    assert (claim["mean"], claim["verdict"]) == (0.0, "undecided")


@pytest.mark.parametrize(
    ("no_mle", "verdict"), [(0.4, "supported"), (0.95, "contradicted")]
)
def test_the_greatest_drop_is_against_both_other_losses(
    no_mle: float, verdict: str
) -> None:
    predictions = made(shares(full=0.9, no_mle=no_mle, no_bal=0.8, no_pure=0.8))
    for claim in greatest_drop(predictions, COUNTS):
        assert claim["verdict"] == verdict


def test_another_benchmark_has_no_printed_numbers() -> None:
    about = ABOUT | {"benchmark": "cifar100_lt", "same_benchmark": False}
    records = table2_records(made(shares()), COUNTS, TABLE, about)
    assert {record["published"] for record in records} == {None}
    values = [record for record in records if record["kind"] == "value"]
    assert {record["verdict"] for record in values} == {None}
