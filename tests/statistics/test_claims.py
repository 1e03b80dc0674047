"""The supplement's sentences, and the tests that are put to them."""

import pytest

from replication.published.reader import Sentence, read_published_claims
from replication.statistics.claims import BY_READING, by_sentence, overall
from replication.statistics.results import Claim
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.reporting.made import claim

ONE, OTHER = (
    Sentence(id=name, short=name, section="Sect. 1", quote=f"{name}.")
    for name in ("one", "other")
)


def test_a_test_goes_to_the_sentence_that_it_names() -> None:
    first, second = claim(sentence="one"), claim(sentence="one", benchmark="inat18")
    ours = claim()
    tests, beyond = by_sentence([ONE, OTHER], [first, ours, second, first])
    assert tests == {ONE: [first, second, first], OTHER: []}
    assert beyond == [ours]


# --- one word for a sentence

EVERY = ONE.model_copy(update={"quantifier": "every"})
REAL = "paper's data"


def word(sentence: Sentence, *tests: Claim) -> str:
    """In whatever order its tests come."""
    (first,) = overall(sentence, tests).values()
    assert overall(sentence, tests[::-1]) == {tests[0].grade: first}
    return first


@pytest.mark.parametrize(
    ("verdicts", "some", "every"),
    [
        (["supported", "supported"], "supported", "supported"),
        (["supported", "undecided"], "supported in part", "undecided"),
        (["undecided", "not run"], "undecided", "undecided"),
        ([UNDECIDED_AFTER], UNDECIDED_AFTER, UNDECIDED_AFTER),
        ([UNDECIDED_AFTER, "undecided"], "undecided", "undecided"),
        (["contradicted", "contradicted"], "contradicted", "contradicted"),
        (["contradicted", "undecided"], "contradicted in part", "contradicted"),
        (["contradicted", "supported"], "contradicted in part", "contradicted"),
        ([UNDECIDED_AFTER, "supported"], "supported in part", "undecided"),
    ],
)
def test_word_for_a_sentence(verdicts: list[str], some: str, every: str) -> None:
    """One clear case is enough against a sentence on every case."""
    tests = [claim(verdict=verdict) for verdict in verdicts]
    assert (word(ONE, *tests), word(EVERY, *tests)) == (some, every)


def test_what_was_not_run_or_chosen_on_test_data_has_no_word() -> None:
    released = claim(verdict="contradicted", protocol="as_released")
    assert overall(ONE, [released, claim(verdict="not run")]) == {}
    validated = claim(verdict="undecided", protocol="validated")
    assert word(ONE, released, validated) == "undecided"


def test_grades_of_evidence_are_never_mixed() -> None:
    tests = [
        claim(grade="stand-in", verdict="contradicted"),
        claim(grade="none needed"),
        claim(grade=REAL, verdict="undecided"),
    ]
    assert overall(EVERY, tests) == {
        "stand-in": "contradicted",
        "none needed": "supported",
        REAL: "undecided",
    }


def test_a_sentence_of_two_readings_has_one_word_only_where_they_agree() -> None:
    rows = claim(reading="rows", verdict="contradicted")
    columns = claim(reading="columns")
    assert word(ONE, rows, columns) == word(EVERY, rows, columns) == BY_READING
    assert word(ONE, rows, claim(reading="columns", verdict="contradicted")) == (
        "contradicted"
    )
    open_ = [
        claim(reading=r, verdict=v)
        for r, v in (("rows", "undecided"), ("columns", UNDECIDED_AFTER))
    ]
    assert word(ONE, *open_) == "undecided"


def test_sentences_on_every_case_are_marked() -> None:
    marked = {s.id for s in read_published_claims() if s.quantifier == "every"}
    assert {"s6_bold", "s7_losses", "s7_clusters", "s2_eq3"} <= marked
    assert not {"s7_greatest", "s3_best", "s4_dark"} & marked
