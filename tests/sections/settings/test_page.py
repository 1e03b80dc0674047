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
PLACES = [
    replace(PLAIN, value=0.3, origin="overridden"),
    replace(PLAIN, name="num_clusters", source="guess: x", value=9, origin="guess"),
    replace(PLAIN, section="fig2", unused="not listed in `separation`"),
]
ON_INAT = replace(PLAIN, benchmark="inat18")
INAT = [
    replace(ON_INAT, value=0.3, published=0.2, origin="overridden"),
    replace(
        ON_INAT,
        name="num_clusters",
        value=47,
        published=500,
        origin="scaled",
        source="scaled: 500 x 10,847 / 115,846",
    ),
    replace(ON_INAT, section="fig2", value=0.0003),
]


def measured(*entries: dict) -> Measurement:
    """What the stage writes, for two benchmarks."""
    return Measurement(
        "settings",
        None,
        cells=(*counts(PLACES), *counts(INAT)),
        details={
            "titles": {"places_lt": "Places", "inat18": "iNat"},
            "recipes": {"places_lt": "published", "inat18": "scaled"},
            "sizes": {"inat18": {"samples": 10847, "dimensions": 64}},
            "in_use": [asdict(some) for some in (*PLACES, *INAT)],
            "discrepancies": list(entries),
        },
    )


def test_marks_of_a_value() -> None:
    guess = {"source": "guess: ours"}
    for changes, text in (
        ({}, "0.1"),
        (guess | {"origin": "guess"}, "0.1 (guess)"),
        ({"value": 0.3, "origin": "overridden"}, "**0.3** (published 0.1)"),
        (guess | {"value": 0.3, "origin": "overridden"}, "**0.3** (guess 0.1)"),
        ({"value": 0.3, "origin": "stand-in"}, "*0.3* (published 0.1)"),
        ({"origin": "stand-in"}, "*0.1* (as published)"),
        ({"value": 47, "published": 500, "origin": "scaled"}, "47 (scaled from 500)"),
    ):
        assert page.value_in_use(replace(PLAIN, **changes)) == text


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_section_of_a_recipe_has_a_title(benchmark) -> None:
    assert set(page._TITLES) >= set(list(read_recipe(benchmark))[3:])


def test_the_page_of_settings() -> None:
    text, _ = page.page(measured(), "", "figures")
    assert page.finding(measured()) == (
        "No source names a value for 1 of the 2 settings in use on Places, and for 0 "
        "of the 3 settings in use on iNat (1 more scaled to its size)."
    )
    assert (
        "The paper has no settings for iNat (10,847 training samples, 64 dimensions):"
        " here are ImageNet-LT's, at the size of its data (recipe `scaled`).\n"
    ) in text
    lines = text.splitlines()
    for line in (
        "| Places | 2 | 0 | 1 | 0 | 1 | 0 | 0 | 1 |",
        "| Setting | Places | iNat |",
        "| `lr` | **0.3** (published 0.1) <sup>1</sup> | **0.3** (published 0.2) "
        "<sup>1</sup> |",
        "<sup>1</sup> Sect. 5;",
        "<sup>2</sup> guess: x;",
        "| iNat | `filter.num_clusters` | 500 x 10,847 / 115,846 | samples a cluster "
        "| 500 | 47 |",
    ):
        assert line in lines
    summary = "<details><summary>Separation experiment (<code>fig2</code>)</summary>"
    below = lines[lines.index(summary) :]
    assert below[2] == "| Setting | iNat |"
    assert "Not in use on Places: not listed in `separation`." in below


def test_the_page_of_discrepancies() -> None:
    protocols = {"validated": "One way", "as_released": "Another"}
    settings = [asdict(PLACES[0]), asdict(replace(INAT[0], unused="weights are given"))]
    effect = {"page": "table2", "says": "row w/o L_MLE"}
    entry = {
        "part": "silent",
        "topic": "A topic",
        "supplement": "silent",
        "released_code": {"says": "0.7", "place": "repo@0123456 config/*.yaml"},
        "we_run": {"both": "P(a|b)"},
        "effect": "not measured",
    }
    results = measured(
        entry,
        entry | {"part": "protocol", "we_run": protocols, "effect": effect},
        entry | {"part": "disagree", "we_run": {"settings": settings}},
        entry | {"part": "disagree", "we_run": {"settings": []}},
        entry | {"lead": 2, "topic": "Second", "effect": effect},
        entry | {"lead": 1, "topic": "First"},
    )
    text = discrepancies.page(results, "", "figures")[0]
    assert discrepancies.finding(results) == (
        "The supplement, the released code and this suite differ at 6 points. 2 of "
        "them matter most; of 2 a page measures the effect."
    )
    above, folded = text.split("## All others")
    assert above.index("## First") < above.index("## Second")
    assert "- **Effect**: not measured." in above.split("## Second")[0]
    assert "- **Effect**: row w/o L_MLE ([table2](table2.md))." in above
    for line in (
        "Released code: 0.7 (`repo@0123456 config/*.yaml`).",
        "This suite: P(a|b).",
        "This suite: *validated*: One way. *As released*: Another.",
        "This suite: `lr` **0.3** (published 0.1) on Places; not in use on iNat.",
        "This suite: none of its benchmarks is in this run.",
    ):
        assert f"  - {line}" in folded.splitlines()
    assert "<summary>Others whose effect a page measures (1)</summary>" in folded
