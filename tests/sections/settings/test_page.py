"""The two pages of Sect. 5 as a reader sees them."""

from dataclasses import asdict, replace

import pytest

from replication.core.settings import BENCHMARKS, read_recipe
from replication.sections.settings import discrepancies, page
from replication.sections.settings.experiment import InUse, counts
from replication.statistics.results import Measurement

PLAIN = InUse(
    benchmark="places_lt",
    section="filter",
    name="lr",
    value=0.1,
    published=0.1,
    source="Sect. 5",
    origin="published",
    unused=None,
)
ETA = {"name": "eta", "source": "guess: none", "published": 0.7}
PLACES = [
    replace(PLAIN, value=0.3, origin="overridden"),
    replace(PLAIN, **ETA, value=0.7, origin="guess"),
    replace(PLAIN, section="fig2", unused="not listed in `separation`"),
]
INAT = [
    replace(some, benchmark="inat18")
    for some in (
        replace(PLAIN, value=0.3, published=0.2, origin="overridden"),
        replace(PLAIN, **ETA, value=0.5, origin="stand-in"),
        replace(PLAIN, section="fig2", value=0.0003),
    )
]


def measured(*entries: dict) -> Measurement:
    """What the stage writes, for two benchmarks."""
    return Measurement(
        "settings",
        None,
        cells=(*counts(PLACES), *counts(INAT)),
        details={
            "titles": {"places_lt": "Places", "inat18": "iNat"},
            "in_use": [asdict(some) for some in (*PLACES, *INAT)],
            "discrepancies": list(entries),
        },
    )


def entry(**changes: object) -> dict:
    """A discrepancy as the stage writes it, with changes."""
    plain = {
        "part": "silent",
        "topic": "A topic",
        "supplement": None,
        "released_code": {"says": "0.7", "place": "repo@0123456 config/*.yaml"},
        "we_run": {"both": "P(a|b)"},
        "effect": None,
    }
    return plain | changes


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "yes"), (1e-4, "0.0001"), ([0.5, 1.0], "0.5, 1")],
)
def test_values_as_a_reader_writes_them(value: object, text: str) -> None:
    assert page.in_words(value) == text


def test_marks_of_a_value() -> None:
    guess = {"source": "guess: ours"}
    for changes, text in (
        ({}, "0.1"),
        (guess | {"origin": "guess"}, "0.1 (guess)"),
        ({"value": 0.3, "origin": "overridden"}, "**0.3** (published 0.1)"),
        (guess | {"value": 0.3, "origin": "overridden"}, "**0.3** (guess 0.1)"),
        ({"value": 0.3, "origin": "stand-in"}, "*0.3* (published 0.1)"),
        ({"origin": "stand-in"}, "*0.1* (as published)"),
    ):
        assert page.value_in_use(replace(PLAIN, **changes)) == text


def test_the_finding_counts_what_is_in_use_by_origin() -> None:
    assert page.finding(measured()) == (
        "5 settings: 1 same as published, 1 guesses (no source says), 2 overridden, "
        "1 the stand-in's."
    )


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_section_of_a_recipe_has_a_title(benchmark) -> None:
    assert set(page._TITLES) >= set(list(read_recipe(benchmark))[2:])


def test_the_page_of_settings() -> None:
    text, figures = page.page(measured(), "", "figures")
    lines = text.splitlines()
    assert figures == {}
    assert lines[0].startswith("> **Every setting in use beside the published one**")
    assert "| Places | 2 | 0 | 1 | 1 | 0 | 0 | 1 |" in lines
    assert "| Setting | Places | iNat |" in lines
    assert (
        "| `lr` | **0.3** (published 0.1) <sup>a</sup> "
        "| **0.3** (published 0.2) <sup>a</sup> |"
    ) in lines
    assert (
        "| `eta` | 0.7 (guess) <sup>b</sup> | *0.5* (guess 0.7) <sup>b</sup> |" in lines
    )
    at = lines.index("<sup>a</sup> Sect. 5;")
    assert lines[at + 1] == "<sup>b</sup> guess: none."
    below = lines[lines.index("## Separation experiment (`fig2`)") :]
    assert below[2] == "| Setting | iNat |"
    assert "Not in use on Places: not listed in `separation`." in below


def test_the_page_of_discrepancies() -> None:
    protocols = {"paper": "One way", "released_code": "Another"}
    settings = [asdict(PLACES[0]), asdict(replace(INAT[0], unused="weights are given"))]
    effect = {"page": "table2", "says": "row w/o L_MLE"}
    results = measured(
        entry(),
        entry(part="protocol", we_run=protocols, effect=effect),
        entry(part="disagree", we_run={"settings": settings}),
        entry(part="disagree", we_run={"settings": []}),
    )
    lines = discrepancies.page(results, "", "figures")[0].splitlines()
    code = r"0.7<br>*repo@0123456 config/\*.yaml*"
    assert rf"| 1 | A topic | silent | {code} | P(a\|b) | not measured |" in lines
    assert (
        f"| 2 | A topic | silent | {code} | **paper**: One way<br>**released code**: "
        "Another | [table2](table2.md): row w/o L_MLE |"
    ) in lines
    assert (
        f"| 3 | A topic | silent | {code} | Places: `lr` **0.3** (published 0.1)<br>"
        "iNat: not in use | not measured |"
    ) in lines
    none = "none of its benchmarks is in this run"
    assert f"| 4 | A topic | silent | {code} | {none} | not measured |" in lines
    assert "part at 4 points; 1 of them" in discrepancies.finding(results)
    assert "## What else the released code does" not in lines
