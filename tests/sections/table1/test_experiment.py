"""Table 1's records and claims from made predictions."""

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, normalized_mutual_info_score

from replication.core.settings import read_published_tables
from replication.samples.metrics import ACCURACIES, accuracies
from replication.samples.predictions import predictions_table
from replication.sections.table1.experiment import (
    BASELINES,
    table1_claims,
    table1_records,
)

METRICS = (*ACCURACIES, "mcc", "nmi")
TABLE = read_published_tables()["table1"]
LABELS = np.repeat(np.arange(6), 50)
COUNTS = np.array([300, 200, 60, 40, 10, 5])
ABOUT = {
    "benchmark": "inat18",
    "data": "made",
    "same_benchmark": True,
    "same_conditions": False,
    "other_features": False,
}
METHODS = (*TABLE.rows, *BASELINES)


def made(shares: dict[str, float], seeds: int = 3, labels=LABELS) -> dict:
    """Predictions of each method that are right for a given share of the samples."""
    tables = {}
    for number, (method, share) in enumerate(shares.items()):
        generator = np.random.default_rng(number)
        some = {}
        for seed in range(seeds):
            for protocol in ("paper", "released_code"):
                right = generator.random(len(labels)) < share
                some[seed, protocol] = np.where(right, labels, (labels + 1) % 6)
        tables[method] = predictions_table(labels, some)
    return tables


def shares(**changes: float) -> dict[str, float]:
    """Every method right for half of the samples, but for the changes."""
    return {name: changes.get(name, 0.5) for name in METHODS}


def chosen(records: list[dict], **wanted: str) -> list[dict]:
    return [
        record
        for record in records
        if all(record[name] == value for name, value in wanted.items())
    ]


def all_metrics(predictions: np.ndarray) -> dict[str, float]:
    """The six of Table 1, the last two as scikit-learn defines them."""
    return accuracies(predictions, LABELS, COUNTS) | {
        "mcc": matthews_corrcoef(LABELS, predictions),
        "nmi": normalized_mutual_info_score(LABELS, predictions),
    }


def test_a_value_is_the_mean_over_seeds_of_the_metric() -> None:
    """All six, of every method, under both protocols."""
    predictions = made(shares(paco_dlsa=0.7))
    records = table1_records(predictions, COUNTS, TABLE, ABOUT)
    values = chosen(records, kind="value")
    assert len(values) == len(METHODS) * len(METRICS) * 2
    for record in values:
        table = predictions[record["method"]]
        table = table[table["protocol"] == record["protocol"]]
        expected = [
            all_metrics(one["prediction"].to_numpy())[record["metric"]]
            for _, one in table.groupby("seed")
        ]
        assert record["per_seed"] == pytest.approx(expected)
        assert record["mean"] == pytest.approx(np.mean(expected))
        assert record["low"] < record["mean"] < record["high"]


def test_a_difference_is_dlsas_row_minus_the_method_paired() -> None:
    """Seed for seed the difference of the values."""
    records = table1_records(made(shares(paco_dlsa=0.7)), COUNTS, TABLE, ABOUT)
    gaps = chosen(records, kind="difference")
    assert len(gaps) == (len(METHODS) - 1) * len(METRICS) * 2
    assert not chosen(gaps, method="paco_dlsa")
    for gap in gaps:
        same = {name: gap[name] for name in ("protocol", "metric")}
        (full,) = chosen(records, kind="value", method="paco_dlsa", **same)
        (other,) = chosen(records, kind="value", method=gap["method"], **same)
        pairs = zip(full["per_seed"], other["per_seed"], strict=True)
        assert gap["per_seed"] == pytest.approx([a - b for a, b in pairs])


def test_published_are_the_printed_numbers_and_their_differences() -> None:
    """Sect. 6: MCC 71.1 -> 72.7; LWS and the baselines print no MCC."""
    records = table1_records(made(shares()), COUNTS, TABLE, ABOUT)
    mcc = chosen(records, metric="mcc", protocol="paper")
    printed = {(one["method"], one["kind"]): one["published"] for one in mcc}
    assert printed["paco", "value"] == pytest.approx(0.711)
    assert printed["paco_dlsa", "value"] == pytest.approx(0.727)
    assert printed["paco", "difference"] == pytest.approx(0.016)
    for method in ("lws", "crt", *BASELINES):
        assert printed[method, "value"] is printed[method, "difference"] is None
    (lws,) = chosen(
        records, method="lws", kind="difference", metric="few", protocol="paper"
    )
    assert lws["published"] == pytest.approx(0.038)


def test_another_benchmark_has_no_printed_numbers() -> None:
    about = ABOUT | {"benchmark": "cifar100_lt", "same_benchmark": False}
    records = table1_records(made(shares()), COUNTS, TABLE, about)
    assert {record["published"] for record in records} == {None}
    assert {record["verdict"] for record in chosen(records, kind="value")} == {None}


def test_a_number_that_differs_from_print_may_still_hold_its_claim() -> None:
    """DLSA's own number stands for its gain over PaCo + BalSoftmax."""
    about = ABOUT | {"same_conditions": True}
    verdicts = {}
    for share in (0.9, 0.3):
        predictions = made(shares(paco=0.5, paco_dlsa=share))
        records = table1_records(predictions, COUNTS, TABLE, about)
        (record,) = chosen(
            records,
            method="paco_dlsa",
            kind="value",
            metric="overall",
            protocol="paper",
        )
        verdicts[share] = record["verdict"]
    assert verdicts == {0.9: "differs, claim holds", 0.3: "not reproduced"}


def test_a_method_without_predictions_has_no_records_and_its_claim_is_not_run() -> None:
    predictions = made(shares(paco_dlsa=0.9))
    del predictions["crt"], predictions["ce"]
    records = table1_records(predictions, COUNTS, TABLE, ABOUT)
    assert {record["method"] for record in records} == set(predictions)
    claims = table1_claims(records)
    missing = [claim for claim in claims if claim["verdict"] == "not run"]
    assert len(claims) == 2 * 8
    assert [claim["protocol"] for claim in missing] == ["paper", "released_code"]
    for claim in missing:
        assert "cRT" in claim["sentence"]
        assert claim["mean"] is claim["low"] is claim["high"] is None


def test_without_dlsa_there_are_values_alone() -> None:
    records = table1_records(made({"paco": 0.5, "lws": 0.5}), COUNTS, TABLE, ABOUT)
    assert {record["kind"] for record in records} == {"value"}
    assert {claim["verdict"] for claim in table1_claims(records)} == {"not run"}


def test_gaps_support_contradict_or_leave_open_every_claim() -> None:
    predictions = made(shares(paco_dlsa=0.85, lws=1.0), seeds=8)
    predictions["crt"] = predictions["paco_dlsa"]
    claims = table1_claims(table1_records(predictions, COUNTS, TABLE, ABOUT))
    verdicts = {(claim["sentence"], claim["verdict"]) for claim in claims}
    metrics = (
        "Overall accuracy",
        "Many-shot accuracy",
        "Medium-shot accuracy",
        "Few-shot accuracy",
        "MCC",
        "NMI",
    )
    best = "PaCo + BalSoftmax + DLSA is the best row in Overall accuracy: better than"
    assert verdicts == {
        *((f"DLSA improves PaCo + BalSoftmax in {m}.", "supported") for m in metrics),
        (f"{best} LWS.", "contradicted"),
        (f"{best} cRT.", "undecided"),
    }
    test = "Overall accuracy, DLSA's row minus cRT, paired"
    same = [claim["mean"] for claim in claims if claim["test"] == test]
    assert same == [0.0, 0.0]


def test_an_empty_group_is_nan_and_its_claim_not_run() -> None:
    counts = np.array([300, 200, 60, 40, 50, 55])
    records = table1_records(made(shares()), counts, TABLE, ABOUT)
    few = chosen(records, metric="few")
    assert all(np.isnan(record["mean"]) for record in few)
    assert {record["verdict"] for record in few} == {"not run", None}
    claims = [claim for claim in table1_claims(records) if "Few" in claim["sentence"]]
    assert [claim["verdict"] for claim in claims] == ["not run"] * 2


def test_other_seeds_or_samples_are_refused(refused) -> None:
    predictions = made(shares())
    predictions["lws"] = made({"lws": 0.5}, seeds=2)["lws"]
    assert refused(lambda: table1_records(predictions, COUNTS, TABLE, ABOUT)) == [
        "predictions of crt, protocol paper: expected the seeds of lws, [0, 1], got "
        "[0, 1, 2]"
    ]
    predictions["lws"] = made({"lws": 0.5}, labels=LABELS[::-1])["lws"]
    assert refused(lambda: table1_records(predictions, COUNTS, TABLE, ABOUT)) == [
        "predictions of crt, protocol paper: expected the test samples of lws, got "
        "others"
    ]


def test_a_differences_p_value_and_what_could_have_been_seen() -> None:
    """p is below 5 % where the interval leaves zero out; a value has neither."""
    records = table1_records(made(shares(paco_dlsa=0.6)), COUNTS, TABLE, ABOUT)
    gaps = chosen(records, kind="difference")
    for gap in gaps:
        assert (gap["p_value"] < 0.05) == (gap["low"] > 0 or gap["high"] < 0)
        half = gap["high"] - gap["mean"]
        assert half < gap["detectable"] < 2.2 * half
        assert gap["freedom"] >= 2
    assert {gap["p_value"] < 0.05 for gap in gaps} == {True, False}
    assert not any("p_value" in one for one in chosen(records, kind="value"))


def test_claims_are_corrected_over_their_protocol() -> None:
    """Eight claims each: the least p-value counts eightfold, and both are alike."""
    records = table1_records(made(shares(paco_dlsa=0.6)), COUNTS, TABLE, ABOUT)
    claims = table1_claims(records)
    for protocol in ("paper", "released_code"):
        mine = [claim for claim in claims if claim["protocol"] == protocol]
        least = min(mine, key=lambda claim: claim["p_value"])
        assert least["holm"] == pytest.approx(min(1, 8 * least["p_value"]))
        assert all(claim["holm"] >= claim["p_value"] for claim in mine)
        assert all(claim["detectable"] > 0 for claim in mine)


def test_crt_and_lws_on_other_features_are_partial_and_the_others_are_judged() -> None:
    about = ABOUT | {"same_conditions": True, "other_features": True}
    records = table1_records(made(shares()), COUNTS, TABLE, about)
    verdicts = {
        method: {
            record["verdict"]
            for record in records
            if record["method"] == method
            and record["published"]
            and record["kind"] == "value"
        }
        for method in ("lws", "crt", "paco", "paco_dlsa")
    }
    assert verdicts["lws"] == verdicts["crt"] == {"partial"}
    assert "partial" not in verdicts["paco"] | verdicts["paco_dlsa"]
