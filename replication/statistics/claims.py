"""Sentences of the supplement, each with every test that was made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replication.published.reader import Sentence as Claim
from replication.statistics.verdicts import corrected, stands

Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Tested:
    """One test of a sentence on one benchmark.

    Fields: `page` whose stage made it; `benchmark`, None where no data is behind it;
    `stand_in`; `record` with sentence, test, mean, low, high, verdict, and perhaps
    protocol, unit, kind, variant, boundary; `stands`, whether the verdict holds after
    Holm's correction over all tests of all pages, None where that is not asked.
    """

    page: str
    benchmark: str
    stand_in: bool
    record: Mapping[str, Any]
    stands: bool | None = None


def tests_of(
    claims: Sequence[Claim], measured: Mapping[str, Iterable[Measured]]
) -> tuple[list[tuple[Claim, list[Tested]]], list[Tested]]:
    """Put each test to the sentence that it tests.

    Args:
        claims: as published.
        measured: page -> what its stage wrote, a benchmark each.

    Returns:
        Each claim with its tests, none where it was not run; and the tests that belong
        to no printed sentence.
    """
    said = [
        (page, one, record)
        for page, every in measured.items()
        for one in every
        for record in one["claims"]
    ]
    every_test = corrected([record for *_, record in said], "holm_all")
    tested = [
        Tested(
            page,
            None if record.get("data_free") else one["benchmark"],
            one["data"]["stand_in"] and not record.get("data_free", False),
            record,
            stands(found, "holm_all"),
        )
        for (page, one, record), found in zip(said, every_test, strict=True)
    ]
    of_claim = [
        (claim, [one for one in tested if _tests(claim, one)]) for claim in claims
    ]
    printed = {id(one) for _, some in of_claim for one in some}
    return of_claim, [one for one in tested if id(one) not in printed]


def _tests(claim: Claim, one: Tested) -> bool:
    return one.page == claim.measured_by and one.record["sentence"].startswith(
        claim.tests
    )
