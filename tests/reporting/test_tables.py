"""Cells and Claims as a reader sees them."""

import math

import pytest

from replication.reporting import tables
from replication.statistics.results import Cell, Claim
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.reporting.made import cell, claim, gap

# ---- Numbers


def test_what_is_not_there_is_never_a_number() -> None:
    assert tables.percent(None) == tables.percent(math.nan) == "n/a"
    assert tables.points(None) == tables.points(math.nan) == "n/a"
    for mean in (None, math.nan):
        assert tables.shown(cell(mean=mean)) == "n/a"
        assert tables.in_unit(claim(mean=mean)) == "n/a"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (cell(), "40.0 ± 2.0"),
        (cell(mean=0.985, low=0.963, high=1.0), "98.5 [96.3, 100.0]"),
        (gap(mean=-0.01, low=-0.02, high=0.0), "−1.0 ± 1.0"),
        (gap(mean=-0.01, low=-0.03, high=0.0), "−1.0 [−3.0, +0.0]"),
        # the side of an end near 0 is shown
        (gap(mean=-0.002, low=-0.0036, high=-0.0004), "−0.20 ± 0.16"),
        (claim(), "+1.3 ± 1.1"),
        (claim(unit="AUROC", mean=-0.1, low=-0.25, high=0.05), "−0.10 ± 0.15 AUROC"),
        (claim(unit="", mean=1234.5, low=1e-7, high=2e4), "1.23e+03 [1e−07, 2e+04]"),
        (claim(unit="", mean=2.0, low=2.0, high=2.0), "2"),
        (claim(unit="share per cell", mean=1e-4, low=5e-5, high=3e-4),
         "1.0 [0.5, 3.0] per 10,000 and cell"),
    ],
)  # fmt: skip
def test_an_estimate_is_shown_in_its_unit(result: Cell | Claim, text: str) -> None:
    assert tables.shown(result) == text


@pytest.mark.parametrize("end", [None, math.nan, math.inf])
def test_an_interval_without_end_is_not_shown(end: float | None) -> None:
    """One seed: JSON turns what is not finite into null."""
    assert tables.shown(cell(low=end, high=end)) == "40.0"
    assert tables.shown(claim(low=end, high=end)) == "+1.3"


def test_points_and_percent_are_named_in_prose() -> None:
    assert tables.in_unit(cell()) == "40.0 ± 2.0 %"
    assert tables.in_unit(gap()) == "+40.0 ± 2.0 points"
    assert tables.in_unit(claim()) == "+1.3 ± 1.1 points"


def test_bold_is_a_difference_whose_interval_leaves_zero_out() -> None:
    assert tables.emphasised(claim(low=-0.001)).startswith("+")
    assert tables.emphasised(claim()) == "**+1.3 ± 1.1**"
    below = claim(mean=-0.013, low=-0.024, high=-0.002)
    assert tables.emphasised(below) == "**−1.3 ± 1.1**"
    assert tables.emphasised(claim(low=None, high=None)) == "+1.3"


# ---- Tables


def test_a_bar_in_a_cell_is_escaped_and_only_once() -> None:
    """P(h|X) would be two cells; what is escaped already stays as it is."""
    text = tables.markdown_table(["P(h|X)", "b"], [["a|b||c", r"P(h\|x)"]])
    assert text.splitlines() == [
        r"| P(h\|X) | b |",
        "|:--|--:|",
        r"| a\|b\|\|c | P(h\|x) |",
    ]


def test_claims_of_both_protocols_stand_side_by_side() -> None:
    falls = claim(protocol="as_released", verdict=UNDECIDED_AFTER, reading="so read")
    open_one = claim(protocol="validated", verdict="undecided", low=-0.02)
    text = tables.claims_table([falls, open_one, claim(id="free")])
    assert text.splitlines() == [
        "| Sentence | Validated estimate | Verdict | As released estimate | Verdict |",
        "|:--|--:|--:|--:|--:|",
        "| It helps (so read) | +1.3 [−2.0, +2.4] points | undecided "
        "| +1.3 ± 1.1 points | undecided after correction |",
        "| It helps | +1.3 ± 1.1 points | supported | +1.3 ± 1.1 points | supported |",
    ]
    assert tables.claims_table([claim()]).startswith(
        "| Sentence | Estimate | Verdict |"
    )


# ---- Words


def test_what_a_run_could_have_seen_is_a_line() -> None:
    """Least and most of the detectable differences, under each protocol."""
    paper = [gap(detectable=value) for value in (0.0123, 0.004, None, math.nan)]
    released = gap(protocol="as_released", detectable=0.02)
    assert tables.seen([*paper, released]) == (
        "A true difference of 0.4 to 1.2 (validated) or 2.0 (as released) points would "
        "be found 80 times in 100."
    )
    assert tables.seen([gap()]) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "raises"),
        ({"verdict": "contradicted"}, "lowers"),
        ({"verdict": UNDECIDED_AFTER}, "seems to raise"),
        ({"verdict": UNDECIDED_AFTER, "mean": -0.1}, "seems to lower"),
        ({"verdict": "undecided"}, "is not shown to change"),
    ],
)
def test_a_verdict_is_said_in_words(changes: dict, words: str) -> None:
    assert tables.does(claim(**changes)) == words
