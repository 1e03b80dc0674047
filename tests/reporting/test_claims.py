"""The page of claims."""

import re
from typing import Any

from replication.published.reader import read_published_claims
from replication.reporting.claims import claims_page
from replication.statistics.results import Claim
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.reporting.made import REAL, claim

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
SENTENCES = read_published_claims()
QUOTE = {sentence.id: sentence.quote for sentence in SENTENCES}


def of_sentence(sentence: str, verdict: str = "supported", **changes: Any) -> Claim:
    return claim(sentence=sentence, id=sentence, verdict=verdict, **changes)


def test_each_sentence_counts_once_a_grade_and_a_stand_in_is_named() -> None:
    claims = [
        of_sentence("s7_losses", grade="stand-in"),
        of_sentence("s7_losses", grade="stand-in"),
        of_sentence("s6_bold", "contradicted"),
        of_sentence("s2_eq1", grade="none needed"),
    ]
    text, finding = claims_page(claims, TITLES)
    assert text.startswith("> **Stand-in data**")
    assert finding == (
        f"{len(SENTENCES)} sentences. {REAL.capitalize()}: 1 contradicted. "
        "Stand-in: 1 supported. None needed: 1 supported. "
        f"Not run: {len(SENTENCES) - 3}."
    )
    assert "| Places-LT (stand-in) |" in text
    text, finding = claims_page(claims[2:], TITLES)
    assert "stand-in" not in text.lower() + finding


def test_every_quote_is_there_whether_it_was_run_or_not() -> None:
    text, _ = claims_page([of_sentence("s7_losses")], TITLES)
    for sentence in SENTENCES:
        word = f"supported ({REAL})" if sentence.id == "s7_losses" else "not run"
        assert text.count(f"**“{sentence.quote}”** {word}.") == 1
        if sentence.why_not:
            assert f"Not tested: {sentence.why_not}." in text
    assert text.count("[How it was tested](table2.md)") == 1


def test_no_bar_in_a_quote_or_test_breaks_a_table() -> None:
    """P(h|X) has one: every row of a table has as many cells as its header."""
    header = None
    text, _ = claims_page([of_sentence("s2_eq1", test="P(h|X)"), claim()], TITLES)
    for line in text.splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        header = (header or bars) if bars else None
        assert bars == header, line


def test_a_verdict_says_on_what_data_and_what_correction_leaves() -> None:
    free = {"benchmark": None, "grade": "none needed", "unit": ""}
    text, _ = claims_page(
        [
            of_sentence("s2_eq1", **free),
            of_sentence("s7_losses", p_value=0.001),
            of_sentence("s6_bold", UNDECIDED_AFTER, p_value=0.04),
            of_sentence("s7_greatest", "undecided", p_value=0.3),
            claim(statement="Never printed.", benchmark="inat18", protocol="validated"),
        ],
        TITLES,
    )
    assert "1 of 2 verdicts stand among 3 tests that have a p-value." in text
    for name, data, verdict in (
        ("s7_losses", REAL, "supported"),
        ("s6_bold", REAL, UNDECIDED_AFTER),
        ("s7_greatest", REAL, "undecided"),
        ("s7_slow", "—", "not run"),
    ):
        assert f"| {QUOTE[name]} | {data} | {verdict} |" in text
    assert "| paired | none needed | — | 0.013 ± 0.011 | supported |" in text
    beyond = text.split("## Beyond the printed sentences")[1]
    assert beyond.strip().endswith(
        f"| Never printed. | paired | iNaturalist 2018 ({REAL}) | validated "
        "| +1.3 ± 1.1 points | supported |"
    )


def test_reading_and_caveat_stand_beside_the_test() -> None:
    text, _ = claims_page(
        [of_sentence("s4_dark", reading="rows are true", caveat="unfinished")], TITLES
    )
    assert "| rows are true: paired. **But: unfinished.** |" in text
