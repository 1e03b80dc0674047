"""The page of claims: the word for a sentence, its estimates, the whole page."""

import math
import re
from dataclasses import replace

import pytest

from replication.core.files import read_json, write_json
from replication.published.reader import Sentence as Claim
from replication.published.reader import read_published_claims
from replication.reporting.claims import (
    after_correction,
    claims_page,
    overall,
    shown,
)
from replication.statistics import claims as of_claims

CLAIM = Claim(section="Sect. 7", quote="A.", measured_by="table2", tests=("A",))
CLAIMS = read_published_claims()
TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}


def judged(verdict: str, **record: object) -> of_claims.Tested:
    return of_claims.Tested(
        "table2", "places_lt", False, {"verdict": verdict, **record}
    )


# --- one word for a sentence


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        ([], "not run"),
        (["not run"], "not run"),
        (["not run", "not run"], "not run"),
        (["supported"], "supported"),
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "supported in part"),
        (["supported", "not run"], "supported in part"),
        (["undecided"], "undecided"),
        (["undecided", "not run"], "undecided"),
        (["contradicted"], "contradicted"),
        (["contradicted", "contradicted"], "contradicted"),
        (["contradicted", "undecided"], "contradicted in part"),
        (["contradicted", "not run"], "contradicted in part"),
        (["contradicted", "supported"], "contradicted in part"),
        (["contradicted", "supported", "undecided"], "contradicted in part"),
    ],
)
def test_word_for_a_sentence(verdicts: list[str], word: str) -> None:
    """In whatever order its tests come."""
    some = [judged(verdict) for verdict in verdicts]
    assert overall(CLAIM, some) == overall(CLAIM, some[::-1]) == word


def test_word_is_that_of_the_paper_protocol() -> None:
    """What was chosen on test data does not count; what has no protocol does."""
    released = judged("contradicted", protocol="released_code")
    assert overall(CLAIM, [released]) == "not run"
    paper = judged("supported", protocol="paper")
    assert overall(CLAIM, [released, paper]) == "supported"
    both = judged("undecided", protocol=None)
    assert overall(CLAIM, [released, paper, both]) == "supported in part"


def standing(verdict: str, stands: bool | None, **record: object) -> of_claims.Tested:
    return replace(judged(verdict, **record), stands=stands)


@pytest.mark.parametrize(
    ("tests", "word"),
    [
        ([], "—"),
        ([("not run", None)], "—"),
        ([("undecided", None)], "—"),
        ([("supported", None)], "—"),  # an equation: no p-value
        ([("supported", True)], "stands"),
        ([("supported", False)], "undecided"),
        ([("contradicted", False)], "undecided"),
        ([("contradicted", True), ("contradicted", False)], "contradicted in part"),
        ([("supported", True), ("supported", False)], "supported in part"),
        ([("supported", True), ("undecided", None)], "stands"),
        ([("contradicted", True), ("supported", False)], "stands"),
        ([("contradicted", False), ("supported", None)], "supported in part"),
    ],
)
def test_what_is_left_of_a_word_after_correction(
    tests: list[tuple[str, bool | None]], word: str
) -> None:
    """A test that does not stand is undecided; one without p-value is as it was."""
    some = [standing(*one) for one in tests]
    assert after_correction(CLAIM, some) == word
    released = standing("contradicted", True, protocol="released_code")
    assert after_correction(CLAIM, [*some, released]) == word


# --- estimates


@pytest.mark.parametrize(
    ("record", "text"),
    [
        # Accuracies, and the share of all test images: points.
        ({}, "+1.2 [−0.3, +2.7] points"),
        ({"unit": "share"}, "+1.2 [−0.3, +2.7] points"),
        ({"kind": "difference"}, "+1.2 [−0.3, +2.7] points"),
        # Everything else in its own unit.
        ({"unit": "share per cell"},
         "120 [−30, 270] errors per 10,000 images and cell"),
        ({"unit": "AUROC"}, "0.012 [−0.003, 0.027] AUROC"),
        # 0.012 is the log of 1.0121.
        ({"unit": "log ratio"}, "1.01 [0.997, 1.03] times as long"),
        ({"unit": "log ratio", "low": None, "high": None}, "1.01 times as long"),
        ({"kind": "drawn"}, "0.012 [−0.003, 0.027] × the equation"),
        ({"kind": "trend"},
         "0.012 [−0.003, 0.027] Spearman ρ, and the range of chance"),
        ({"kind": "exact"}, "0.012 [−0.003, 0.027]"),
        # Without ends: one seed, or a formula.
        ({"kind": "exact", "low": None, "high": None}, "0.012"),
        ({"unit": "AUROC", "low": None, "high": None}, "0.012 AUROC"),
        ({"low": None, "high": None}, "+1.2 points"),
        # A point that is exact.
        ({"kind": "exact", "low": 0.012, "high": 0.012}, "0.012"),
        # Nothing measured.
        ({"mean": None, "low": None, "high": None}, "n/a"),
        ({"mean": None, "low": None, "high": None, "unit": "AUROC"}, "n/a"),
    ],
)  # fmt: skip
def test_estimate_in_its_unit(record: dict, text: str) -> None:
    assert shown({"mean": 0.012, "low": -0.003, "high": 0.027} | record) == text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"estimate": 2e-16, "low": -1e-15, "high": 1e-15}, "2e−16 [−1e−15, 1e−15]"),
        ({"estimate": 0.1, "low": 0.1, "high": 0.1}, "0.1"),
        ({"estimate": 0.1, "low": None, "high": None}, "0.1"),
        ({"estimate": None, "low": None, "high": None}, "n/a"),
    ],
)
def test_an_estimate_of_the_equations_has_no_unit(record: dict, text: str) -> None:
    assert shown(record) == text


# --- the page


def sentence_of(claim: Claim, number: int = 0) -> str:
    return f"{claim.tests[number]} and so on."


def measured(
    *some: tuple[str, str], benchmark: str = "places_lt", stand_in: bool = True
) -> dict:
    """What a stage wrote: (sentence, verdict) each."""
    return {
        "benchmark": benchmark,
        "data": {"stand_in": stand_in},
        "claims": [
            {
                "sentence": sentence,
                "test": "P(h|X), paired",
                "protocol": "paper",
                "mean": 0.012,
                "low": -0.003,
                "high": math.nan,
                "verdict": verdict,
            }
            for sentence, verdict in some
        ],
    }


def page_of(tmp_path, pages: dict) -> tuple[str, str]:
    """The page of what was written and read again, as the report does it."""
    write_json(tmp_path / "measured.json", pages)
    return claims_page(read_json(tmp_path / "measured.json"), TITLES)


def of_page(name: str) -> list[Claim]:
    return [claim for claim in CLAIMS if claim.measured_by == name]


def cells(row: str) -> int:
    """Bars that part a table's cells: those that are not escaped."""
    return len(re.findall(r"(?<!\\)\|", row))


def everything(stand_in: bool) -> dict:
    """A test of every sentence that has a page, all supported."""
    return {
        name: [
            measured(
                *((sentence_of(claim), "supported") for claim in of_page(name)),
                stand_in=stand_in,
            )
        ]
        for name in {claim.measured_by for claim in CLAIMS if claim.measured_by}
    }


@pytest.mark.parametrize("stand_in", [True, False])
def test_first_line_says_what_the_data_is(tmp_path, stand_in: bool) -> None:
    text, finding = page_of(tmp_path, everything(stand_in))
    line = text.splitlines()[0]
    assert line.startswith("> **Stand-in data**" if stand_in else "> Every sentence")
    assert ("stand-in" in text.lower()) == stand_in
    but = " (on the stand-in, but for what needs no data)."
    assert finding.endswith(but if stand_in else " supported.")
    assert ("| Places-LT (stand-in) |" in text) == stand_in
    assert text.count("\n# ") == 1


def test_what_needs_no_data_is_about_the_paper_on_a_stand_in_too(tmp_path) -> None:
    first, second = of_page("table2")[:2]
    page = measured(*((sentence_of(one), "supported") for one in (first, second)))
    page["claims"][0]["data_free"] = True
    page["claims"][1]["data_free"] = False
    text, _ = page_of(tmp_path, {"table2": [page]})
    assert text.count("| none needed |") == text.count("| Places-LT (stand-in) |") == 1


def test_finding_counts_each_sentence_once(tmp_path) -> None:
    first, second = of_page("table2")[:2]
    pages = {
        "table2": [
            measured(
                (sentence_of(first), "supported"),
                (sentence_of(first), "supported"),
                (sentence_of(second), "contradicted"),
            )
        ]
    }
    text, finding = page_of(tmp_path, pages)
    left = len(CLAIMS) - 2
    assert finding == (
        f"{len(CLAIMS)} sentences: 1 contradicted, {left} not run, 1 supported "
        "(on the stand-in, but for what needs no data)."
    )
    assert f"**“{first.quote}”** supported." in text
    assert f"**“{second.quote}”** contradicted." in text


def test_every_quote_stands_in_the_overview_and_below_its_section(tmp_path) -> None:
    text, _ = page_of(tmp_path, {})
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {name}" for name in dict.fromkeys(claim.section for claim in CLAIMS)
    ]
    for claim in CLAIMS:
        assert text.count(f"**“{claim.quote}”** not run.") == 1
        if claim.measured_by:
            assert f"[How it was tested]({claim.measured_by}.md)" in text
        else:
            assert f"Not tested: {claim.why_not}." in text
    assert text.count("\nNot run.\n") == sum(claim.measured_by is not None
                                            for claim in CLAIMS)  # fmt: skip


def test_no_bar_in_a_quote_or_test_breaks_a_table(tmp_path) -> None:
    """P(h|X) has one: every row of a table has as many cells as its header."""
    pages = everything(True)
    pages["table2"].append(measured(("Of P(h|X), beyond print.", "supported")))
    text, _ = page_of(tmp_path, pages)
    header = None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        header = header or cells(line)
        assert cells(line) == header, line


def test_what_belongs_to_no_sentence_stands_beyond(tmp_path) -> None:
    text, _ = page_of(tmp_path, everything(True))
    assert "Beyond" not in text
    ours = ("Never printed anywhere.", "contradicted")
    pages = everything(True)
    pages["table2"].append(measured(ours, benchmark="inat18", stand_in=False))
    text, finding = page_of(tmp_path, pages)
    below = text.split("## Beyond the printed sentences")[1]
    assert "| Never printed anywhere. |" in below
    assert "| iNaturalist 2018 | paper | +1.2 " in below
    assert "contradicted" not in finding


def test_variant_boundary_and_protocol_are_named(tmp_path) -> None:
    (claim,) = of_page("separation")
    page = measured((sentence_of(claim), "supported"), benchmark="inat18")
    page["claims"][0] |= {"variant": "linear", "boundary": "many", "protocol": None}
    text, _ = page_of(tmp_path, {"separation": [page]})
    assert (
        "paired (linear classifiers on PaCo's features; head = classes of more than "
        "100 images) | iNaturalist 2018 (stand-in) | — |" in text
    )


def test_the_page_says_which_verdicts_stand_among_all(tmp_path) -> None:
    """Of 0.001, 0.04 and 0.3: 3 * 0.001 is below 5 %, 2 * 0.04 is not."""
    first, second, third = of_page("table2")[:3]
    page = measured(*((sentence_of(one), "supported") for one in (first, second)))
    page["claims"][0]["p_value"], page["claims"][1]["p_value"] = 0.001, 0.04
    other = measured((sentence_of(third), "undecided"))
    other["claims"][0]["p_value"] = 0.3
    text, _ = page_of(tmp_path, {"table2": [page, other]})
    assert "1 of 2 verdicts stand among 3 tests that have a p-value." in text
    row = f"| {first.section} | {first.quote} | supported | stands |"
    assert row in text
    assert f"| {second.quote} | supported | undecided |" in text
    assert f"| {third.quote} | undecided | — |" in text
    assert "| supported | does not stand |" in text
