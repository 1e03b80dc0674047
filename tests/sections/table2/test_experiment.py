"""Table 2's records and claims from made predictions, timings and diagnostics."""

import math
from pathlib import Path

import numpy as np
import pytest

from replication.core.files import read_json, write_json
from replication.core.settings import read_published_tables
from replication.samples.predictions import predictions_table
from replication.sections.table2.experiment import (
    BASELINES,
    changed_as_printed,
    greatest_drop,
    mechanism_claims,
    table2_claims,
    table2_records,
)

TABLE = read_published_tables()["table2"]
LABELS = np.repeat(np.arange(6), 50)
COUNTS = np.array([300, 200, 60, 40, 10, 5])
ABOUT = {
    "benchmark": "places_lt",
    "data": "made",
    "same_benchmark": True,
    "same_conditions": False,
}
# Every row changes what the printed one changes.
ALL = frozenset(TABLE.rows) - {"full"}


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
    names = (*BASELINES, *TABLE.rows)
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
    claims = table2_claims(table2_records(predictions, COUNTS, TABLE, ABOUT), ALL)
    verdicts = {claim["test"]: claim["verdict"] for claim in claims}
    assert verdicts["Overall, full model minus w/o L_MLE, paired"] == "supported"
    assert verdicts["Overall, full model minus w/o L_bal, paired"] == "contradicted"


def test_dlsa_is_held_against_the_head_that_it_starts_from() -> None:
    """Not against the refitted head, nor against one that it did not start from."""
    predictions = made(shares(full=0.7, start=0.9, own_head=0.2, balanced_softmax=0.2))
    claims = table2_claims(table2_records(predictions, COUNTS, TABLE, ABOUT), ALL)
    of_sect_6 = [claim for claim in claims if claim["section"] == "Sect. 6"]
    assert [claim["protocol"] for claim in of_sect_6] == ["paper", "released_code"]
    for claim in of_sect_6:
        assert claim["test"] == (
            "Overall, full model minus PaCo + BalSoftmax, no DLSA, paired"
        )
        assert claim["verdict"] == "contradicted"


@pytest.mark.parametrize(
    ("start", "verdict"),
    [(0.2, "differs, claim holds"), (0.99, "not reproduced"), (None, "not reproduced")],
)
def test_the_full_models_number_stands_for_its_gain(
    start: float | None, verdict: str
) -> None:
    """0.9 is far from the printed 0.421; DLSA's gain over its start decides the rest.

    The other rows are no part of it: the full model is better than all of them.
    """
    predictions = made(shares(full=0.9, start=start or 0.5))
    if start is None:
        del predictions["start"]
    about = ABOUT | {"same_conditions": True}
    records = table2_records(predictions, COUNTS, TABLE, about)
    (found,) = (
        record
        for record in records
        if (record["method"], record["metric"]) == ("full", "overall")
        and record["protocol"] == "paper"
    )
    assert found["verdict"] == verdict


def filters(**full: float) -> dict[str, dict]:
    """Settings of each row's filter, the full model's changed by a what-if."""
    common = {"lambda_mle": 1.0, "lambda_bal": 2.0, "lambda_pure": 0.03}
    base = common | {"num_clusters": 500} | full
    changes = {
        "full": {},
        "no_mle": {"lambda_mle": 0.0},
        "no_bal": {"lambda_bal": 0.0},
        "no_pure": {"lambda_pure": 0.0},
        "clusters_300": {"num_clusters": 300},
        "clusters_1000": {"num_clusters": 1000},
    }
    return {row: base | change for row, change in changes.items()}


@pytest.mark.parametrize(
    ("full", "gone"),
    [
        ({}, set()),
        ({"lambda_pure": 0.3}, set()),
        ({"lambda_pure": 0.0}, {"no_pure"}),
        ({"lambda_mle": 0.0, "lambda_bal": 0.0}, {"no_mle", "no_bal"}),
        ({"num_clusters": 1000}, {"clusters_300", "clusters_1000"}),
        ({"num_clusters": 400}, {"clusters_300", "clusters_1000"}),
    ],
)
def test_a_row_tests_its_sentence_only_where_it_changes_what_print_changes(
    full: dict[str, float], gone: set[str]
) -> None:
    """A what-if may leave nothing to be removed, or no default of 500."""
    assert changed_as_printed(filters(**full)) == ALL - gone


def test_what_a_row_does_not_test_is_not_run() -> None:
    tested = frozenset({"no_bal", "clusters_300"})
    records = table2_records(made(shares()), COUNTS, TABLE, ABOUT)
    claims = {one["sentence"]: one for one in table2_claims(records, tested)}
    not_run = {
        sentence for sentence, one in claims.items() if one["verdict"] == "not run"
    }
    assert not_run == {
        "Removing L_MLE leads to a significant performance drop.",
        "Removing L_pure leads to a significant performance drop.",
        "Models with more clusters perform worse than the default 500.",
    }
    assert all(claims[sentence]["p_value"] is None for sentence in not_run)
    (greatest, _) = greatest_drop(made(shares()), COUNTS, tested)
    assert (greatest["verdict"], greatest["mean"]) == ("not run", None)
    mechanism = mechanism_claims(timed(0.6, 0.7, 0.8), diagnosed(), tested)
    words = [one["sentence"] for one in mechanism if one["verdict"] != "not run"]
    assert all("500 against 300" in word for word in words) and len(words) == 2


def test_equal_methods_are_undecided() -> None:
    predictions = made(shares())
    predictions["no_mle"] = predictions["full"]
    claims = table2_claims(table2_records(predictions, COUNTS, TABLE, ABOUT), ALL)
    claim = next(c for c in claims if "L_MLE" in c["sentence"])
    assert (claim["mean"], claim["verdict"]) == (0.0, "undecided")


@pytest.mark.parametrize(
    ("no_mle", "verdict"), [(0.4, "supported"), (0.95, "contradicted")]
)
def test_the_greatest_drop_is_against_both_other_losses(
    no_mle: float, verdict: str
) -> None:
    predictions = made(shares(full=0.9, no_mle=no_mle, no_bal=0.8, no_pure=0.8))
    for claim in greatest_drop(predictions, COUNTS, ALL):
        assert claim["verdict"] == verdict


def test_p_value_of_the_greatest_drop() -> None:
    """Against both: the weaker one where both are positive."""
    predictions = made(shares(no_mle=0.4, no_bal=0.5, no_pure=0.9))
    (claim, _) = greatest_drop(predictions, COUNTS, ALL)
    rest = {name: predictions[name] for name in ("no_mle", "no_bal", "no_pure")}
    alone = [
        greatest_drop(
            rest | {"no_bal": rest[name], "no_pure": rest[name]}, COUNTS, ALL
        )[0]
        for name in ("no_bal", "no_pure")
    ]
    assert claim["p_value"] == pytest.approx(max(one["p_value"] for one in alone))
    assert claim["detectable"] == max(one["detectable"] for one in alone)
    assert claim["mean"] == min(one["mean"] for one in alone)


def test_every_claim_has_a_p_value_and_what_could_have_been_seen() -> None:
    claims = [
        *table2_claims(table2_records(made(shares()), COUNTS, TABLE, ABOUT), ALL),
        *greatest_drop(made(shares()), COUNTS, ALL),
        *mechanism_claims(timed(0.6, 0.7, 0.8), diagnosed(), ALL),
    ]
    for claim in claims:
        assert 0 <= claim["p_value"] <= 1
        assert claim["detectable"] >= 0


def test_another_benchmark_has_no_printed_numbers() -> None:
    about = ABOUT | {"benchmark": "cifar100_lt", "same_benchmark": False}
    records = table2_records(made(shares()), COUNTS, TABLE, about)
    assert {record["published"] for record in records} == {None}
    values = [record for record in records if record["kind"] == "value"]
    assert {record["verdict"] for record in values} == {None}


# --- mechanism

SEEDS = ("0", "1", "2")
SEPARATION = "L_MLE controls the head-tail separation."
SLOWER = tuple(
    f"A larger cluster number makes {what} slower ({counts} clusters)."
    for what in ("training", "inference")
    for counts in ("1000 against 500", "500 against 300")
)


def timed(
    *logs: float, less: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> dict[str, dict[str, dict[str, float]]]:
    """Timings: log seconds of 1000 clusters over 500's, and of 300's, a seed."""
    every = {"full": (0.0,) * len(logs), "clusters_1000": logs, "clusters_300": less}
    return {
        variant: {
            seed: {
                "epoch_seconds": 3 * math.exp(log),
                "seconds_per_1000": math.exp(log),
            }
            for seed, log in zip(SEEDS, values, strict=False)
        }
        for variant, values in every.items()
    }


def diagnosed(
    full: tuple[float | None, ...] = (0.8, 0.8, 0.8),
    no_mle: tuple[float | None, ...] = (0.5, 0.6, 0.7),
) -> dict[str, dict]:
    """Diagnostics with the AUROC of each seed's first filter; the second is another."""
    return {
        variant: {
            seed: {
                "filters": [
                    {"splits": {"test": {"auroc_tail": value}}},
                    {"splits": {"test": {"auroc_tail": 0.01}}},
                ]
            }
            for seed, value in zip(SEEDS, values, strict=False)
        }
        for variant, values in (("full", full), ("no_mle", no_mle))
    }


def mechanism(timing: dict, diagnostics: dict) -> dict[str, dict]:
    """The claims by sentence."""
    claims = mechanism_claims(timing, diagnostics, ALL)
    assert all(claim["protocol"] is None for claim in claims)
    return {claim["sentence"]: claim for claim in claims}


def test_mechanism_by_hand() -> None:
    """Differences 0.3, 0.2, 0.1; logs 0.6, 0.7, 0.8: both with s = 0.1.

    Half-width t(0.975, 2) s / sqrt(3) = 4.3027 * 0.1 / 1.7321 = 0.2484.
    """
    claims = mechanism(timed(0.6, 0.7, 0.8, less=(0.1, 0.0, -0.1)), diagnosed())
    assert tuple(claims) == (SEPARATION, *SLOWER)
    expected = {
        SEPARATION: (0.2, "AUROC", "undecided"),
        SLOWER[0]: (0.7, "log ratio", "supported"),
        SLOWER[1]: (0.0, "log ratio", "undecided"),
        SLOWER[2]: (0.7, "log ratio", "supported"),
        SLOWER[3]: (0.0, "log ratio", "undecided"),
    }
    for sentence, (mean, unit, verdict) in expected.items():
        claim = claims[sentence]
        assert claim["mean"] == pytest.approx(mean)
        assert claim["low"] == pytest.approx(mean - 0.24841, abs=1e-4)
        assert claim["high"] == pytest.approx(mean + 0.24841, abs=1e-4)
        assert (claim["unit"], claim["verdict"]) == (unit, verdict)


@pytest.mark.parametrize(
    ("full", "no_mle", "verdict"),
    [
        ((0.9, 0.8, 0.9), (0.5, 0.4, 0.4), "supported"),
        ((0.5, 0.4, 0.4), (0.9, 0.8, 0.9), "contradicted"),
        ((0.6, 0.7, 0.8), (0.8, 0.7, 0.6), "undecided"),
        ((None, None, None), (0.5, 0.6, 0.7), "not run"),
        ((0.9, None, None), (0.5, 0.4, 0.4), "undecided"),
    ],
)
def test_separation_is_that_of_the_first_filters(
    full: tuple, no_mle: tuple, verdict: str
) -> None:
    """None: a test split without Many or without Few has no AUROC."""
    claim = mechanism(timed(0.1, 0.1, 0.1), diagnosed(full, no_mle))[SEPARATION]
    assert claim["verdict"] == verdict


def test_faster_with_more_clusters_contradicts() -> None:
    logs, fewer = (-0.6, -0.7, -0.8), (0.6, 0.7, 0.8)
    claims = mechanism(timed(*logs, less=fewer), diagnosed())
    assert {claims[sentence]["verdict"] for sentence in SLOWER} == {"contradicted"}


def test_one_seed_decides_nothing_on_the_mechanism() -> None:
    claims = mechanism(timed(0.7, less=(-0.5,)), diagnosed((0.9,), (0.5,)))
    assert claims[SEPARATION]["mean"] == pytest.approx(0.4)
    assert claims[SLOWER[0]]["mean"] == pytest.approx(0.7)
    assert {claim["verdict"] for claim in claims.values()} == {"undecided"}
    for claim in claims.values():
        assert (claim["low"], claim["high"]) == (-math.inf, math.inf)
        assert math.isnan(claim["p_value"]) and math.isnan(claim["detectable"])


def test_an_epoch_that_was_not_timed_has_no_verdict(tmp_path: Path) -> None:
    """A filter of one epoch has no time of its own: NaN, which JSON gives back as None.

    What was timed is judged all the same.
    """
    timing = timed(0.6, 0.7, 0.8)
    for variant in timing.values():
        for seed in variant.values():
            seed["epoch_seconds"] = math.nan
    write_json(tmp_path / "timing.json", timing)
    claims = mechanism(read_json(tmp_path / "timing.json"), diagnosed())
    assert claims[SLOWER[0]]["verdict"] == claims[SLOWER[1]]["verdict"] == "not run"
    assert math.isnan(claims[SLOWER[0]]["mean"])
    assert claims[SLOWER[2]]["verdict"] == "supported"
