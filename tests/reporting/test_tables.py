"""Records as a reader sees them."""

import math

import pytest

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


def test_the_side_of_an_end_near_zero_is_shown() -> None:
    gap = record(kind="difference", mean=-0.002, low=-0.0036, high=-0.0004)
    assert tables.with_interval(gap) == "−0.20 [−0.36, −0.04]"


@pytest.mark.parametrize(
    ("mean", "low", "high", "changes", "text"),
    [
        (0.985, 0.963, 1.007, {}, "98.5 [96.3, 100.0]"),
        (0.001, -0.003, 0.005, {}, "0.1 [0.0, 0.5]"),
        (0.001, -0.003, 0.005, {"metric": "mcc"}, "0.1 [−0.3, 0.5]"),
    ],
)
def test_no_interval_reaches_where_no_value_can(mean, low, high, changes, text) -> None:
    one = record(mean=mean, low=low, high=high) | changes
    assert tables.with_interval(one) == text


@pytest.mark.parametrize("end", [None, math.nan, math.inf])
def test_an_interval_without_end_is_not_shown(end: float | None) -> None:
    """One seed: JSON turns what is not finite into null."""
    assert tables.with_interval(record(low=end, high=end)) == "40.0"
    assert tables.in_unit(claim(low=end, high=end)) == "2.01 times as long"


def test_what_could_have_been_seen_is_in_points_without_a_sign() -> None:
    assert tables.could_see({"detectable": 0.0123}) == "could see 1.2"
    for nothing in ({}, {"detectable": None}, {"detectable": math.nan}):
        assert tables.could_see(nothing) == ""


@pytest.mark.parametrize(
    ("verdict", "holm", "text"),
    [
        ("supported", 0.049, "supported"),
        ("supported", 0.05, "supported †"),
        ("contradicted", 0.2, "contradicted †"),
        ("undecided", 0.9, "undecided"),
        ("supported", None, "supported"),
    ],
)
def test_a_verdict_that_does_not_stand_is_marked(
    verdict: str, holm: float | None, text: str
) -> None:
    assert tables.marked({"verdict": verdict, "holm": holm}) == text


def test_claims_table_marks_and_says_what_an_open_one_could_have_seen() -> None:
    """Only there: a difference that was found needs no such number."""
    seen = {"detectable": 0.034, "holm": 0.4}
    rows = tables.claims_table(
        [
            claim(verdict="undecided", mean=0.01, low=-0.02, high=0.04, **seen),
            claim(verdict="supported", mean=0.03, low=0.01, high=0.05, **seen),
        ],
        "",
    ).splitlines()
    assert rows[2].endswith(
        "| +1.0 [−2.0, +4.0] | undecided, could see 3.4 "
        "| +3.0 [+1.0, +5.0] | supported † |"
    )


def test_difference_table_says_what_could_have_been_seen() -> None:
    gap = record(kind="difference", verdict="undecided", detectable=0.021)
    row = tables.difference_table([gap], "paper", ("overall",)).splitlines()[2]
    assert "| +40.0 [+38.0, +42.0]<br>could see 2.1 |" in row


def test_a_bar_in_a_cell_is_escaped_and_only_once() -> None:
    """P(h|X) would be two cells; what is escaped already stays as it is."""
    text = tables.markdown_table(["P(h|X)", "b"], [["a|b||c", r"P(h\|x)"]])
    assert text.splitlines() == [
        r"| P(h\|X) | b |",
        "|:--|--:|",
        r"| a\|b\|\|c | P(h\|x) |",
    ]


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


# --- claims in a unit of their own


def claim(**changes: object) -> dict:
    """A claim that does not depend on the protocol, with changes."""
    plain = {
        "sentence": "It is slow.",
        "test": "ratio",
        "unit": "log ratio",
        "protocol": None,
        "mean": 0.7,
        "low": 0.4516,
        "high": 0.9484,
        "verdict": "supported",
    }
    return plain | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "2.01 [1.57, 2.58] times as long"),
        ({"unit": "AUROC", "mean": -0.1, "low": -0.25, "high": 0.05},
         "−0.1 [−0.25, 0.05] AUROC"),
        ({"low": None, "high": None}, "2.01 times as long"),
        ({"low": math.nan, "high": math.nan}, "2.01 times as long"),
        ({"mean": 1234.5, "low": 1e-7, "high": 2e4, "unit": ""},
         "1.23e+03 [1e−07, 2e+04]"),
        ({"unit": "points", "mean": 0.013, "low": -0.002, "high": 0.028},
         "+1.3 [−0.2, +2.8] points"),
        ({"mean": None}, "n/a"),
        ({"mean": math.nan, "low": math.nan, "high": math.nan}, "n/a"),
        ({"mean": math.nan, "unit": "points"}, "n/a"),
    ],
)  # fmt: skip
def test_a_claim_is_shown_in_its_unit(changes: dict, text: str) -> None:
    assert tables.in_unit(claim(**changes)) == text


def test_a_claim_without_a_unit_is_in_points() -> None:
    plain = claim(mean=0.013, low=-0.002, high=0.028)
    del plain["unit"]
    assert tables.in_unit(plain) == "+1.3 [−0.2, +2.8] points"


def test_claims_list_has_a_row_a_claim_and_says_where() -> None:
    other = claim(sentence="It is not.", mean=None, verdict="not run")
    lines = tables.claims_list([claim(), other], " (stand-in)").splitlines()
    assert lines[0] == "| Sentence | Test | Estimate [95 %] | Verdict (stand-in) |"
    assert lines[2:] == [
        "| It is slow. | ratio | 2.01 [1.57, 2.58] times as long | supported |",
        "| It is not. | ratio | n/a | not run |",
    ]


# --- timing


def timed(*seeds: tuple[float | None, float]) -> dict:
    return {
        str(seed): {"epoch_seconds": epoch, "seconds_per_1000": inference}
        for seed, (epoch, inference) in enumerate(seeds)
    }


LABELS = {"full": "Full model", "clusters_1000": "1000 clusters"}


def test_timing_is_the_mean_over_seeds_by_hand() -> None:
    """(1 + 2) / 2 seconds an epoch; (0.1 + 0.4) / 2 s = 250 ms for 1,000 samples."""
    text = tables.timing_table({"full": timed((1.0, 0.1), (2.0, 0.4))}, LABELS)
    assert text.splitlines()[2] == "| Full model | 1.5 | 250 |"


def test_a_filter_that_was_not_timed_has_no_number() -> None:
    """One seed of a single epoch is left out of the mean; without any: n/a."""
    some = {"full": timed((None, 0.1), (2.0, 0.4)), "clusters_1000": timed((None, 0.1))}
    rows = tables.timing_table(some, LABELS).splitlines()[2:]
    assert rows == ["| Full model | 2 | 250 |", "| 1000 clusters | n/a | 100 |"]


def test_timing_keeps_the_order_of_the_table() -> None:
    """JSON sorts by name; the rows follow the labels, as those of the table do."""
    seeds = timed((1.0, 0.1))
    some = {"clusters_1000": seeds, "full": seeds}
    rows = tables.timing_table(some, LABELS).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| Full model", "| 1000 clusters"]
