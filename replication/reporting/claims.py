"""The page of claims: every sentence of the supplement that could be wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any

from replication.published.reader import Sentence as Claim
from replication.published.reader import read_published_claims
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    as_ratio,
    markdown_table,
    points,
)
from replication.sections.separation.page import BOUNDARIES, VARIANTS
from replication.statistics.claims import Tested, tests_of

_HEADER = ("Test", "Data", "Protocol", "Estimate [95 %]", "Verdict", "Corrected")
_UNITS = {
    "drawn": "× the equation",
    "trend": "Spearman ρ, and the range of chance",
    "exact": "",
}


def claims_page(
    measured: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]
) -> tuple[str, str]:
    """The page, and its finding in words.

    Args:
        measured: page -> what its stage wrote, a benchmark each.
        titles: of the benchmarks.
    """
    of_claim, beyond = tests_of(read_published_claims(), measured)
    sections = [
        {
            "name": name,
            "claims": [
                {
                    "quote": claim.quote,
                    "page": claim.measured_by,
                    "verdict": overall(claim, some),
                    "corrected": after_correction(claim, some),
                    "table": _table(some, titles),
                    "why_not": claim.why_not,
                }
                for claim, some in group
            ],
        }
        for name, group in groupby(of_claim, key=lambda pair: pair[0].section)
    ]
    verdicts = Counter(overall(claim, some) for claim, some in of_claim)
    finding = f"{len(of_claim)} sentences: " + ", ".join(
        f"{number} {verdict}" for verdict, number in sorted(verdicts.items())
    )
    stand_in = any(one.stand_in for _, some in of_claim for one in some)
    text = render(
        "reporting/templates/claims.md.j2",
        stand_in=stand_in,
        finding=finding,
        correction=_correction(
            [*beyond, *(one for _, some in of_claim for one in some)]
        ),
        overview=markdown_table(
            ["Section", "Sentence", "Verdict", "Corrected", "Page"],
            [
                [
                    section["name"],
                    one["quote"],
                    one["verdict"],
                    one["corrected"],
                    f"[{one['page']}]({one['page']}.md)" if one["page"] else "—",
                ]
                for section in sections
                for one in section["claims"]
            ],
            words=5,
        ),
        sections=sections,
        beyond=_table(beyond, titles, with_sentence=True),
    )
    return text, finding + (
        " (on the stand-in, but for what needs no data)." if stand_in else "."
    )


def overall(claim: Claim, tested: Sequence[Tested]) -> str:
    """One word on a sentence: that of its tests under protocol `paper`, if they agree.

    A sentence of several parts is contradicted where one of them is.
    """
    return _word({one.record["verdict"] for one in tested if _counts(one)})


def after_correction(claim: Claim, tested: Sequence[Tested]) -> str:
    """What becomes of that word where all tests of all pages are judged at once.

    A test that does not stand is undecided; one without a p-value keeps its verdict.
    """
    counted = [one for one in tested if _counts(one)]
    if all(one.stands is None for one in counted):
        return "—"
    verdicts = {
        "undecided" if one.stands is False else one.record["verdict"] for one in counted
    }
    word = _word(verdicts)
    return "stands" if word == overall(claim, tested) else word


def _counts(one: Tested) -> bool:
    return one.record.get("protocol") in (None, "paper")


def _word(verdicts: AbstractSet[str]) -> str:
    if not verdicts or verdicts == {"not run"}:
        return "not run"
    if "contradicted" in verdicts:
        return "contradicted" if len(verdicts) == 1 else "contradicted in part"
    if verdicts == {"supported"}:
        return "supported"
    return "supported in part" if "supported" in verdicts else "undecided"


def _table(
    tested: Sequence[Tested], titles: Mapping[str, str], with_sentence: bool = False
) -> str:
    rows = [
        [
            *([one.record["sentence"]] if with_sentence else []),
            test_in_words(one.record),
            _data(one, titles),
            _protocol(one.record),
            shown(one.record),
            one.record["verdict"],
            _STANDS[one.stands],
        ]
        for one in tested
    ]
    header = (*(["Sentence"] if with_sentence else []), *_HEADER)
    return markdown_table(header, rows, words=len(header) - 3) if rows else ""


def _data(one: Tested, titles: Mapping[str, str]) -> str:
    if one.benchmark is None:
        return "none needed"
    return titles[one.benchmark] + (" (stand-in)" if one.stand_in else "")


_STANDS = {True: "stands", False: "does not stand", None: "—"}


def _correction(tested: Sequence[Tested]) -> str:
    """How many verdicts stand, in words; those on time apart."""
    settled = [one for one in tested if not one.record.get("timed")]
    asked = [one for one in settled if one.stands is not None]
    values = sum(one.record.get("p_value") is not None for one in settled)
    return (
        f"{sum(bool(one.stands) for one in asked)} of {len(asked)} verdicts stand "
        f"among {values} tests that have a p-value"
    )


def test_in_words(record: Mapping[str, Any]) -> str:
    """What a test compares, and which of several like it is meant."""
    where = []
    if "variant" in record:
        where.append(VARIANTS.get(record["variant"], record["variant"]))
    if "boundary" in record:
        name = BOUNDARIES.get(record["boundary"], record["boundary"])
        where.append(f"head = {name}")
    return record["test"] + (f" ({'; '.join(where)})" if where else "")


def _protocol(record: Mapping[str, Any]) -> str:
    name = record.get("protocol")
    return PROTOCOL_NAMES[name].split(" (")[0] if name else "—"


def shown(record: Mapping[str, Any]) -> str:
    """Estimate and interval: accuracies in points, everything else in its own unit."""
    mean, low, high = (record.get(name) for name in ("mean", "low", "high"))
    if mean is None:
        mean = record.get("estimate")
    if mean is None:
        return "n/a"
    kind, unit = record.get("kind", "points"), record.get("unit")
    if unit == "log ratio":
        return shown(as_ratio(record))
    if unit == "share per cell":
        mean, low, high = (one and 10_000 * one for one in (mean, low, high))
        unit = "errors per 10,000 images and cell"
    if "estimate" in record or unit not in (None, "share") or kind in _UNITS:
        words = unit or _UNITS.get(kind, "")
        text = f"{mean:.3g}"
        if low is not None and high is not None and not low == high == mean:
            text += f" [{low:.3g}, {high:.3g}]"
        return f"{text} {words}".strip().replace("-", "−")
    ends = "" if low is None else f" [{points(low)}, {points(high)}]"
    return f"{points(mean)}{ends} points"
