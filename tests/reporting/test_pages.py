"""How pages are put together, and which there are."""

from importlib import import_module

import pytest

from replication.reporting.pages import (
    Kind,
    Page,
    benchmark_page,
    claims_overview,
    index_page,
    kinds,
)
from replication.settings import LISTS, read_published_claims, read_published_tables

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
KINDS = kinds(read_published_tables())


def measured(benchmark: str, stand_in: bool = True) -> dict:
    data = {"stand_in": stand_in, "input": "images", "hash": "0123abcd"}
    return {"benchmark": benchmark, "data": data, "claims": []}


def section(one: dict, title: str, folder: str) -> tuple[str, dict[str, str]]:
    return f"# {title}\n\n![a]({folder}/a.svg)\n", {"a.svg": f"<svg>{title}</svg>"}


KIND = Kind("made", "selection", "Made", section, lambda one: f"of {one['benchmark']}")


# --- which pages there are


def test_every_kind_has_a_stage_a_list_and_names_of_its_own() -> None:
    for names in zip(*((kind.name, kind.called) for kind in KINDS), strict=True):
        assert len(set(names)) == len(KINDS)
    for kind in KINDS:
        assert kind.listed in LISTS[1:]
        assert import_module(f"replication.stages.{kind.name}").main


def test_every_list_but_the_first_is_a_pages() -> None:
    assert {kind.listed for kind in KINDS} == set(LISTS[1:])


def test_every_page_of_a_claim_is_there() -> None:
    pages = {claim.measured_by for claim in read_published_claims()} - {None}
    assert pages <= {kind.name for kind in KINDS}


# --- a page of benchmarks


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_without_benchmarks_says_that_it_was_not_run(kind: Kind) -> None:
    page = benchmark_page(kind, [], {})
    words = f"Not run: params.yaml lists no benchmark under `{kind.listed}`."
    assert page.file == f"{kind.name}.md"
    assert page.text == f"# {kind.called}\n\n{words}\n"
    assert page.figures == {}
    (entry,) = page.entries
    assert entry == {
        "name": kind.called,
        "link": page.file,
        "data": "none",
        "finding": words,
    }


def test_each_benchmark_has_a_section_figures_and_an_entry_of_its_own() -> None:
    some = [measured("places_lt"), measured("inat18", stand_in=False)]
    page = benchmark_page(KIND, some, TITLES)
    first, second = page.text.split("\n---\n\n")
    assert first.startswith("# Places-LT") and second.startswith("# iNaturalist 2018")
    assert page.figures == {
        "figures/made-places_lt/a.svg": "<svg>Places-LT</svg>",
        "figures/made-inat18/a.svg": "<svg>iNaturalist 2018</svg>",
    }
    assert all(f"]({file})" in page.text for file in page.figures)
    assert page.entries == (
        {
            "name": "Made on Places-LT",
            "link": "made.md",
            "data": "stand-in",
            "finding": "of places_lt",
        },
        {
            "name": "Made on iNaturalist 2018",
            "link": "made.md",
            "data": "images `0123abcd`",
            "finding": "of inat18",
        },
    )


# --- the index


def made_page(name: str, *findings: str) -> Page:
    entries = tuple(
        {"name": name, "link": f"{name}.md", "data": "none", "finding": finding}
        for finding in findings
    )
    return Page(f"{name}.md", entries, "", {})


def items(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("- ")]


def test_index_has_an_item_an_entry_in_the_order_of_the_pages() -> None:
    text = index_page([made_page("b", "First.", "Second."), made_page("a", "Third.")])
    assert items(text) == [
        "- **[b](b.md)** (none). First.",
        "- **[b](b.md)** (none). Second.",
        "- **[a](a.md)** (none). Third.",
    ]


@pytest.mark.parametrize("ran", [True, False])
def test_claims_have_one_entry_with_their_finding(ran: bool) -> None:
    given = {"table2": [measured("places_lt")] if ran else []}
    page = claims_overview(given, TITLES)
    assert (page.file, page.figures) == ("claims.md", {})
    (item,) = items(index_page([page]))
    number = len(read_published_claims())
    assert item == (
        "- **[Claims](claims.md)** (all of the below). "
        f"{number} sentences: {number} not run."
    )
    assert page.text.count("# Claims\n") == 1
