"""The page of claims."""

import re
from typing import Any

from replication.published.reader import read_published_claims
from replication.reporting.claims import claims_page
from replication.statistics.results import Claim
from tests.reporting.made import claim

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
SENTENCES = read_published_claims()
QUOTE = {sentence.id: sentence.quote for sentence in SENTENCES}


def of_sentence(sentence: str, verdict: str = "supported", **changes: Any) -> Claim:
    return claim(sentence=sentence, id=sentence, verdict=verdict, **changes)


def test_each_sentence_counts_once_and_a_stand_in_is_named() -> None:
    claims = [
        of_sentence("s7_losses", grade="stand-in"),
        of_sentence("s7_losses", grade="stand-in"),
        of_sentence("s6_bold", "contradicted"),
    ]
    text, finding = claims_page(claims, TITLES)
    assert text.startswith("> **Stand-in data**")
    assert finding == (
        f"{len(SENTENCES)} sentences: 1 contradicted, {len(SENTENCES) - 2} not run, "
        "1 supported (on the stand-in, but for what needs no data)."
    )
    assert "| Places-LT (stand-in) |" in text
    text, finding = claims_page(claims[2:], TITLES)
    assert "stand-in" not in text.lower() + finding


def test_every_quote_is_there_whether_it_was_run_or_not() -> None:
    text, _ = claims_page([of_sentence("s7_losses")], TITLES)
    for sentence in SENTENCES:
        word = "supported" if sentence.id == "s7_losses" else "not run"
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


def test_a_verdict_says_on_what_data_and_whether_it_stands_among_all() -> None:
    free = {"benchmark": None, "grade": "none needed", "unit": ""}
    text, _ = claims_page(
        [
            of_sentence("s2_eq1", **free),
            of_sentence("s7_losses", p_value=0.001, holm_all=0.003),
            of_sentence("s6_bold", p_value=0.04, holm_all=0.08),
            of_sentence("s7_greatest", "undecided", p_value=0.3, holm_all=0.3),
            of_sentence("s7_slow", p_value=0.01, holm_all=0.01, timed=True),
            claim(statement="Never printed.", benchmark="inat18", protocol="validated"),
        ],
        TITLES,
    )
    assert "1 of 2 verdicts stand among 3 tests that have a p-value." in text
    for name, data, verdict, corrected in (
        ("s7_losses", "real data", "supported", "stands"),
        ("s6_bold", "real data", "supported", "undecided"),
        ("s7_greatest", "real data", "undecided", "—"),
    ):
        assert f"| {QUOTE[name]} | {data} | {verdict} | {corrected} |" in text
    assert "| paired | none needed | — | 0.013 ± 0.011 | supported | — |" in text
    beyond = text.split("## Beyond the printed sentences")[1]
    assert beyond.strip().endswith(
        "| Never printed. | paired | iNaturalist 2018 (real data) | validated "
        "| +1.3 ± 1.1 points | supported | — |"
    )
