"""The supplement's sentences, and the tests that are put to them."""

import pytest

from replication.published.reader import Sentence
from replication.statistics.claims import (
    after_correction,
    by_sentence,
    overall,
)
from replication.statistics.results import Claim
from tests.reporting.made import claim

ONE, OTHER = (
    Sentence(id=name, section="Sect. 1", quote=f"{name}.") for name in ("one", "other")
)


def test_a_test_goes_to_the_sentence_that_it_names() -> None:
    first, second = claim(sentence="one"), claim(sentence="one", benchmark="inat18")
    ours = claim()
    tests, beyond = by_sentence([ONE, OTHER], [first, ours, second, first])
    assert tests == {ONE: [first, second, first], OTHER: []}
    assert beyond == [ours]


def test_a_test_of_a_sentence_that_nobody_printed_is_a_defect() -> None:
    with pytest.raises(ValueError, match="table2: helps: no such sentence"):
        by_sentence([ONE], [claim(sentence="none")])


# --- one word for a sentence


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        ([], "not run"),
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "supported in part"),
        (["undecided", "not run"], "undecided"),
        (["contradicted", "contradicted"], "contradicted"),
        (["contradicted", "undecided"], "contradicted in part"),
        (["contradicted", "supported", "undecided"], "contradicted in part"),
    ],
)
def test_word_for_a_sentence(verdicts: list[str], word: str) -> None:
    """In whatever order its tests come."""
    tests = [claim(verdict=verdict) for verdict in verdicts]
    assert overall(tests) == overall(tests[::-1]) == word


def test_word_is_that_of_the_paper_protocol() -> None:
    """What was chosen on test data does not count; what has no protocol does."""
    released = claim(verdict="contradicted", protocol="as_released")
    shared = claim(verdict="undecided", protocol=None)
    assert overall([released]) == "not run"
    assert (
        overall([released, claim(protocol="validated"), shared]) == "supported in part"
    )


SURE, UNSURE = 0.01, 0.2


@pytest.mark.parametrize(
    ("tests", "word"),
    [
        ([], "—"),
        ([("supported", None)], "—"),  # an equation: no p-value
        ([("supported", SURE)], "stands"),
        ([("contradicted", UNSURE)], "undecided"),
        ([("contradicted", SURE), ("contradicted", UNSURE)], "contradicted in part"),
        ([("contradicted", SURE), ("supported", UNSURE)], "stands"),
        ([("contradicted", UNSURE), ("supported", None)], "supported in part"),
    ],
)
def test_what_is_left_of_a_word_after_correction(tests: list, word: str) -> None:
    """A test that does not stand is undecided; one without p-value is as it was."""
    some = [claim(verdict=verdict, holm_all=value) for verdict, value in tests]
    released: Claim = claim(
        verdict="contradicted", protocol="as_released", holm_all=SURE
    )
    assert after_correction([*some, released]) == word
