"""The supplement's sentences against what the code tests of them."""

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from replication.core.settings import EstimatorSettings
from replication.published.reader import Sentence as Claim
from replication.published.reader import read_published_claims, read_published_tables
from replication.reporting.pages import kinds
from replication.samples.predictions import predictions_table
from replication.sections.confusion.experiment import measure_confusion
from replication.sections.estimator.measure import judged, simulation
from replication.sections.separation.experiment import separation_claims
from replication.sections.sigma.experiment import sigma_claims
from replication.sections.table1.experiment import table1_claims
from replication.sections.table2.experiment import (
    BASELINES,
    greatest_drop,
    mechanism_claims,
    table2_claims,
)
from replication.statistics import claims as of_claims

CLAIMS = read_published_claims()
TABLES = read_published_tables()
COUNTS = np.array([300, 200, 60, 40, 10, 5])
LABELS = np.repeat(np.arange(6), 4)
ESTIMATOR = EstimatorSettings(
    etas=[0.7], steps=[1, 2], clusters=3, batch_size=4, draws=4, probes=1, seed=0
)
# What the code tests beyond print: this sentence is the suite's own.
BEYOND = {"DLSA improves on PaCo + Balanced Softmax."}


# --- what the code says, on made records


def predictions(*methods: str) -> dict:
    """Two seeds of each method, all of them right."""
    some = {
        (seed, protocol): LABELS
        for seed in range(2)
        for protocol in ("paper", "released_code")
    }
    return {method: predictions_table(LABELS, some) for method in methods}


def of_table2() -> list[dict]:
    gaps = [
        {
            "kind": "difference",
            "method": method,
            "label": method,
            "protocol": protocol,
            "metric": "overall",
            "mean": 0.1,
            "low": 0.0,
            "high": 0.2,
            "verdict": "undecided",
            "p_value": 0.05,
            "detectable": 0.2,
        }
        for method in (*BASELINES, *TABLES["table2"].rows)
        for protocol in ("paper", "released_code")
    ]
    every = frozenset(TABLES["table2"].rows)
    seconds = {"0": {"epoch_seconds": 1.0, "seconds_per_1000": 1.0}}
    filters = {"0": {"filters": [{"splits": {"test": {"auroc_tail": 0.5}}}]}}
    return [
        *table2_claims(gaps, every),
        *greatest_drop(predictions("no_mle", "no_bal", "no_pure"), COUNTS, every),
        *mechanism_claims(
            dict.fromkeys(TABLES["table2"].rows, seconds),
            dict.fromkeys(TABLES["table2"].rows, filters),
            every,
        ),
    ]


def of_sigma() -> list[dict]:
    gap = {"mean": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.05}
    sweep = [
        {
            "sigma": sigma,
            "measures": {
                name: {"per_seed": [sigma, sigma]}
                for name in ("entropy", "out_of_reach")
            },
            "published_minus": gap,
        }
        for sigma in (0.05, 0.5, 1.0)
    ]
    distances = [{"ratio": 1.0, "ratio_low": 0.9, "ratio_high": 1.1}]
    return sigma_claims(sweep, distances, 0.05, np.random.default_rng(0))


def of_confusion() -> list[dict]:
    tables = predictions("without", "with")
    return measure_confusion(tables["without"], tables["with"], COUNTS)["claims"]


@lru_cache
def sentences() -> dict[str, list[str]]:
    """Page -> every sentence that its stage tests."""
    right = np.tile(LABELS, (2, 1))
    runs = {("linear", "many", p): right for p in (0.5, 1.0)}
    said = {
        "table1": table1_claims([]),
        "table2": of_table2(),
        "confusion": of_confusion(),
        "separation": separation_claims(runs, LABELS),
        "estimator": judged(simulation(ESTIMATOR, [0.7], 3), [0.7], 2, []),
        "sigma": of_sigma(),
    }
    return {
        page: list(dict.fromkeys(one["sentence"] for one in claims))
        for page, claims in said.items()
    }


def belongs(sentence: str, page: str, claim: Claim) -> bool:
    return claim.measured_by == page and sentence.startswith(claim.tests)


# --- claims.yaml


def test_the_pages_here_are_all_pages_with_claims() -> None:
    """`diagnosis` asks what the supplement does not say: no sentence is behind it."""
    assert set(sentences()) == {kind.name for kind in kinds(TABLES)} - {"diagnosis"}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.quote[:40])
def test_a_published_claim_is_tested_on_a_page_or_says_why_not(claim: Claim) -> None:
    assert claim.section.startswith("Sect. ") and claim.quote.strip() == claim.quote
    if claim.why_not is not None:
        assert (claim.measured_by, claim.tests) == (None, ())
        return
    assert claim.measured_by in sentences()
    assert claim.tests
    for beginning in claim.tests:
        said = sentences()[claim.measured_by]
        assert any(one.startswith(beginning) for one in said), (beginning, said)


def test_quotes_are_there_once_and_in_the_supplements_order() -> None:
    assert max(Counter(claim.quote for claim in CLAIMS).values()) == 1
    numbers = [
        tuple(int(part) for part in claim.section.removeprefix("Sect. ").split("."))
        for claim in CLAIMS
    ]
    assert numbers == sorted(numbers)


def test_every_tested_sentence_belongs_to_one_quote_or_is_known_to_be_ours() -> None:
    for page, said in sentences().items():
        for sentence in said:
            owners = [claim for claim in CLAIMS if belongs(sentence, page, claim)]
            assert len(owners) == (sentence not in BEYOND), (page, sentence)


# --- putting tests to sentences

ONE = Claim(section="Sect. 1", quote="A.", measured_by="x", tests=("A is", "A was"))
OTHER = Claim(section="Sect. 2", quote="B.", measured_by="y", tests=("A is",))
NONE = Claim(section="Sect. 3", quote="C.", why_not="nobody can")


def measured(*said: str, benchmark: str = "inat18", stand_in: bool = False) -> dict:
    claims = [{"sentence": sentence, "verdict": "undecided"} for sentence in said]
    return {"benchmark": benchmark, "data": {"stand_in": stand_in}, "claims": claims}


def test_a_test_goes_to_the_sentence_of_its_page() -> None:
    """By page and beginning: the same words on another page are another test."""
    of_claim, beyond = of_claims.tests_of(
        [ONE, OTHER, NONE],
        {
            "x": [
                measured("A is so.", "A was so.", benchmark="inat18"),
                measured("A is so.", benchmark="places_lt", stand_in=True),
            ],
            "y": [measured("A is so.", "A was so.")],
            "z": [measured("A is so.")],
        },
    )
    assert [claim for claim, _ in of_claim] == [ONE, OTHER, NONE]
    found = [
        [
            (one.page, one.benchmark, one.stand_in, one.record["sentence"])
            for one in some
        ]
        for _, some in of_claim
    ]
    assert found == [
        [
            ("x", "inat18", False, "A is so."),
            ("x", "inat18", False, "A was so."),
            ("x", "places_lt", True, "A is so."),
        ],
        [("y", "inat18", False, "A is so.")],
        [],
    ]
    assert [(one.page, one.record["sentence"]) for one in beyond] == [
        ("y", "A was so."),
        ("z", "A is so."),
    ]


def test_equal_tests_are_each_counted() -> None:
    """Two tests with the same record are two tests, and none is beyond."""
    ((_, some),), beyond = of_claims.tests_of([ONE], {"x": [measured("A is so.")] * 2})
    assert len(some) == 2 and beyond == []


def test_a_beginning_is_no_word_in_the_middle() -> None:
    ((_, some),), beyond = of_claims.tests_of([ONE], {"x": [measured("So A is so.")]})
    assert some == [] and len(beyond) == 1


def test_nothing_measured_leaves_every_sentence_without_a_test() -> None:
    of_claim, beyond = of_claims.tests_of(CLAIMS, {"table1": [], "table2": []})
    assert len(of_claim) == len(CLAIMS)
    assert all(some == [] for _, some in of_claim) and beyond == []


def test_a_verdict_stands_among_all_tests_of_all_pages() -> None:
    """Three tests at 2 %: alone each would stand, together none; 0.1 % does.

    A stage's own `holm` is that of its page, and not asked here.
    """
    some = measured("A is 1.", "A is 2.", "A is 3.", "A is 4.")
    for claim, value in zip(some["claims"], (0.02, 0.02, 0.02, 0.001), strict=True):
        claim |= {"verdict": "supported", "p_value": value, "holm": 0.9}
    other = measured("A is so.")
    other["claims"][0] |= {"verdict": "contradicted", "p_value": 0.04}
    other["claims"][0]["protocol"] = "released_code"
    ((_, mine), (_, theirs)), _ = of_claims.tests_of(
        [ONE, OTHER], {"x": [some], "y": [other]}
    )
    assert [one.stands for one in mine] == [False, False, False, True]
    assert [one.stands for one in theirs] == [True]
    assert mine[0].record is some["claims"][0]


def test_what_was_not_decided_or_has_no_p_value_is_not_asked() -> None:
    some = measured("A is 1.", "A is 2.")
    some["claims"][0] |= {"p_value": 0.2}
    some["claims"][1] |= {"verdict": "supported"}
    ((_, mine),), _ = of_claims.tests_of([ONE], {"x": [some]})
    assert [one.stands for one in mine] == [None, None]
