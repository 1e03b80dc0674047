"""The page of claims."""

import re
from typing import Any

import pytest

from replication.published.reader import read_published_claims
from replication.reporting.claims import claims_page
from replication.statistics.results import Claim
from tests.reporting.made import claim

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
SENTENCES = read_published_claims()
QUOTE = {sentence.id: sentence.quote for sentence in SENTENCES}


def of_sentence(sentence: str, verdict: str = "supported", **changes: Any) -> Claim:
    return claim(sentence=sentence, id=sentence, verdict=verdict, **changes)


def page_of(*claims: Claim) -> str:
    return claims_page(claims, TITLES)[0]


@pytest.mark.parametrize("stand_in", [True, False])
def test_the_first_line_and_the_finding_say_what_the_data_is(stand_in: bool) -> None:
    grade = "stand-in" if stand_in else "real data"
    text, finding = claims_page([of_sentence("s7_losses", grade=grade)], TITLES)
    assert text.startswith("> **Stand-in data**" if stand_in else "> Every sentence")
    assert ("stand-in" in text.lower()) == stand_in
    but = " (on the stand-in, but for what needs no data)."
    assert finding.endswith(but if stand_in else " supported.")
    assert f"| Places-LT ({grade}) |" in text


def test_the_finding_counts_each_sentence_once() -> None:
    _, finding = claims_page(
        [
            of_sentence("s7_losses"),
            of_sentence("s7_losses"),
            of_sentence("s6_bold", "contradicted"),
        ],
        TITLES,
    )
    left = len(SENTENCES) - 2
    assert finding == (
        f"{len(SENTENCES)} sentences: 1 contradicted, {left} not run, 1 supported."
    )


def test_every_quote_stands_below_its_section_whether_it_was_run_or_not() -> None:
    text = page_of(of_sentence("s7_losses"))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {name}" for name in dict.fromkeys(s.section for s in SENTENCES)
    ]
    for sentence in SENTENCES:
        word = "supported" if sentence.id == "s7_losses" else "not run"
        assert text.count(f"**“{sentence.quote}”** {word}.") == 1
        if sentence.why_not:
            assert f"Not tested: {sentence.why_not}." in text
    assert text.count("[How it was tested](table2.md)") == 1
    untested = sum(sentence.why_not is None for sentence in SENTENCES) - 1
    assert text.count("\nNot run.\n") == untested


def test_no_bar_in_a_quote_or_test_breaks_a_table() -> None:
    """P(h|X) has one: every row of a table has as many cells as its header."""
    header = None
    for line in page_of(of_sentence("s2_eq1", test="P(h|X)"), claim()).splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        header = (header or bars) if bars else None
        assert bars == header, line


def test_what_needs_no_data_and_what_belongs_to_no_sentence_say_so() -> None:
    text = page_of(
        of_sentence(
            "s2_eq1", benchmark=None, grade="none needed", protocol=None, unit=""
        ),
        claim(statement="Never printed.", benchmark="inat18", protocol="paper"),
    )
    assert "| paired | none needed | — | 0.013 ± 0.011 | supported | — |" in text
    assert (
        text.split("## Beyond the printed sentences")[1]
        .strip()
        .endswith(
            "| Never printed. | paired | iNaturalist 2018 (real data) | paper "
            "| +1.3 ± 1.1 points | supported | — |"
        )
    )
    assert "Beyond" not in page_of(of_sentence("s2_eq1"))


def test_the_page_says_which_verdicts_stand_among_all() -> None:
    text = page_of(
        of_sentence("s7_losses", p_value=0.001, holm_all=0.003),
        of_sentence("s6_bold", p_value=0.04, holm_all=0.08),
        of_sentence("s7_greatest", "undecided", p_value=0.3, holm_all=0.3),
        of_sentence("s7_slow", p_value=0.01, holm_all=0.01, timed=True),
    )
    assert "1 of 2 verdicts stand among 3 tests that have a p-value." in text
    assert f"| {QUOTE['s7_losses']} | supported | stands |" in text
    assert f"| {QUOTE['s6_bold']} | supported | undecided |" in text
    assert f"| {QUOTE['s7_greatest']} | undecided | — |" in text
    assert "| supported | does not stand |" in text
