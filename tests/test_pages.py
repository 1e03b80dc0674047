"""Rules that keep the committed pages, reports/ and kept/, readable."""

import re
import subprocess
from functools import cache
from pathlib import PurePosixPath

import pytest

from tests.made import ROOT

WORDS = 700  # of a page, outside folded blocks and tables
FINDING = 140  # of the paragraph below its title
CELL = 60  # characters of a cell that begins with a number
_FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
_CODE = re.compile(r"```.*?```|`[^`]*`|<code>.*?</code>", re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
# Words that a reader stumbles over, and where they are said better.
PUZZLES = ("whence", "held against", "does harm", "whatever it is")


@cache
def committed() -> dict[str, str]:
    """Files of the last commit -> text of pages, empty for others."""
    listed = _git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
    pages = [name for name in listed if re.match(r"(reports|kept)/.*\.md$", name)]
    return dict.fromkeys(listed, "") | {
        name: _git("show", f"HEAD:{name}") for name in pages
    }


def _git(*words: str) -> str:
    asked = ["git", *words]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def pages() -> list[tuple[str, str]]:
    return [(name, text) for name, text in committed().items() if text]


every_page = pytest.mark.parametrize(
    ("name", "text"), pages(), ids=[name for name, _ in pages()]
)


def cells(text: str) -> list[str]:
    """Of every table but its rule."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [cell for row in rows for cell in re.split(r" (?<!\\)\| ", row.strip("| "))]


def shown(text: str) -> str:
    """What a reader sees of a cell or line: a link's words, without marks."""
    return re.sub(r"\]\([^)]*\)|[*\[]", "", text)


def prose(text: str) -> str:
    """Outside folded blocks, tables and figures."""
    lines = _FOLDED.sub("", text).splitlines()
    return "\n".join(x for x in lines if not x.startswith(("|", "![")))


@every_page
def test_a_page_is_read_in_minutes_and_its_finding_in_seconds(
    name: str, text: str
) -> None:
    assert len(shown(prose(text)).split()) <= WORDS
    finding = re.search(r"^# .*\n\n([^>!|][^\n]*)$", text, re.MULTILINE)
    assert finding and len(shown(finding[1]).split()) <= FINDING


@every_page
def test_a_cell_is_a_line(name: str, text: str) -> None:
    long = [
        cell
        for cell in map(shown, cells(_FOLDED.sub("", text)))
        if "<br>" in cell or (re.match(r"[+−\d]", cell) and len(cell) > CELL)
    ]
    assert long == []


@every_page
def test_links_and_images_lead_somewhere(name: str, text: str) -> None:
    folder = PurePosixPath(name).parent
    missing = []
    for link in _LINK.findall(_CODE.sub("", text)):
        path = link.split("#")[0]
        if path and not path.startswith("http"):
            there = _plain(folder / path)
            if there not in committed() and not any(
                file.startswith(f"{there}/") for file in committed()
            ):
                missing.append(link)
    assert missing == []


def _plain(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


@every_page
def test_paths_render_as_they_are_written(name: str, text: str) -> None:
    """What Markdown would take for emphasis stands in a code span or a link.

    An underscore inside a word is none.
    """
    words = _LINK.sub("", _CODE.sub("", text)).split()
    paths = [word for word in words if re.search(r"\w/[\w*]", word)]
    marks = r"\w\*\w|/\*|\*/|/_|_/"
    assert [path for path in paths if re.search(marks, path)] == []


@every_page
def test_no_page_is_a_stub_or_a_riddle(name: str, text: str) -> None:
    assert "\n| " in text or "![" in text or "\n- " in text
    assert [word for word in PUZZLES if word in text.lower()] == []


def test_the_index_is_one_table_and_a_few_words() -> None:
    text = committed().get("reports/README.md") or pytest.skip("no committed pages")
    board = text.split("## Scoreboard")[1].split("## ")[0]
    assert len([line for line in board.splitlines() if line.startswith("|")]) <= 2 + 30
    assert len(shown(prose(text)).split()) <= 600
    words = text.split("## Words")[1].split("## ")[0]
    assert 1 <= len(re.findall(r"^- ", words, re.MULTILINE)) <= 12
