"""What is published is what is printed."""

import json
import re

import pytest

from replication.core.settings import PUBLISHED
from replication.published.reader import read_published_tables


def printed_table(text: str, number: int) -> dict[str, dict[str, float | None]]:
    """A table of the supplement: label without references -> metric -> percent."""
    lines = text.splitlines()
    caption = next(i for i, x in enumerate(lines) if x.startswith(f"Table {number}:"))
    rows = []
    for line in lines[caption + 1 :]:
        if rows and not line.startswith("|"):
            break
        if line.startswith("|") and not set(line) <= set("|-: "):
            rows.append([bare(cell) for cell in line.strip("|").split("|")])
    header = [name.lower() for name in rows[0][1:]]
    return {
        label: {
            metric: None if cell == "-" else float(cell)
            for metric, cell in zip(header, cells, strict=True)
        }
        for label, *cells in rows[1:]
    }


def bare(cell: str) -> str:
    """A cell without bold, references, TeX and blanks."""
    cell = re.sub(r"</?b>|\[\d+\]|\$|\s", "", cell)
    return re.sub(r"\\mathcal\{L\}_\{(\w+)\}", r"L_\1", cell)


@pytest.mark.parametrize("number", [1, 2])
def test_published_table_is_the_printed_one(shared, number) -> None:
    printed = printed_table((shared / "paper" / "supplement.md").read_text(), number)
    table = read_published_tables()[f"table{number}"]
    ours = {bare(row.label): dict(row.values) for row in table.rows.values()}
    assert ours == printed
    assert list(ours) == list(printed)
    assert all(tuple(row) == table.metrics for row in ours.values())


def test_published_class_counts_are_the_facts(shared) -> None:
    facts = json.loads((shared / "facts" / "class_count_histograms.json").read_text())
    ours = json.loads((PUBLISHED / "class_counts.json").read_text())
    for benchmark, entry in ours.items():
        assert entry["histogram"] == facts[benchmark]["histogram"]
