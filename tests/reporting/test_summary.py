"""The half page to cite, from made results."""

from typing import Any

import pytest

from replication.reporting.summary import summary_finding, summary_page
from replication.statistics.results import Claim
from replication.statistics.selection import CHOICE
from tests.reporting.made import DATA, cell, claim, gap, measurement

METRICS = ("overall", "many", "medium", "few")
CELLS = (
    *(
        cell(method=method, protocol=protocol, metric=metric, mean=0.4)
        for method, protocol in (
            ("start", "paper"),
            ("full", "paper"),
            ("full", "released_code"),
        )
        for metric in METRICS
    ),
    gap(minus="start", mean=-0.007, low=-0.017, high=0.003),
    gap(
        minus="start",
        protocol="released_code",
        mean=-0.02,
        low=-0.03,
        high=-0.01,
        verdict="contradicted",
    ),
)


def page_of(*claims: Claim, stand_in: bool = False, cells: tuple = CELLS) -> str:
    table2 = measurement(cells=cells, data=DATA | {"stand_in": stand_in})
    return summary_page(table2, claims, "CIFAR", "Places-LT with a ResNet-152")


def test_both_answers_come_with_the_difference_they_rest_on() -> None:
    text = page_of()
    assert "# Does DLSA help on CIFAR?\n" in text
    assert (
        "**Paper protocol.** DLSA neither clearly helps nor clearly hurts: −0.7 ± 1.0 "
        "points Overall against the same features and head without it.\n"
    ) in text
    assert "**Released-code protocol.** DLSA hurts: −2.0 ± 1.0 points" in text
    assert "| DLSA, paper protocol | 40.0 ± 2.0 | 40.0 ± 2.0 |" in text
    assert "balanced_softmax" not in text  # not among the cells: no row made up
    assert "2 seeds of everything after the features" in text


def test_helping_is_said_only_where_the_interval_is_above_zero() -> None:
    helps = gap(minus="start", mean=0.02, low=0.01, high=0.03, verdict="supported")
    refit = gap(minus="balanced_softmax", mean=0.01, low=-0.01, high=0.03)
    assert summary_finding(measurement(cells=(helps, refit))) == (
        "Under the paper protocol DLSA helps: +2.0 ± 1.0 points Overall against the "
        "same features and head without it; +1.0 ± 2.0 points against a Balanced "
        "Softmax head refitted to the same features. "
        "Under the released-code protocol not run."
    )


def test_the_worth_of_choosing_on_test_data_is_said_where_it_was_measured() -> None:
    worth = gap(metric=CHOICE, minus="last_epoch", mean=0.04, low=0.03, high=0.05)
    text = page_of(cells=(*CELLS, worth))
    assert "was worth +4.0 ± 1.0 points to the full model" in text
    assert "was worth" not in page_of()


def with_verdicts(*verdicts: str, **changes: Any) -> list[Claim]:
    return [claim(verdict=word, statement=f"{word}.", **changes) for word in verdicts]


def test_sentences_are_those_of_the_paper_protocol_or_of_none_each_once() -> None:
    """What the clock alone can answer is counted apart: not a word of it is here."""
    text = page_of(
        *with_verdicts("supported", "contradicted", "undecided"),
        *with_verdicts("contradicted", protocol="released_code"),
        claim(statement="Slower.", timed=True),
    )
    assert "Of 3 tests" in text
    assert "1 supported, 1 contradicted, 1 undecided" in text
    assert text.count("- supported. *(paired: +1.3 ± 1.1 points)*\n") == 1
    assert text.count("- contradicted. *(") == 1 and "- undecided." not in text
    assert "and so do 1 that only the clock" in text and "Slower." not in text


def test_what_needs_no_data_stands_apart_and_what_does_not_stand_is_marked() -> None:
    text = page_of(
        claim(statement="Of the formula.", benchmark=None, grade="none needed"),
        claim(statement="Of the data.", grade="stand-in", holm_all=0.05),
        stand_in=True,
    )
    assert "Carried over whatever the data:\n\n- Of the formula. *(" in text
    on_data = "Carried over on the stand-in:\n\n- Of the data. *(paired: +1.3 ± 1.1 "
    assert on_data + "points)* †\n" in text
    assert "\n† does not stand where all tests are judged at once" in text
    assert "†" not in page_of(claim())


@pytest.mark.parametrize("stand_in", [True, False])
def test_a_stand_in_is_named_first_and_behind_every_verdict(stand_in: bool) -> None:
    text = page_of(claim(), stand_in=stand_in)
    assert text.startswith("> **Stand-in data.**") == stand_in
    assert ("Carried over on the stand-in:" in text) == stand_in
    assert ("Carried over on this data:" in text) != stand_in
