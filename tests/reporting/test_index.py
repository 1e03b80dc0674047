"""reports/README.md: the scoreboard, and the way through the pages."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from replication.protocols import AS_RELEASED, VALIDATED, Protocol
from replication.published.reader import read_published_claims, read_published_tables
from replication.reporting.index import WAY, index_page, scoreboard
from replication.reporting.pages import HABITS, Page
from replication.stages.report import SECTIONS
from replication.statistics.results import Cell, Claim
from tests.reporting.made import REAL, cell, claim
from tests.reporting.test_pages import part

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
SENTENCES = read_published_claims()


def rows(claims: Sequence[Claim], cells: Sequence[Cell] = ()) -> list[list[str]]:
    """Cells of the scoreboard, less its header."""
    tables = read_published_tables()
    text = scoreboard(SENTENCES, claims, cells, tables, TITLES)
    body = [line for line in text.splitlines()[2:] if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in body]


def of(sentence: str | None, name: str, verdict: str, **changes: Any) -> Claim:
    plain = {"protocol": "validated", "statement": f"{name}."}
    return claim(sentence=sentence, id=name, verdict=verdict, **plain | changes)


def test_findings_stand_before_print_data_algebra_and_what_was_not_run() -> None:
    free = {"grade": "none needed", "protocol": None, "section": "estimator"}
    made = rows(
        [
            of("s2_eq1", "eq1", "supported", **free),
            of("s2_eq2", "eq2", "supported", **free),
            of("s4_dark", "dark", "undecided"),
            of("s6_mcc", "mcc", "contradicted", **free | {"section": "audit"}),
            of(None, "gain_overall", "undecided after correction"),
        ]
    )
    assert [row[0] for row in made[:4]] == [
        "DLSA is better than the head that it starts from",
        "MCC 71.1 is possible beside Overall 71.8 (points to spare)",
        "Fig. 3: errors fall at the right top and middle",
        "Eq. 1, Eq. 2",
    ]
    gain, mcc, _, algebra, larger_p, *silent = made
    assert gain[1:4] == ["+1.0", "+1.3 ± 1.1", "this run's"]
    assert mcc[3] == "none needed"
    assert mcc[4:] == ["**contradicted**", "[audit](audit.md)"]
    assert algebra[2] == "all hold"
    assert larger_p[2:5] == ["—", "—", "not run"]
    assert {row[4] for row in silent} == {"not run"}
    assert len(made) == len(SENTENCES) + 1 - 1  # one asked beyond, two in one row


def test_print_has_a_row_for_each_of_its_numbers() -> None:
    """42.1 less 40.8, 41.2 and 41.5: one test is no proxy for the others."""
    losses = ("drop_no_mle", "drop_no_bal", "drop_no_pure")
    made = rows([of("s7_losses", name, "undecided") for name in losses])
    assert [row[:2] for row in made[:3]] == [
        ["drop_no_mle", "+1.3"],
        ["drop_no_bal", "+0.9"],
        ["drop_no_pure", "+0.6"],
    ]
    real = {"data": "images", "benchmark": "places_lt"}
    shown = rows([], [cell(**real), cell(data="stand-in"), cell(**real, minus="start")])
    assert shown[0][:3] == ["Overall of Full model, %", "42.1", "40.0 ± 2.0"]
    assert len(shown) == len(SENTENCES) + 1


def test_the_best_data_at_hand_speaks_and_one_case_decides() -> None:
    paper = {"grade": "paper's data", "benchmark": "inat18"}
    claims = [
        of("s6_bold", "gain_few", "supported", **paper),
        of("s6_bold", "gain_many", "contradicted", **paper, mean=-0.1, low=-0.1),
        of("s6_bold", "gain_overall", "undecided", grade=REAL),
        of(None, "gain_overall", "supported", **paper),
    ]
    board = scoreboard(SENTENCES, claims, [], read_published_tables(), TITLES)
    assert board.endswith("|\n\n*This run's* data: iNaturalist 2018, paper's data.")
    bold = rows(claims)[1]
    assert bold[0] == "DLSA is best in every column of Table 1 (paired)"
    two = rows([*claims, of("s4_dark", "dark", "undecided")])
    assert {row[3] for row in two} == {
        *("iNaturalist 2018, paper's data", "Places-LT, scaled", "—")
    }
    assert bold[2].startswith("−10.0") and bold[4] == "**contradicted**"


def test_the_way_names_every_page_and_marks_what_must_be_known() -> None:
    """Not what an input merely has: four of 10,000 test samples move no number."""
    few = "4 of 10,000 test samples are training samples too"
    pages = [
        Page("claims.md", [part("Claims", notes=["Half is small."], doubts=[few])]),
        Page("audit.md", [part("Audit", doubts=["2 classes have changed places"])]),
        Page("stand_in/table1.md", [part("Glyphs")]),
        Page("ladder.md", []),
    ]
    text = index_page(pages, "DLSA helps.", ["MCC."], "| board |", "It moved.")
    order = ["It moved.", "DLSA helps.", "- MCC.", "| board |", "[Audit](audit.md) ⚠"]
    order += ["[Claims](claims.md)\n", "[Glyphs](stand_in/table1.md)", "⚠: read"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "⚠" not in index_page(pages[:1], "", [], "")
    many = part("Claims", doubts=["40 of 10,000 test samples are training samples too"])
    assert "⚠" in index_page([Page("claims.md", [many])], "", [], "")
    known = {name for names in WAY.values() for name in names}
    assert {section.name for section in SECTIONS} <= known
    assert "Does print hold" not in index_page([], "No run.", [], "")


def test_habits_of_the_released_code_are_counted_by_the_protocol() -> None:
    """One word on each field in which the protocols can differ, and all of them do."""
    habits = {field.name for field in fields(Protocol)} - {"key"}
    assert HABITS.keys() == habits
    assert all(getattr(VALIDATED, h) != getattr(AS_RELEASED, h) for h in habits)
    text = index_page([], "", [], "")
    assert f"{len(habits)} habits" in text
    assert all(words in text for words in HABITS.values())
