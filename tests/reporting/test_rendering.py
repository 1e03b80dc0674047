"""What every page shares: the words on its data, the warning at its top."""

import pytest

from replication.reporting.rendering import notice, warned
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


def test_warning_stands_below_the_lines_about_the_data() -> None:
    page = "> **Stand-in data.**\n> More.\n\n# Title\n\nText.\n"
    assert warned(page, ["One.", "Two."]).split("\n\n") == [
        "> **Stand-in data.**\n> More.",
        "> **Warning.** One. Two.",
        "# Title",
        "Text.\n",
    ]
    assert warned("# Title\n\nText.\n", ["One."]).startswith("> **Warning.** One.\n\n#")
    assert warned(page, []) == page
