"""Tables and words that Table 1 and Table 2 share."""

from replication.reporting.comparison import (
    diagnostics_table,
    difference_table,
    gain_in_words,
    value_table,
)
from replication.statistics.verdicts import UNDECIDED_AFTER
from tests.made import diagnostics
from tests.reporting.made import cell, claim, gap, measurement


def test_print_stands_beside_ours_and_a_method_that_chooses_has_two_rows() -> None:
    cells = []
    for protocol in ("validated", "as_released"):
        for method in ("same", "chooses"):
            where = {"method": method, "label": method, "protocol": protocol}
            seeds = (0.4, 0.4 if protocol == "validated" or method == "same" else 0.5)
            cells.append(cell(**where))
            few = {"metric": "few", "printed": None, "verdict": None}
            cells.append(cell(**where, **few, per_seed=seeds))
    numbers = "40.0 ± 2.0 | 42.1 | 40.0 ± 2.0 | partial |"
    assert value_table([*cells, gap()], ("overall", "few")).splitlines() == [
        "| Method | Overall | printed | Few | Verdict on the numbers |",
        "|:--|--:|--:|--:|--:|",
        f"| same | {numbers}",
        f"| chooses | {numbers}",
        f"| chooses, as released | {numbers}",
    ]


def test_a_difference_is_bold_where_decided_and_print_has_a_column() -> None:
    open_gap = gap(mean=0.02, low=-0.01, high=0.05, detectable=0.014)
    worse = gap(minus="no_bal", label="w/o L_bal", mean=-0.02, low=-0.03, high=-0.01,
                printed=0.012)  # fmt: skip
    table = difference_table(
        [cell(), open_gap, worse], "validated", ("overall",), "Minus"
    )
    assert table.splitlines()[2:] == [
        "| w/o L_MLE | +2.0 ± 3.0 | — | 1.4 |",
        "| w/o L_bal | **−2.0 ± 1.0** | +1.2 |  |",
    ]


def test_the_gain_is_said_in_overall_and_then_in_every_other_metric() -> None:
    cells = (
        cell(method="start", label="PaCo, no DLSA", mean=0.5),
        cell(),
        gap(minus="start", mean=-0.1, low=-0.12, high=-0.08, verdict="contradicted"),
    )
    verdicts = {
        "overall": "contradicted",
        "many": "contradicted",
        "medium": UNDECIDED_AFTER,
        "few": "not run",
    }
    claims = [
        claim(id=f"gain_{metric}", protocol="validated", verdict=verdict)
        for metric, verdict in verdicts.items()
    ]
    measured = measurement(cells=cells, claims=(*claims, claim(id="gain_nmi")))
    assert gain_in_words(measured, "start", "full", "validated") == (
        "Under protocol *validated* DLSA takes PaCo from 50.0 % to 40.0 % Overall, "
        "a loss (−10.0 ± 2.0 points); a loss in Many; undecided after correction in "
        "Medium; not measured in Few."
    )
    nothing = measurement(cells=())
    assert gain_in_words(nothing, "start", "full", "validated") == "DLSA was not run."


def test_a_filter_has_a_row_a_protocol_and_an_empty_group_no_number() -> None:
    table = diagnostics_table({"full": diagnostics(None)}, {"full": "Full model"})
    assert table.splitlines()[2:] == [
        f"| Full model | {words} | 1 | 3 | 4 | 4.0 | 1 | 9 | 50.0% | −20.0 | 30% | 20% "
        "| 30% | n/a | n/a |"
        for words in ("validated", "as released")
    ]
