"""The page that answers: does DLSA help?"""

from dataclasses import replace

from replication.published.reader import read_published_tables
from replication.reporting.evidence import (
    RealRun,
    conclusion,
    evidence_page,
    evidence_table,
    finding,
)
from replication.reporting.headlines import ASKED
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


def test_the_finding_counts_runs_with_settings_made_for_the_data_alone() -> None:
    runs = [
        run("supported"),
        replace(run("undecided"), title="Plankton"),
        run("contradicted"),  # on data and a network that are counted already
        run("contradicted", "real data, verbatim"),
    ]
    text = finding(runs)
    head, plain, refitted = ASKED.values()
    assert text.startswith(
        "In 2 runs with settings made for their data (*scaled*), DLSA is "
        f"better than {head} in 1 of 2; it is better than {plain} in 1 of 2; "
    )
    assert "No run on real data" in finding(runs[3:])
    worse = [replace(claim, verdict="contradicted") for claim in runs[1].claims[:2]]
    text = finding([runs[0], replace(runs[1], claims=worse)])
    assert f"better than {head} in 1 of 2, worse than {head} in 1 of 2; " in text
    assert f"; it is better than {refitted} in 1 of 1." in text
    none = f"DLSA is not shown to be better or worse than {head}; it is "
    assert none in finding([replace(runs[1], title=title) for title in ("A", "B")])


def test_networks_are_one_sample_and_their_comparisons_are_judged_at_once() -> None:
    """-1, -2, -3 points: t(0.975, 2) = 4.3027, 4.3027 / sqrt(3) = 2.484; p = 0.074.

    -1.9, -2, -2.1: p = 0.0008. -1.0, -1.5, -2.0: 1.242; p = 0.035, with Holm 0.070.
    """
    found = {
        "start": (-0.01, -0.02, -0.03),
        "plain": (-0.019, -0.02, -0.021),
        "balanced_softmax": (-0.01, -0.015, -0.02),
    }
    networks = [
        replace(
            run("undecided"),
            title=str(number),
            cells=[gap(minus=m, mean=means[number]) for m, means in found.items()],
        )
        for number in range(3)
    ]
    head, plain, refitted = ASKED.values()
    assert finding(networks).endswith(
        " Together, each network one observation, that is "
        f"−2.0 ± 2.5 points against {head} (undecided), "
        f"−2.0 ± 0.2 points against {plain} (contradicted), "
        f"−1.5 ± 1.2 points against {refitted} (undecided after correction)."
    )
    row = (
        "| 3 networks together | validated | — | — | — | −2.0 ± 2.5 | **−2.0 ± 0.2** |"
    )
    assert row in evidence_table(networks)
    assert "together" not in evidence_table([*networks[:1], replace(networks[0])])


def test_of_runs_on_one_data_and_network_that_of_most_seeds_counts() -> None:
    three = replace(run("contradicted"), cells=[cell(per_seed=(0.4, 0.4, 0.4))])
    assert finding([run("supported"), three]) == finding([three])
    frozen = replace(three, features="a net, of timm, frozen, not trained on this data")
    assert frozen.name == "CIFAR, net, frozen"
    assert finding([run("supported"), frozen]).startswith("In 2 runs")


def test_a_run_whose_filter_separates_nothing_does_not_count() -> None:
    made = run("contradicted")

    def filtered(low: float) -> RealRun:
        train, test = (
            cell(metric="auroc", at=f"depth 1, {split}", mean=0.5, low=low, high=0.9)
            for split in ("train", "test")
        )
        return replace(made, filters=[train, test])

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
