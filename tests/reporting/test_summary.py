"""The half page to cite, from made results."""

from dataclasses import replace

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


def test_the_finding_is_the_headline_and_the_stand_in_has_none() -> None:
    claims = (claim(id="gain_overall", protocol="validated"),)
    table2 = measurement(cells=CELLS, claims=claims)
    assert summary_finding(table2, "CIFAR").startswith("**CIFAR** (real data, scaled;")
    drawn = replace(table2, data=DATA | {"stand_in": True})
    assert summary_finding(drawn, "CIFAR").startswith("Says nothing about the paper")


def test_the_page_counts_tests_of_sentences_without_test_data() -> None:
    claims = [
        claim(sentence="s7_losses", protocol="validated"),
        claim(sentence="s7_losses", verdict="contradicted"),
        claim(sentence="s7_losses", verdict="contradicted", protocol="as_released"),
        claim(),  # no sentence of the supplement
        claim(sentence="s2_eq1", grade="none needed"),
    ]
    table2 = measurement(cells=CELLS, data=DATA | {"stand_in": True})
    text = summary_page(table2, claims, "CIFAR", "Places-LT with a ResNet-152")
    assert text.startswith("> **Stand-in data.**")
    assert "Of 2 tests of them under protocol *validated* or none" in text
    assert "1 supported, 1 contradicted. Those that need no data" in text
    assert "stand apart: 1 supported ([claims]" in text
    assert "was worth +4.0 ± 1.0 points to the full model" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == [
        "| Percent",
        "| Full model",
        "| DLSA, validated",
        "| DLSA, as released",
    ]
