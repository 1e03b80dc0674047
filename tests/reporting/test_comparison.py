"""Tables and words that Table 1 and Table 2 share."""

from replication.reporting.comparison import (
    diagnostics_table,
    gain_in_words,
    metrics_table,
    overall_table,
)
from replication.statistics.results import Cell
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.made import diagnostics
from tests.reporting.made import cell, claim, gap, measurement

PROTOCOLS = ("validated", "as_released")
LOST = {"mean": -0.1, "low": -0.12, "high": -0.08}


def under_both(**changes) -> list[Cell]:
    return [cell(protocol=protocol, **changes) for protocol in PROTOCOLS]


def test_overall_stands_beside_print_and_the_difference_beside_it() -> None:
    """What chooses nothing is the same under both; two verdicts where they differ."""
    full = [cell(), cell(protocol="as_released", mean=0.5, per_seed=(0.5, 0.5))]
    start = under_both(method="start", label="Head", printed=None)
    gaps = [
        gap(minus="start", label="Head", protocol=protocol, printed=0.012, **LOST)
        for protocol in PROTOCOLS
    ]
    claims = [
        claim(id="gain", protocol=protocol, verdict=verdict)
        for protocol, verdict in zip(PROTOCOLS, ("supported", "undecided"), strict=True)
    ]
    table = overall_table([*start, *full, *gaps], claims, {"start": "gain"})
    assert table.splitlines() == [
        "| Row | Overall, printed | Overall, validated | Overall, as released "
        "| Difference, printed | Difference, validated | Difference, as released "
        "| Verdict |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|",
        "| Head | — | 40.0 ± 2.0 | same | +1.2 | **−10.0 ± 2.0** | **−10.0 ± 2.0** "
        "| supported; undecided |",
        "| Full model | 42.1 | 40.0 ± 2.0 | 50.0 [38.0, 42.0] | — | — | — | — |",
    ]


def test_an_unbalanced_test_set_has_its_mean_over_classes_below() -> None:
    of = {"metric": "class_mean", "protocol": "validated"}
    cells = [*under_both(), cell(**of), gap(minus="head", **of, **LOST)]
    assert overall_table(cells, (), {}).endswith(
        "|\n\nThe test set is unbalanced: Overall is the mean over images. The mean "
        "over classes (*validated*) of Full model is 40.0 ± 2.0 %; minus w/o L_MLE "
        "−10.0 ± 2.0."
    )


def test_other_metrics_have_a_second_row_where_the_protocols_differ() -> None:
    cells = [
        *under_both(label="same", metric="few", printed=None),
        cell(label="chooses", metric="few", printed=0.3),
        cell(label="chooses", metric="few", protocol="as_released", per_seed=(0.1,)),
        cell(label="not asked for"),
    ]
    assert metrics_table(cells, ("few",), "Row").splitlines() == [
        "| Row | Protocol | Few | printed |",
        "|:--|:--|--:|--:|",
        "| same | both | 40.0 ± 2.0 | n/a |",
        "| chooses | validated | 40.0 ± 2.0 | 30.0 |",
        "| chooses | as released | 40.0 ± 2.0 | 42.1 |",
    ]


def test_the_gain_is_said_under_each_protocol() -> None:
    cells = [*under_both(method="start", mean=0.5), *under_both()]
    for minus in ("start", "plain"):
        cells += [gap(minus=minus, protocol=name, **LOST) for name in PROTOCOLS]
    claims = [
        claim(id="gain_overall", protocol=name, verdict=verdict, mean=-0.1)
        for name, verdict in zip(
            PROTOCOLS, ("contradicted", UNDECIDED_AFTER), strict=True
        )
    ]
    measured = measurement(cells=cells, claims=claims)
    assert gain_in_words(measured, "full", "start", "plain") == (
        "Where nothing is chosen on test images (*validated*), DLSA lowers Overall "
        "accuracy: 50.0 % becomes 40.0 %, −10.0 ± 2.0 points (contradicted); against a "
        "plain classifier of equal budget: −10.0 ± 2.0. With the authors' habits "
        "(*as released*), DLSA seems to lower Overall accuracy: 50.0 % becomes 40.0 %, "
        "−10.0 ± 2.0 points (undecided after correction); against a plain classifier "
        "of equal budget: −10.0 ± 2.0."
    )


def test_a_filter_has_a_row_a_protocol_and_an_empty_group_no_number() -> None:
    table = diagnostics_table({"full": diagnostics(None)}, {"full": "Full model"})
    assert table.splitlines()[2:] == [
        f"| Full model | {words} | 1 | 3 | 4.0 | 1 | 9 | 50.0 | −20.0 | 30 | n/a |"
        for words in ("validated", "as released")
    ]
