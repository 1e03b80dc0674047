"""Sentences of the supplement, each with every Claim that tests it."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from replication.published.reader import Sentence
from replication.statistics.results import Claim
from replication.statistics.verdicts import UNDECIDED_AFTER

BY_READING = "depends on the reading"


def by_sentence(
    sentences: Sequence[Sentence], claims: Iterable[Claim]
) -> tuple[dict[Sentence, list[Claim]], list[Claim]]:
    """Put each test to the sentence that it tests.

    Returns:
        Sentence -> its tests, none where it was not run; and the tests that belong to
        no printed sentence.
    """
    by_id = {sentence.id: sentence for sentence in sentences}
    tests: dict[Sentence, list[Claim]] = {sentence: [] for sentence in sentences}
    beyond = []
    for claim in claims:
        if claim.sentence is None:
            beyond.append(claim)
        else:
            tests[by_id[claim.sentence]].append(claim)
    return tests, beyond


def overall(sentence: Sentence, tests: Sequence[Claim]) -> dict[str, str]:
    """Grade of evidence -> the word for a sentence: that of its `validated` tests.

    Grades are never mixed. Of a sentence on *every* case one that is contradicted
    contradicts it; of another sentence it contradicts a part. Where readings of the
    sentence lead to two words, the word is `BY_READING`.

    Returns:
        No entry for a grade that has no such test, or none that was run.
    """
    counted = [
        claim
        for claim in tests
        if claim.protocol in (None, "validated") and claim.verdict != "not run"
    ]
    words = {}
    for grade in dict.fromkeys(claim.grade for claim in counted):
        of_reading: dict[str, set[str]] = {}
        for claim in counted:
            if claim.grade == grade:
                of_reading.setdefault(claim.reading, set()).add(claim.verdict)
        found = {_word(sentence, verdicts) for verdicts in of_reading.values()}
        if found == {"undecided", UNDECIDED_AFTER}:
            found = {"undecided"}
        word, *others = found
        words[grade] = BY_READING if others else word
    return words


def _word(sentence: Sentence, verdicts: AbstractSet[str]) -> str:
    if len(verdicts) == 1:
        return next(iter(verdicts))
    verdicts = {"undecided" if v == UNDECIDED_AFTER else v for v in verdicts}
    every = sentence.quantifier == "every"
    if "contradicted" in verdicts:
        return "contradicted" if every else "contradicted in part"
    part = "supported" in verdicts and not every
    return "supported in part" if part else "undecided"
