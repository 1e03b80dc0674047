"""The page that answers: does DLSA help?"""

from dataclasses import replace

from replication.published.reader import read_published_tables
from replication.reporting.evidence import (
    conclusion,
    evidence_page,
    evidence_table,
    finding,
)
from replication.reporting.headlines import ASKED
from replication.reporting.networks import together_table
from replication.reporting.runs import RealRun
from tests.reporting.made import REAL, cell, claim, gap

TABLE1 = read_published_tables()["table1"]


def run(verdict: str, grade: str = REAL) -> RealRun:
    """A run whose three comparisons all came out the same way."""
    cells = [cell(method="start"), cell()]
    cells += [
        gap(minus=m, mean=0.01, low=0.0, high=0.02)
        for m in ("start", "plain", "balanced_softmax")
    ]
    tests = ("gain_overall", "cascade_helps", "over_refitted")
    claims = [
        claim(id=test, protocol="validated", verdict=verdict, grade=grade)
        for test in tests
    ]
    return RealRun("CIFAR", "a net, trained", grade, "table2.md", cells, claims)


def test_networks_are_one_sample_and_their_comparisons_are_judged_at_once() -> None:
    """-1, -2, -3 points: t(0.975, 2) = 4.3027, 4.3027 / sqrt(3) = 2.484; p = 0.074.

    -1.9, -2, -2.1: p = 0.0008. -1.0, -1.5, -2.0: 1.242; p = 0.035, with Holm 0.070.
    """
    found = {
        "start": (-0.01, -0.015, -0.02),
        "plain": (-0.019, -0.02, -0.021),
        "balanced_softmax": (-0.01, -0.02, -0.03),
    }
    networks = [
        replace(
            run("undecided"),
            title=str(number),
            cells=[cell(mean=0.4)]
            + [cell(method=m, mean=0.4 - means[number]) for m, means in found.items()],
        )
        for number in range(3)
    ]
    head, plain, refitted = ASKED.values()
    assert finding(networks) == (
        "Over 3 networks, each one observation, *scaled*, DLSA lies "
        f"−1.5 ± 1.2 points from {head} (undecided after correction; 3 of 3 lower), "
        f"−2.0 ± 0.2 from {plain} (worse; 3 of 3 lower)."
    )
    assert "| networks | 3 | 3 |" in together_table(networks)
    for row in (f"{plain} | **−2.0 ± 0.2** | — |", f"{refitted} | −2.0 ± 2.5 | —"):
        assert f"| minus {row}" in together_table(networks)
    one_had = [networks[0], replace(networks[1], cells=[cell(mean=0.4)]), networks[2]]
    assert f"| minus {plain} | **−2.0 ± 1.3** (of 2) |" in together_table(one_had)
    assert together_table([*networks[:1], replace(networks[0])]) == ""


def test_the_way_from_the_head_to_dlsa_over_networks() -> None:
    """Head 40, plain 41, from zero 41 and 40, DLSA 39; random split 39.5 %."""

    def network(number: int, from_zero: float) -> RealRun:
        rungs = {"plain": 0.41, "frequencies": from_zero}
        ladder = [cell(section="ladder", method=m, mean=v) for m, v in rungs.items()]
        ladder.append(gap(method="random", minus="drawn", mean=0.005))
        rows = [cell(method="start", mean=0.4), cell(mean=0.39)]
        made = replace(run("undecided"), title=f"{number}", cells=rows, ladder=ladder)
        return replace(made, backbone=number % 2)

    networks = [network(0, 0.41), network(1, 0.4)]
    table = together_table(networks)
    assert "| … of that, more training of the head | **+1.0** | — |" in table
    assert "weights that it adds starting at zero | −0.5 ± 6.4 | — |" in table
    assert "starting at random, as in the released code | −1.5 ± 6.4 | — |" in table
    assert "in the filters' place | **−0.5** | — |" in table
    assert finding(networks).endswith(
        " Of the difference from the plain classifier −1.5 ± 6.4 come from added "
        "weights that start at random, as in the released code; −0.5 ± 6.4 remain."
    )


def test_networks_of_one_data_set_and_architecture_can_be_one_observation() -> None:
    """-1 and -3 of one, then 0 of another: -1 ± 12.7 of two, as of -2 and 0."""
    networks = [
        replace(
            run("undecided"),
            title=title,
            backbone=seed,
            cells=[cell(mean=0.4), cell(method="plain", mean=plain)],
        )
        for title, seed, plain in (("A", 0, 0.41), ("A", 1, 0.43), ("B", 0, 0.4))
    ]
    row = "| … each data set and architecture one observation | −1.0 ± 12.7 | — |"
    assert row in together_table(networks)


def test_of_runs_on_one_data_and_network_that_of_most_seeds_counts() -> None:
    three = replace(run("contradicted"), cells=[cell(per_seed=(0.4, 0.4, 0.4))])
    assert finding([run("supported"), three]) == finding([three])
    frozen = replace(three, features="a net, of timm, frozen, not trained on this data")
    assert frozen.name == "CIFAR, net, frozen"
    assert finding([run("supported"), frozen]).startswith("Over 2 networks")


def test_a_run_whose_filter_separates_nothing_does_not_count() -> None:
    made = run("contradicted")

    def filtered(low: float) -> RealRun:
        train, test = (
            cell(metric="auroc", at=f"depth 1, {split}", mean=0.5, low=low, high=0.9)
            for split in ("train", "test")
        )
        return replace(made, ladder=[train, test])

    blind, sees = filtered(0.5), filtered(0.51)
    assert finding([sees]) == finding([made])
    assert finding([blind, replace(sees, title="Other")]).startswith("On Other, ")
    assert "Not counted: a run (CIFAR, net), whose first" in finding([blind, sees])
    assert "Not counted: 2 runs (CIFAR, net), whose" in finding([blind, blind])
    assert "| 0.50, 0.50 |" in evidence_table([sees])
    assert "It is no test of the method" in conclusion(blind)
    assert "It is no test of the method" not in conclusion(sees)


def test_settings_of_dlsa_that_are_not_the_recipes_are_named() -> None:
    changed = {"view.resize": 224, "filter.lr": 0.02, "lambda_pure": 0}
    assert replace(run("undecided"), changed=changed).settings == (
        "scaled, filter.lr 0.02, lambda_pure 0, 2 seeds"
    )


def test_a_single_run_is_said_without_counting() -> None:
    head, plain, refitted = ASKED.values()
    mixed = run("undecided after correction")
    last = replace(mixed.claims[-1], verdict="contradicted")
    mixed = replace(mixed, claims=[*mixed.claims[:-1], last])
    assert finding([mixed]) == (
        f"On CIFAR, DLSA is not shown to be better or worse than {head}; it is not "
        f"shown to be better or worse than {plain}; it is worse than {refitted}."
    )


def test_the_printed_gain_stands_beside_ours() -> None:
    """72.8 less 71.8."""
    text, figures = evidence_page([run("supported")], TABLE1, "figures/evidence")
    assert "prints (+1.0 points)" in text
    assert "![DLSA minus what it is compared with](figures/evidence/diff" in text
    assert "| [CIFAR, net](table2.md) | validated | — | 40.0 ± 2.0 |" in text
    assert "| scaled, 2 seeds | as released | — | not run |" in text
    assert "printed: iNat18" in figures["differences.svg"]
    text, figures = evidence_page([], TABLE1, "figures/evidence")
    assert figures == {} and "![" not in text


def test_rows_of_table_1_speak_where_there_is_no_table_2() -> None:
    made = run("supported")
    names = {"start": "paco", "plain": "paco_plain", "balanced_softmax": "paco_refit"}
    names |= {"full": "paco_dlsa", None: None}
    table1 = [
        replace(c, section="table1", method=names[c.method], minus=names[c.minus])
        for c in made.cells
    ]
    other = [replace(c, benchmark="inat18") for c in made.cells]
    about = {name: getattr(made, name) for name in ("title", "features", "grade")}
    for cells in (table1, [*table1, *other], [*table1, *made.cells]):
        found = RealRun.of("places_lt", cells, made.claims, link="table2.md", **about)
        assert evidence_table([found]) == evidence_table([made])
