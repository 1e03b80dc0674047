"""The page of claims: every sentence of the supplement that could be wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from replication.published.reader import Sentence, read_published_claims
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    in_unit,
    markdown_table,
    tested,
)
from replication.statistics.claims import by_sentence, overall
from replication.statistics.results import GRADES, Claim
from replication.statistics.verdicts import DECIDED, UNDECIDED_AFTER

_HEADER = ("Test", "Data", "Protocol", "Estimate [95 %]", "Verdict")


def claims_page(claims: Sequence[Claim], titles: Mapping[str, str]) -> tuple[str, str]:
    """The page, and its finding in words.

    Args:
        claims: of all sections and benchmarks, as `corrected` leaves them.
        titles: of the benchmarks.
    """
    by_quote, beyond = by_sentence(read_published_claims(), claims)
    words = {sentence: overall(sentence, tests) for sentence, tests in by_quote.items()}
    sentences = [
        {
            "section": sentence.section,
            "sentence": sentence.quote,
            "why_not": sentence.why_not,
            "page": f"{tests[0].section}.md" if tests else None,
            "verdict": "; ".join(
                f"{word} ({grade})" for grade, word in words[sentence].items()
            )
            or "not run",
            "table": _tests_table(tests, titles),
        }
        for sentence, tests in by_quote.items()
    ]
    stand_in = any(claim.grade == "stand-in" for claim in claims)
    text = render(
        "reporting/templates/claims.md.j2",
        stand_in=stand_in,
        number=len(by_quote),
        counts=_counts(words),
        correction=_correction(claims),
        overview=_overview(words),
        sections=[
            (name, list(of)) for name, of in groupby(sentences, lambda s: s["section"])
        ],
        beyond=_tests_table(beyond, titles, with_statement=True),
    )
    counts = " ".join(f"{who}: {what}." for who, what in _counts(words).items())
    return text, f"{len(by_quote)} sentences. {counts}"


def _counts(words: Mapping[Sentence, Mapping[str, str]]) -> dict[str, str]:
    """Grade of evidence -> how many sentences have each word on it; never mixed."""
    counts = {}
    for grade in GRADES:
        verdicts = Counter(found[grade] for found in words.values() if grade in found)
        if verdicts:
            counts[grade.capitalize()] = ", ".join(
                f"{number} {verdict}" for verdict, number in sorted(verdicts.items())
            )
    silent = sum(not found for found in words.values())
    return counts | ({"Not run": str(silent)} if silent else {})


def _overview(words: Mapping[Sentence, Mapping[str, str]]) -> str:
    """A row a sentence and grade of evidence."""
    rows = [
        [sentence.section, sentence.quote, grade, word]
        for sentence, found in words.items()
        for grade, word in (found or {"—": "not run"}).items()
    ]
    return markdown_table(["Section", "Sentence", "Data", "Verdict"], rows, words=4)


def _tests_table(
    tests: Sequence[Claim], titles: Mapping[str, str], with_statement: bool = False
) -> str:
    header = (*(["Sentence"] if with_statement else []), *_HEADER)
    rows = [
        [
            *([claim.statement] if with_statement else []),
            tested(claim),
            _data_of(claim, titles),
            PROTOCOL_NAMES.get(claim.protocol, "—"),
            in_unit(claim),
            claim.verdict,
        ]
        for claim in tests
    ]
    return markdown_table(header, rows, words=len(header) - 2) if rows else ""


def _data_of(claim: Claim, titles: Mapping[str, str]) -> str:
    """On what a claim was tested, and what kind of evidence that is."""
    if claim.benchmark is None or claim.grade == "none needed":
        return claim.grade
    return f"{titles[claim.benchmark]} ({claim.grade})"


def _correction(claims: Sequence[Claim]) -> str:
    """How many verdicts stand, in words."""
    with_p = [claim for claim in claims if claim.p_value is not None]
    fell = sum(claim.verdict == UNDECIDED_AFTER for claim in with_p)
    settled = fell + sum(claim.verdict in DECIDED for claim in with_p)
    return (
        f"{settled - fell} of {settled} verdicts stand among {len(with_p)} tests that "
        "have a p-value"
    )
