"""How pages are put together, and which there are."""

import shutil
from importlib import import_module
from pathlib import Path

import pytest

from replication.core.files import read_json
from replication.core.settings import LISTS, load
from replication.core.stage import Stage
from replication.published.reader import read_published_claims, read_published_tables
from replication.reporting.pages import (
    Kind,
    Page,
    benchmark_page,
    claims_overview,
    index_page,
    kinds,
    suite_pages,
)
from replication.sections.audit import measure as audit
from replication.sections.settings import measure as ledger

ROOT = Path(__file__).resolve().parents[2]

TITLES = {"places_lt": "Places-LT", "inat18": "iNaturalist 2018"}
KINDS = kinds(read_published_tables())


def measured(benchmark: str, stand_in: bool = True) -> dict:
    data = {"stand_in": stand_in, "input": "images", "hash": "0123abcd"}
    runs = [run(f"prepare@{benchmark}"), run(f"dlsa@{benchmark}")]
    return {"benchmark": benchmark, "data": data, "claims": [], "runs": runs}


def run(stage: str, **changes: object) -> dict:
    """A run record, as far as a page reads it."""
    plain = {
        "stage": stage,
        "commit": "0123456789abcdef",
        "clean": True,
        "device": "a processor",
        "seconds": 3.0,
        "peak_memory_mb": 900,
        "libraries": {"torch": "2.11"},
    }
    return plain | changes


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


# --- warnings

MIXED = (
    "> **Warning.** 2 commits made these numbers: (1) prepare@places_lt; (2) "
    "dlsa@places_lt; some of the code, perhaps, changed between them. "
    "Uncommitted code ran in dlsa@places_lt. Stale: dlsa@places_lt: lambda_pure was "
    "null, params.yaml has 0.5. Run `dvc repro`."
)


@pytest.fixture
def mixed() -> dict:
    """A measurement whose runs disagree with one another and with the checkout."""
    one = measured("places_lt")
    one["runs"][1] |= {"commit": None, "clean": False}
    said = "dlsa@places_lt: lambda_pure was null, params.yaml has 0.5."
    return one | {"stale": [said]}


def test_a_page_of_runs_that_disagree_says_so_at_the_top_and_in_the_index(
    mixed,
) -> None:
    page = benchmark_page(KIND, [mixed, measured("inat18")], TITLES)
    first, second = page.text.split("\n---\n\n")
    assert first.startswith(MIXED + "\n\n# Places-LT")
    assert second.startswith("# iNaturalist 2018")
    assert [entry["finding"] for entry in page.entries] == [
        "of places_lt **See the warning at its top.**",
        "of inat18",
    ]


def test_the_claims_carry_the_warnings_of_every_page(mixed) -> None:
    page = claims_overview({"table1": [mixed], "table2": [mixed]}, TITLES)
    assert page.text.count(MIXED) == 1
    assert page.text.index(MIXED) < page.text.index("# Claims\n")
    (entry,) = page.entries
    assert entry["finding"].endswith(" **See the warning at its top.**")


def test_pages_without_data_carry_warnings_too(tmp_path, monkeypatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for stage in (audit, ledger):
        stage.main(Stage(stage.__name__.split(".")[-1], load()))
    audited, settled = (
        read_json(f"outputs/tables/{name}.json") | {"runs": [run(name)]}
        for name in ("audit", "ledger")
    )
    assert not any("Warning" in page.text for page in suite_pages(audited, settled))
    settled["runs"] = [run("ledger", clean=False)]
    pages = suite_pages(audited, settled)
    warning = "> **Warning.** Uncommitted code ran in ledger."
    assert [warning in page.text for page in pages] == [False, True, True]
    marked = [
        page.entries[0]["finding"].endswith("**See the warning at its top.**")
        for page in pages
    ]
    assert marked == [False, True, True]


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
