"""The page of claims."""

from dataclasses import replace
from typing import Any

from replication.published.reader import read_published_claims
from replication.reporting.claims import claims_page
from replication.statistics.results import Claim
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.reporting.made import REAL, claim

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
SENTENCES = read_published_claims()


def of_sentence(sentence: str, verdict: str = "supported", **changes: Any) -> Claim:
    return claim(sentence=sentence, id=sentence, verdict=verdict, **changes)


def test_each_sentence_counts_once_a_grade() -> None:
    claims = [
        of_sentence("s7_losses"),
        of_sentence("s7_losses"),
        of_sentence("s6_bold", "contradicted"),
        of_sentence("s2_eq1", grade="none needed"),
    ]
    text = claims_page(claims, TITLES)
    assert text.startswith(f"# Claims\n\n{len(SENTENCES)} sentences")
    for line in (
        f"- **{REAL.capitalize()}**: 1 contradicted, 1 supported.",
        "- **None needed**: 1 supported.",
        f"- **Not run**: {len(SENTENCES) - 3}.",
    ):
        assert line in text.splitlines()


def test_every_quote_is_there_whether_it_was_run_or_not() -> None:
    text = claims_page([of_sentence("s7_losses")], TITLES)
    for sentence in SENTENCES:
        assert f"{sentence.section}: “{sentence.quote}”" in text
        run = sentence.id == "s7_losses"
        assert (f"- “{sentence.quote}”" in text) == (not run)
        if sentence.why_not:
            assert f"Not tested: {sentence.why_not}." in text


def test_a_test_is_one_row_and_its_protocols_stand_side_by_side() -> None:
    both = {"protocol": "validated", "p_value": 0.001}
    released = {"protocol": "as_released"}
    text = claims_page(
        [
            of_sentence("s7_losses", **both),
            of_sentence("s7_losses", UNDECIDED_AFTER, **both | released),
            of_sentence("s2_eq1", grade="none needed", unit="", caveat="unfinished"),
            claim(statement="Never printed.", benchmark="inat18", reading="X, and why"),
        ],
        TITLES,
    )
    assert "1 of 2 verdicts stand among 2 tests that have a p-value." in text
    value = "+1.3 ± 1.1 points"
    assert (
        f"| [It helps](table2.md) | Places-LT, scaled | {value} | **supported** "
        f"| {value} | {UNDECIDED_AFTER} |"
    ) in text
    assert "| none needed | 0.013 ± 0.011 | **supported** † | — | — |" in text
    alike = [of_sentence("s6_bold", test=f"{who}: paired") for who in ("A", "B")]
    alike[1] = replace(alike[1], id="other")
    assert "(table2.md) (B) | Places-LT" in claims_page(alike, TITLES)
    beyond = text.split("## Beyond the printed sentences")[1]
    assert "| [Never printed](table2.md) (X) | iNaturalist 2018, scaled |" in beyond
