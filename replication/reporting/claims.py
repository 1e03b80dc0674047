"""The page of claims: every sentence of the supplement that could be wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from replication.published.reader import read_published_claims
from replication.reporting.rendering import render
from replication.reporting.tables import PROTOCOL_NAMES, in_unit, markdown_table
from replication.statistics.claims import after_correction, by_sentence, overall
from replication.statistics.results import Claim
from replication.statistics.verdicts import stands

_STANDS = {True: "stands", False: "does not stand", None: "—"}
_OVERVIEW = ("Section", "Sentence", "Data", "Verdict", "Corrected")
_HEADER = ("Test", "Data", "Protocol", "Estimate [95 %]", "Verdict", "Corrected")


def claims_page(claims: Sequence[Claim], titles: Mapping[str, str]) -> tuple[str, str]:
    """The page, and its finding in words.

    Args:
        claims: of all sections and benchmarks, with `holm_all`.
        titles: of the benchmarks.
    """
    by_quote, beyond = by_sentence(read_published_claims(), claims)
    verdicts = Counter(overall(tests) for tests in by_quote.values())
    finding = f"{len(by_quote)} sentences: " + ", ".join(
        f"{number} {verdict}" for verdict, number in sorted(verdicts.items())
    )
    sentences = [
        {
            "section": sentence.section,
            "sentence": sentence.quote,
            "data": ", ".join(dict.fromkeys(claim.grade for claim in tests)) or "—",
            "why_not": sentence.why_not,
            "page": f"{tests[0].section}.md" if tests else None,
            "verdict": overall(tests),
            "corrected": after_correction(tests),
            "table": _tests_table(tests, titles),
        }
        for sentence, tests in by_quote.items()
    ]
    stand_in = any(claim.grade == "stand-in" for claim in claims)
    text = render(
        "reporting/templates/claims.md.j2",
        stand_in=stand_in,
        finding=finding,
        correction=_correction(claims),
        overview=markdown_table(
            _OVERVIEW,
            [[entry[name.lower()] for name in _OVERVIEW] for entry in sentences],
            words=len(_OVERVIEW),
        ),
        sections=[
            (name, list(of)) for name, of in groupby(sentences, lambda s: s["section"])
        ],
        beyond=_tests_table(beyond, titles, with_statement=True),
    )
    return text, finding + (
        " (on the stand-in, but for what needs no data)." if stand_in else "."
    )


def _tests_table(
    tests: Sequence[Claim], titles: Mapping[str, str], with_statement: bool = False
) -> str:
    header = (*(["Sentence"] if with_statement else []), *_HEADER)
    rows = [
        [
            *([claim.statement] if with_statement else []),
            claim.test,
            _data_of(claim, titles),
            PROTOCOL_NAMES.get(claim.protocol, "—"),
            in_unit(claim),
            claim.verdict,
            _STANDS[stands(claim, "holm_all")],
        ]
        for claim in tests
    ]
    return markdown_table(header, rows, words=len(header) - 3) if rows else ""


def _data_of(claim: Claim, titles: Mapping[str, str]) -> str:
    """On what a claim was tested, and what kind of evidence that is."""
    if claim.benchmark is None or claim.grade == "none needed":
        return claim.grade
    return f"{titles[claim.benchmark]} ({claim.grade})"


def _correction(claims: Sequence[Claim]) -> str:
    """How many verdicts stand, in words; those on time apart."""
    settled = [claim for claim in claims if not claim.timed]
    standing = [stands(claim, "holm_all") for claim in settled]
    with_p = sum(claim.p_value is not None for claim in settled)
    return (
        f"{standing.count(True)} of {len(standing) - standing.count(None)} verdicts "
        f"stand among {with_p} tests that have a p-value"
    )
