"""The block on what a what-if changed."""

from dataclasses import replace

from replication.reporting.moved import changed_settings, moved_block, of_interest
from replication.statistics.moves import MORE, NOISE, Move
from replication.statistics.results import Cell
from tests.reporting.made import cell, gap, measurement

TITLES = {"places_lt": "Places-LT"}
SETTINGS = [("lambda_pure", None, 0.03)]
TABLE = measurement(
    cells=(cell(), cell(method="start", label="Head"), cell(method="no_mle"))
)


def move(of: Cell, mean: float, verdict: str) -> Move:
    """By some points; each number with an interval of one point on either side."""

    def around(middle: float, **changes: str) -> Cell:
        ends = {"low": middle - 0.01, "high": middle + 0.01}
        return replace(of, mean=middle, **ends, **changes)

    change = around(mean, minus=of.minus or "before", verdict=verdict)
    return Move(around(of.mean - mean), around(of.mean), change, (0, 1))


def test_settings_that_differ_have_their_whole_key() -> None:
    before = {"a": 1, "b": {"c": None, "d": [0]}, "gone": 2}
    now = {"a": 1, "b": {"c": 0.1, "d": [0, 1]}, "new": 3}
    assert list(changed_settings(before, now)) == [
        ("b.c", None, 0.1),
        ("b.d", [0], [0, 1]),
        ("gone", 2, None),
        ("new", None, 3),
    ]
    assert not [*changed_settings(now, now)]


def test_dlsa_comes_first_and_other_rows_are_folded() -> None:
    moves = [
        move(gap(minus="start", mean=0.01), 0.005, NOISE),
        move(cell(), 0.02, MORE),
        move(cell(method="no_mle"), -0.005, NOISE),
    ]
    text = moved_block(SETTINGS, moves, [TABLE], TITLES)
    lines = text.splitlines()
    assert lines[:3] == [
        "## What this run changed",
        "",
        "Against the last commit: `lambda_pure` from the recipe's to `0.03`.",
    ]
    assert "**1 of the 3 numbers that changed moved by more than noise.**" in lines
    assert [line for line in lines if line.startswith("| ")][1:3] == [
        "| Full model | Places-LT | validated | 38.0 ± 1.0 | 40.0 ± 1.0 "
        "| **+2.0 ± 1.0**, more than noise |",
        "| Full model minus Head | Places-LT | validated | +0.5 ± 1.0 | +1.0 ± 1.0 "
        "| +0.5 ± 1.0, noise |",
    ]
    assert "steps of the ladder that changed: 1<" in text.split("<details>")[1]


def test_nothing_is_said_where_no_setting_differs_and_little_where_nothing_moved() -> (
    None
):
    assert moved_block([], [move(cell(), 0.02, MORE)], [TABLE], TITLES) == ""
    text = moved_block(SETTINGS, [], [TABLE], TITLES)
    assert "No decision changed" in text and "|" not in text
    assert "keeps no decisions" in moved_block(SETTINGS, None, [TABLE], TITLES)


def test_dlsa_the_rows_of_tables_and_the_steps_of_the_ladder_are_of_interest() -> None:
    rung = {"section": "ladder", "method": "drawn"}
    asked = [
        cell(),
        cell(method="no_mle"),
        gap(minus="start"),
        cell(**rung),
        gap(**rung, minus="head"),
        gap(**rung, minus="frequencies"),
    ]
    assert all(map(of_interest, asked))
    beside = {"section": "ladder", "method": "random"}
    others = [gap(), cell(**beside), gap(**beside, minus="drawn")]
    others += [cell(section="ladder", method="split")]
    assert not any(map(of_interest, others))
