"""The two pages of Sect. 5 as a reader sees them."""

import pytest

from replication.core.settings import BENCHMARKS, read_recipe
from replication.sections.settings.discrepancies import PART_TITLES, discrepancies_page
from replication.sections.settings.page import (
    SECTION_TITLES,
    hyperparameters_page,
    shown,
    summarise,
    value_in_use,
)

RUN = {
    "stage": "ledger",
    "commit": "0123456789abcdef",
    "clean": True,
    "device": "cpu",
    "seconds": 1.2,
    "peak_memory_mb": 100,
    "libraries": {"torch": "2.11"},
}


def record(**changes: object) -> dict:
    """A setting as the stage writes it, with changes."""
    plain = {
        "section": "filter",
        "name": "lr",
        "value": 0.1,
        "published": 0.1,
        "source": "Sect. 5",
        "origin": "published",
        "unused": None,
    }
    return plain | changes


def measured(**changes: object) -> dict:
    """What the stage writes, for two benchmarks, with its run record."""
    eta = {"name": "eta", "source": "guess: none"}
    plain = {
        "order": ["places_lt", "inat18"],
        "titles": {"inat18": "iNat", "places_lt": "Places"},
        "benchmarks": {
            "places_lt": [
                record(value=0.3, origin="overridden"),
                record(**eta, value=0.7, published=0.7, origin="guess"),
                record(section="fig2", unused="not listed in `separation`"),
            ],
            "inat18": [
                record(value=0.3, published=0.2, origin="overridden"),
                record(**eta, value=0.5, published=0.7, origin="stand-in"),
                record(section="fig2", origin="published", value=0.0003),
            ],
        },
        "discrepancies": [],
        "runs": [RUN],
    }
    return plain | changes


def entry(**changes: object) -> dict:
    """An entry of the ledger as the stage writes it, with changes."""
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
    [
        (None, "none"),
        (True, "yes"),
        (1e-4, "0.0001"),
        (1024, "1024"),
        ([0.5, 1.0], "0.5, 1"),
        ("cosine", "cosine"),
    ],
)
def test_values_as_a_reader_writes_them(value: object, text: str) -> None:
    assert shown(value) == text


def test_marks_of_a_value() -> None:
    guess = {"source": "guess: ours"}
    assert value_in_use(record()) == "0.1"
    assert value_in_use(record(**guess, origin="guess")) == "0.1 (guess)"
    overridden = record(value=0.3, origin="overridden")
    assert value_in_use(overridden) == "**0.3** (published 0.1)"
    assert value_in_use(overridden | guess) == "**0.3** (guess 0.1)"
    assert value_in_use(record(value=0.3, origin="stand-in")) == "*0.3* (published 0.1)"
    assert value_in_use(record(origin="stand-in")) == "*0.1* (as published)"


def test_summary_counts_what_is_in_use_by_origin() -> None:
    records = [
        record(),
        record(origin="guess"),
        record(origin="overridden"),
        record(origin="stand-in"),
        record(origin="stand-in"),
        record(unused="weights are given"),
    ]
    assert summarise(records) == (
        "5 settings: 1 same as published, 1 guesses (no source says), 1 overridden, "
        "2 the stand-in's."
    )
    assert summarise([record(origin="input")]).endswith("1 set by the input.")


def test_section_titles_are_the_recipe_s_sections() -> None:
    for benchmark in BENCHMARKS:
        assert list(read_recipe(benchmark))[2:] == list(SECTION_TITLES)


def test_page_of_settings() -> None:
    text, figures = hyperparameters_page(measured())
    lines = text.splitlines()
    assert figures == {}
    assert lines[0].startswith("> **Every setting in use beside the published one**")
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
    assert text.endswith("</details>\n") and "`dvc repro ledger`" in text


def test_column_of_a_benchmark_that_does_not_use_a_section_is_a_sentence() -> None:
    lines = hyperparameters_page(measured())[0].splitlines()
    below = lines[lines.index("## Separation experiment (`fig2`)") :]
    assert below[2:5] == [
        "| Setting | iNat |",
        "|:--|--:|",
        "| `lr` | 0.0003 <sup>a</sup> |",
    ]
    assert "Not in use on Places: not listed in `separation`." in below
    assert below.count("| Setting | iNat |") == 1


def test_page_of_discrepancies() -> None:
    protocols = {"paper": "One way", "released_code": "Another"}
    settings = [{"benchmark": "places_lt", **record(value=0.3, origin="overridden")}]
    settings += [{"benchmark": "inat18", **record(unused="weights are given")}]
    effect = {"page": "table2", "says": "row w/o L_MLE"}
    given = [
        entry(),
        entry(part="protocol", we_run=protocols, effect=effect),
        entry(part="disagree", we_run={"settings": settings}),
        entry(part="disagree", we_run={"settings": []}),
    ]
    text, figures = discrepancies_page(measured(discrepancies=given))
    lines = text.splitlines()
    assert figures == {}
    assert lines[0].startswith("> **Where the supplement, the authors' released code")
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
    assert "4 points; 1 of them" in text
    assert f"## {PART_TITLES['code']}" not in lines
    assert text.endswith("</details>\n")
