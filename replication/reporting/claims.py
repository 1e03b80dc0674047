"""The page of claims: every sentence of the supplement that could be wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from replication.published.reader import Sentence, read_published_claims
from replication.reporting.rendering import render
from replication.reporting.tables import in_unit, markdown_table
from replication.statistics.claims import (
    after_correction,
    by_sentence,
    overall,
)
from replication.statistics.results import Claim
from replication.statistics.verdicts import stands

_PROTOCOLS = {"paper": "paper", "released_code": "released code", None: "—"}
_STANDS = {True: "stands", False: "does not stand", None: "—"}
_HEADER = ("Test", "Data", "Protocol", "Estimate [95 %]", "Verdict", "Corrected")


def claims_page(claims: Sequence[Claim], titles: Mapping[str, str]) -> tuple[str, str]:
    """The page, and its finding in words.

    Args:
        claims: of all sections and benchmarks, with `holm_all`.
        titles: of the benchmarks.
    """
    tests, beyond = by_sentence(read_published_claims(), claims)
    verdicts = Counter(overall(some) for some in tests.values())
    finding = f"{len(tests)} sentences: " + ", ".join(
        f"{number} {verdict}" for verdict, number in sorted(verdicts.items())
    )
    stand_in = any(claim.grade == "stand-in" for claim in claims)
    text = render(
        "reporting/templates/claims.md.j2",
        stand_in=stand_in,
        finding=finding,
        correction=_correction(claims),
        overview=_overview(tests),
        sections=[
            {
                "name": name,
                "sentences": [
                    {
                        "quote": sentence.quote,
                        "page": _page(some),
                        "verdict": overall(some),
                        "table": _table(some, titles),
                        "why_not": sentence.why_not,
                    }
                    for sentence, some in group
                ],
            }
            for name, group in groupby(tests.items(), lambda pair: pair[0].section)
        ],
        beyond=_table(beyond, titles, with_statement=True),
    )
    return text, finding + (
        " (on the stand-in, but for what needs no data)." if stand_in else "."
    )


def _overview(tests: Mapping[Sentence, Sequence[Claim]]) -> str:
    header = ["Section", "Sentence", "Verdict", "Corrected", "Page"]
    rows = []
    for sentence, some in tests.items():
        page = _page(some)
        link = f"[{page}]({page}.md)" if page else "—"
        words = overall(some), after_correction(some)
        rows.append([sentence.section, sentence.quote, *words, link])
    return markdown_table(header, rows, words=5)


def _page(tests: Sequence[Claim]) -> str | None:
    return tests[0].section if tests else None


def _table(
    tests: Sequence[Claim], titles: Mapping[str, str], with_statement: bool = False
) -> str:
    header = (*(["Sentence"] if with_statement else []), *_HEADER)
    rows = [
        [
            *([claim.statement] if with_statement else []),
            claim.test,
            data_of(claim, titles),
            _PROTOCOLS[claim.protocol],
            in_unit(claim),
            claim.verdict,
            _STANDS[stands(claim, "holm_all")],
        ]
        for claim in tests
    ]
    return markdown_table(header, rows, words=len(header) - 3) if rows else ""


def data_of(claim: Claim, titles: Mapping[str, str]) -> str:
    """On what a claim was tested, and what kind of evidence that is."""
    if claim.benchmark is None or claim.grade == "none needed":
        return claim.grade
    return f"{titles[claim.benchmark]} ({claim.grade})"


def _correction(claims: Sequence[Claim]) -> str:
    """How many verdicts stand, in words; those on time apart."""
    settled = [claim for claim in claims if not claim.timed]
    asked = [stands(claim, "holm_all") for claim in settled]
    values = sum(claim.p_value is not None for claim in settled)
    return (
        f"{asked.count(True)} of {len(asked) - asked.count(None)} verdicts stand "
        f"among {values} tests that have a p-value"
    )
