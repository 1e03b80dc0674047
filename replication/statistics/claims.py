"""Sentences of the supplement, each with every Claim that tests it."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from replication.published.reader import Sentence
from replication.statistics.results import Claim
from replication.statistics.verdicts import stands


def by_sentence(
    sentences: Sequence[Sentence], claims: Iterable[Claim]
) -> tuple[dict[Sentence, list[Claim]], list[Claim]]:
    """Put each test to the sentence that it tests.

    Returns:
        Sentence -> its tests, none where it was not run; and the tests that belong to
        no printed sentence.

    Raises:
        ValueError: a test names a sentence that is not published.
    """
    by_id = {sentence.id: sentence for sentence in sentences}
    tests: dict[Sentence, list[Claim]] = {sentence: [] for sentence in sentences}
    beyond = []
    for claim in claims:
        if claim.sentence is None:
            beyond.append(claim)
        elif claim.sentence in by_id:
            tests[by_id[claim.sentence]].append(claim)
        else:
            raise ValueError(f"{claim.section}: {claim.id}: no such sentence")
    return tests, beyond


def overall(tests: Sequence[Claim]) -> str:
    """One word on a sentence: that of its `validated` tests, if they agree.

    A sentence of several parts is contradicted where one of them is.
    """
    return _word({claim.verdict for claim in tests if _counts(claim)})


def after_correction(tests: Sequence[Claim]) -> str:
    """What becomes of that word where all tests of all sections are judged at once.

    A test that does not stand is undecided; one without a p-value keeps its verdict.
    """
    counted = [claim for claim in tests if _counts(claim)]
    if all(stands(claim, "holm_all") is None for claim in counted):
        return "—"
    word = _word(
        {
            "undecided" if stands(claim, "holm_all") is False else claim.verdict
            for claim in counted
        }
    )
    return "stands" if word == overall(tests) else word


def _counts(claim: Claim) -> bool:
    return claim.protocol in (None, "validated")


def _word(verdicts: AbstractSet[str]) -> str:
    if verdicts <= {"not run"}:
        return "not run"
    if "contradicted" in verdicts:
        return "contradicted" if len(verdicts) == 1 else "contradicted in part"
    if verdicts == {"supported"}:
        return "supported"
    return "supported in part" if "supported" in verdicts else "undecided"
