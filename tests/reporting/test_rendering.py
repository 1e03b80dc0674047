"""The words on a page's data."""

from pathlib import Path

import pytest

from replication.reporting.rendering import notice, relinked
from tests.reporting.made import DATA

PAPERS = "Places-LT with a ResNet-152"


@pytest.mark.parametrize(
    ("stand_in", "paper_data", "begins"),
    [
        (True, PAPERS, "> **Stand-in data.** Drawn glyphs in place of Mine:"),
        (False, None, "> **Mine**, the paper's own benchmark."),
        (False, PAPERS, f"> **Mine**, not the paper's {PAPERS}: a verdict here"),
    ],
)
def test_the_first_line_says_what_the_data_is(stand_in, paper_data, begins) -> None:
    data = DATA | {"stand_in": stand_in}
    assert notice(data, "Mine", paper_data).startswith(begins)


def test_a_link_leads_to_where_the_page_is_or_is_no_link() -> None:
    """From a page of a folder: beside it, else in the folders to look in."""
    pages = {Path("r/a.md"), Path("r/b.md"), Path("r/s/a.md")}
    text = "[x](a.md#y), [E[z]](b.md), [gone](c.md), ![i](f/i.svg), [w](../k/a.md)"
    assert relinked(text, Path("r/s/p.md"), pages, [Path("r")]) == (
        "[x](a.md#y), [E[z]](../b.md), gone, ![i](f/i.svg), [w](../k/a.md)"
    )
    assert relinked("[z](b.md)", Path("r/p.md"), pages, []) == "[z](b.md)"
    assert relinked("[x](a.md)", Path("k/m/p.md"), pages, [Path("r")]) == (
        "[x](../../r/a.md)"
    )


def test_no_line_ends_inside_a_number() -> None:
    held = relinked(
        "1.2 ± 0.3 points, 95 % of 3 to 4 [−1.2, +0.6]", Path("p.md"), [], []
    )
    assert held == "1.2\xa0±\xa00.3 points, 95\xa0% of 3\xa0to\xa04 [−1.2,\xa0+0.6]"
