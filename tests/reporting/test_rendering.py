"""The words on a page's data."""

import pytest

from replication.reporting.rendering import notice
from tests.reporting.made import DATA

PAPERS = "Places-LT with a ResNet-152"


@pytest.mark.parametrize(
    ("stand_in", "paper_data", "begins"),
    [
        (True, PAPERS, "> **Stand-in data.** Made from drawn glyphs, not from Places"),
        (True, None, "> **Stand-in data.** Made from drawn glyphs, not from Mine:"),
        (False, None, "> **Mine**, the paper's own benchmark."),
        (False, PAPERS, f"> **Mine**, not the paper's {PAPERS}: a verdict here"),
    ],
)
def test_the_first_line_says_what_the_data_is(stand_in, paper_data, begins) -> None:
    data = DATA | {"stand_in": stand_in}
    assert notice(data, "Mine", paper_data).startswith(begins)
