"""The page of claims: every sentence of the supplement that could be wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence

from replication.published.reader import Sentence, read_published_claims
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    bold,
    data_of,
    in_unit,
    markdown_table,
    reading_of,
)
from replication.statistics.claims import by_sentence, overall
from replication.statistics.results import GRADES, Claim
from replication.statistics.verdicts import DECIDED, UNDECIDED_AFTER

_HEADER = ("Test", "Data", "Validated", "Verdict", "As released", "Verdict")
_CAVEAT = " †"


def claims_page(claims: Sequence[Claim], titles: Mapping[str, str]) -> str:
    """The page, of all claims but the stand-in's, as `corrected` leaves them."""
    sentences = read_published_claims()
    by_quote, beyond = by_sentence(sentences, claims)
    words = {sentence: overall(sentence, tests) for sentence, tests in by_quote.items()}
    return render(
        "reporting/templates/claims.md.j2",
        number=len(sentences),
        counts=counts(words),
        correction=_correction(claims),
        sections=_sections(by_quote, titles),
        not_run=[s for s, tests in by_quote.items() if not tests],
        beyond=_tests_table(beyond, titles),
        quotes=sentences,
    )


def _sections(
    by_quote: Mapping[Sentence, Sequence[Claim]],
    titles: Mapping[str, str],
) -> dict[str, str]:
    """Section of the supplement -> its tests."""
    tests: dict[str, list[Claim]] = {}
    for sentence, of in by_quote.items():
        tests.setdefault(sentence.section, []).extend(of)
    return {name: _tests_table(of, titles) for name, of in tests.items() if of}


def counts(words: Mapping[Sentence, Mapping[str, str]]) -> dict[str, str]:
    """Grade of evidence -> how many sentences have each word on it; never mixed."""
    counts = {}
    for grade in GRADES:
        verdicts = Counter(word[grade] for word in words.values() if grade in word)
        if verdicts:
            counts[grade.capitalize()] = ", ".join(
                f"{number} {verdict}" for verdict, number in sorted(verdicts.items())
            )
    silent = sum(not word for word in words.values())
    return counts | ({"Not run": str(silent)} if silent else {})


def _tests_table(tests: Sequence[Claim], titles: Mapping[str, str]) -> str:
    """A row a test; its two protocols side by side. Empty: no test."""
    rows: dict[tuple[str, str | None, str], dict[str, Claim]] = {}
    for claim in tests:
        of = rows.setdefault((claim.section, claim.benchmark, claim.id), {})
        of[claim.protocol or "validated"] = claim
    firsts = [next(iter(of_protocol.values())) for of_protocol in rows.values()]
    called = Counter((first.statement, first.reading) for first in firsts)
    lines = []
    for claim, of_protocol in zip(firsts, rows.values(), strict=True):
        alone = called[claim.statement, claim.reading] == 1
        which = reading_of(claim) if alone else f" ({claim.test.split(':')[0]})"
        line = [
            f"[{claim.statement.rstrip('.')}]({claim.section}.md){which}",
            data_of(claim, titles),
        ]
        for protocol in PROTOCOL_NAMES:
            asked = of_protocol.get(protocol)
            caveat = _CAVEAT if asked and asked.caveat else ""
            said = (
                [in_unit(asked), bold(asked.verdict) + caveat] if asked else ["—"] * 2
            )
            line += said
        lines.append(line)
    return markdown_table(_HEADER, lines, words=2) if lines else ""


def _correction(claims: Sequence[Claim]) -> str:
    """How many verdicts stand, in words."""
    with_p = [claim for claim in claims if claim.p_value is not None]
    fell = sum(claim.verdict == UNDECIDED_AFTER for claim in with_p)
    settled = fell + sum(claim.verdict in DECIDED for claim in with_p)
    return (
        f"{settled - fell} of {settled} verdicts stand among {len(with_p)} tests that "
        "have a p-value"
    )
