"""Records as a reader sees them."""

import math

from replication.reporting import tables

FULL = {"full": "Full model"}


def record(**changes: object) -> dict:
    """A value record of the ablation, with changes."""
    plain = {
        "kind": "value",
        "method": "full",
        "label": "Full model",
        "protocol": "paper",
        "metric": "overall",
        "published": 0.421,
        "verdict": "partial",
        "mean": 0.4,
        "low": 0.38,
        "high": 0.42,
    }
    return plain | changes


def test_percent_and_points_by_hand() -> None:
    assert tables.percent(0.4216) == "42.2"
    assert tables.percent(1.0, 0) == "100"
    assert tables.points(0.013) == "+1.3"
    assert tables.points(-0.013) == "−1.3"


def test_what_is_not_there_is_never_a_number() -> None:
    assert tables.percent(None) == tables.percent(math.nan) == "n/a"
    assert tables.points(None) == tables.points(math.nan) == "n/a"
    assert tables.with_interval(record(mean=None)) == "n/a"


def test_interval_of_a_value_and_of_a_difference() -> None:
    assert tables.with_interval(record()) == "40.0 [38.0, 42.0]"
    gap = record(kind="difference", mean=-0.01, low=-0.02, high=0.0)
    assert tables.with_interval(gap) == "−1.0 [−2.0, +0.0]"


def test_value_table_shows_printed_below_measured_and_a_cell_not_run() -> None:
    records = [record(), record(metric="few", published=None, verdict=None)]
    text = tables.value_table(records, "paper", ("overall", "few", "many"), FULL)
    assert text.splitlines()[2] == (
        "| Full model | 40.0 [38.0, 42.0]<br>*printed 42.1* | 40.0 [38.0, 42.0] "
        "| not run | partial |"
    )


def test_value_table_without_any_printed_number_has_no_verdict_column() -> None:
    text = tables.value_table([record(published=None)], "paper", ("overall",), FULL)
    assert text.splitlines()[0] == "| Method | Overall |"


def test_difference_table_says_in_words_which_is_better() -> None:
    words = {"supported": "yes", "contradicted": "no, worse", "undecided": "undecided"}
    for verdict, word in words.items():
        gap = record(
            kind="difference", method="no_mle", label="w/o L_MLE", verdict=verdict
        )
        row = tables.difference_table([gap], "paper", ("overall",)).splitlines()[2]
        assert row.endswith(f"| {word} |")


def test_protocol_table_is_released_code_minus_paper() -> None:
    records = [record(), record(protocol="released_code", mean=0.415)]
    text = tables.protocol_table(records, ("overall",))
    assert text.splitlines()[2] == "| Full model | +1.5 |"


def test_runs_table_marks_uncommitted_code() -> None:
    run = {
        "stage": "heads@x",
        "commit": "0123456789abcdef",
        "clean": False,
        "device": "a processor",
        "seconds": 3.4,
        "peak_memory_mb": 900,
    }
    row = tables.runs_table([run]).splitlines()[2]
    assert row == "| heads@x | 0123456789 | **no** | a processor | 3 | 900 |"


def test_a_method_without_records_was_not_run() -> None:
    text = tables.value_table([record()], "paper", ("overall",), FULL | {"x": "X"})
    assert text.splitlines()[3] == "| X | not run | — |"
