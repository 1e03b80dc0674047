"""The half page to cite, from made results."""

from replication.reporting.summary import summary_finding, summary_page
from replication.statistics.selection import CHOICE
from tests.reporting.made import DATA, cell, claim, gap, measurement

CELLS = (
    *(
        cell(method=method, protocol=protocol, metric=metric)
        for method, protocol in (
            ("start", "validated"),
            ("full", "validated"),
            ("full", "as_released"),
        )
        for metric in ("overall", "many", "medium", "few")
    ),
    gap(minus="start", mean=-0.007, low=-0.017, high=0.003),
    gap(minus="balanced_softmax", mean=-0.03, low=-0.04, high=-0.02),
    gap(
        minus="start",
        protocol="as_released",
        mean=-0.02,
        low=-0.03,
        high=-0.01,
        verdict="contradicted",
    ),
    gap(metric=CHOICE, minus="last_epoch", mean=0.04, low=0.03, high=0.05),
)


def test_the_answer_has_both_protocols_and_what_each_rests_on() -> None:
    assert summary_finding(measurement(cells=CELLS)) == (
        "Under protocol *validated* DLSA neither clearly helps nor clearly hurts in "
        "Overall: −0.7 ± 1.0 points against the same features and head without it; "
        "−3.0 ± 1.0 points against a Balanced Softmax head refitted to the same "
        "features. "
        "Under protocol *as released* DLSA hurts in Overall: −2.0 ± 1.0 points "
        "against the same features and head without it."
    )


def test_the_page_counts_tests_of_sentences_without_test_data() -> None:
    claims = [
        claim(sentence="s7_losses", protocol="validated"),
        claim(sentence="s7_losses", verdict="contradicted"),
        claim(sentence="s7_losses", verdict="contradicted", protocol="as_released"),
        claim(),
    ]
    table2 = measurement(cells=CELLS, data=DATA | {"stand_in": True})
    text = summary_page(table2, claims, "CIFAR", "Places-LT with a ResNet-152")
    assert text.startswith("> **Stand-in data.**")
    assert "2 tests under protocol *validated* or none, 1 supported, 1 contra" in text
    assert "was worth +4.0 ± 1.0 points to the full model" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == [
        "| Percent",
        "| Full model",
        "| DLSA, validated",
        "| DLSA, as released",
    ]
