"""The half page to cite, from made records."""

import pytest

from replication.reporting.summary import summarise_summary, summary_section

RUN = {
    "stage": "dlsa@cifar100_lt",
    "commit": "0123456789abcdef",
    "clean": True,
    "device": "a processor",
    "data_hash": "da7a",
    "settings_hash": "5e77",
    "seconds": 3.0,
    "started": "2026-01-01T00:00:00+00:00",
    "peak_memory_mb": 900,
    "peak_gpu_memory_mb": None,
    "energy_joules": {"cpu": None, "gpu": None},
    "libraries": {"numpy": "2"},
}


def value(method: str, protocol: str, mean: float) -> list[dict]:
    return [
        {
            "kind": "value",
            "method": method,
            "protocol": protocol,
            "metric": metric,
            "mean": mean,
            "low": mean - 0.01,
            "high": mean + 0.01,
        }
        for metric in ("overall", "many", "medium", "few")
    ]


def gap(method: str, protocol: str, mean: float, verdict: str) -> dict:
    return value(method, protocol, mean)[0] | {"kind": "difference", "verdict": verdict}


def claim(sentence: str, verdict: str, mean: float, **more: object) -> dict:
    plain = {"sentence": sentence, "test": "a - b", "verdict": verdict, "mean": mean}
    return plain | {"low": mean - 0.001, "high": mean + 0.001} | more


def measured(*claims: dict, stand_in: bool = False) -> dict:
    """What the stage `table2` wrote, as far as the summary reads it."""
    classifier = {"samples": {"test": 50}, "looks": {"5": 0.36, "10": 0.32}}
    data = {
        "benchmark": "cifar100_lt",
        "stand_in": stand_in,
        "hash": "da7a",
        "classes": 100,
        "shot_groups": {"many": 35, "medium": 35, "few": 30},
        "images": {"train": 10847, "val": 1980, "test": 10000},
        "largest": 500,
        "smallest": 5,
    }
    table2 = {
        "data": data,
        "features": "a network",
        "records": [
            *value("start", "paper", 0.304),
            *value("full", "paper", 0.297),
            *value("full", "released_code", 0.284),
            gap("start", "paper", -0.007, "undecided"),
            gap("start", "released_code", -0.02, "contradicted"),
        ],
        "claims": list(claims),
        "diagnostics": {
            "full": {
                seed: {"classifiers": {"released_code": [classifier]}}
                for seed in ("0", "1")
            }
        },
        "runs": [RUN],
    }
    return {"table2": table2}


def test_both_answers_come_with_the_difference_they_rest_on() -> None:
    text = summary_section(measured(), "CIFAR-100-LT")
    assert "# Does DLSA help on CIFAR-100-LT?\n" in text
    assert (
        "**Paper protocol.** DLSA neither clearly helps nor clearly harms: "
        "−0.7 [−1.7, +0.3] points Overall"
    ) in text
    assert "**Released-code protocol.** DLSA does harm: −2.0 [−3.0, −1.0]" in text
    assert "was worth +4.0 [+4.0, +4.0] points" in text
    assert "| DLSA, paper protocol | 29.7 [28.7, 30.7] |" in text
    assert "BalSoftmax refitted" not in text  # not among the records: no row made up


def test_helping_is_said_only_where_the_interval_is_above_zero() -> None:
    one = measured()
    one["table2"]["records"][-2] |= {"verdict": "supported", "mean": 0.02}
    assert "Under the paper protocol DLSA helps: +2.0 [" in summarise_summary(one)


def test_sentences_are_those_of_the_paper_protocol_or_of_none_each_once() -> None:
    claims = (
        claim("Carried.", "supported", 0.01, protocol="paper"),
        claim("Carried.", "contradicted", -0.01, protocol="released_code"),
        claim("Failed.", "contradicted", 0.02),
        claim("Open.", "undecided", 0.0, protocol=None),
    )
    text = summary_section(measured(*claims), "CIFAR-100-LT")
    assert "Of 3 tests" in text
    assert "1 supported, 1 contradicted, 1 undecided" in text
    assert "- Carried. *(a - b: +1.0 [+0.9, +1.1] points)*" in text
    assert "- Failed. *(a - b: +2.0 [+1.9, +2.1] points)*" in text
    assert "Open." not in text


def test_what_the_clock_alone_can_answer_is_counted_apart() -> None:
    """It may come out otherwise in an identical run: not a word of it stands here."""
    slow = claim("Slower.", "supported", 0.7, protocol=None, timed=True)
    text = summary_section(measured(claim("Open.", "undecided", 0.0), slow), "CIFAR")
    assert "Of 1 tests" in text and "and so do 1 that only the clock" in text
    assert "Slower." not in text


def test_tests_that_share_a_sentence_each_count_and_are_told_apart() -> None:
    """Fig. 2's curves: one sentence, one comparison, several boundaries."""
    curves = [
        claim("Larger.", verdict, 0.01 * number, boundary=name, variant="linear")
        for number, (name, verdict) in enumerate(
            [("many", "supported"), ("a", "supported"), ("b", "not run")], start=1
        )
    ]
    text = summary_section(measured(*curves), "CIFAR-100-LT")
    assert "Of 3 tests" in text
    assert "2 supported, 0 contradicted, 0 undecided, 1 not run" in text
    linear = "linear classifiers on PaCo's features"
    many = f"({linear}; head = classes of more than 100 images)"
    assert f"- Larger. *(a - b {many}: +1.0 [+0.9, +1.1] points)*" in text
    assert f"- Larger. *(a - b ({linear}; head = a): +2.0 [+1.9, +2.1] points)*" in text


def test_an_estimate_that_is_no_accuracy_stands_in_its_own_unit() -> None:
    """The estimator's claims have an `estimate` and no `mean`."""
    plain = {"sentence": "Unbiased.", "test": "a", "verdict": "supported"}
    exact = plain | {"estimate": 2.0, "low": 1.0, "high": 3.0}
    assert "*(a: 2 [1, 3])*" in summary_section(measured(exact), "CIFAR-100-LT")


def test_what_needs_no_data_stands_apart() -> None:
    free = claim("Of the formula.", "contradicted", -0.01) | {"data_free": True}
    bound = claim("Of the data.", "contradicted", -0.01)
    text = summary_section(measured(free, bound, stand_in=True), "CIFAR")
    assert "Contradicted whatever the data:\n\n- Of the formula." in text
    assert "Contradicted on the stand-in:\n\n- Of the data." in text
    assert "†" not in text


def test_what_does_not_stand_among_all_is_marked() -> None:
    """Of 0.001 and 0.04 with a third of 0.3: 2 * 0.04 is not below 5 %."""
    claims = [
        claim(f"{name}.", "supported", 0.01) | {"p_value": value}
        for name, value in (("Sure", 0.001), ("Not so", 0.04))
    ]
    other = claim("Open.", "undecided", 0.01) | {"p_value": 0.3}
    text = summary_section(measured(*claims, other), "CIFAR")
    assert "- Sure. *(a - b: +1.0 [+0.9, +1.1] points)*\n" in text
    assert "- Not so. *(a - b: +1.0 [+0.9, +1.1] points)* †\n" in text
    assert "\n† does not stand where all tests are judged at once" in text


@pytest.mark.parametrize("stand_in", [True, False])
def test_a_stand_in_is_named_first_and_behind_every_verdict(stand_in: bool) -> None:
    text = summary_section(
        measured(claim("Carried.", "supported", 0.01), stand_in=stand_in), "CIFAR"
    )
    assert text.startswith("> **Stand-in data.**") == stand_in
    assert ("Carried over on the stand-in:" in text) == stand_in
    assert ("Carried over on this data:" in text) != stand_in
    assert ("undecided on the stand-in" in text) == stand_in
