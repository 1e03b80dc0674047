"""The audit's page says what the findings say, and only that."""

import re
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree

import pytest

from replication.core.files import read_json, write_json
from replication.core.settings import Row
from replication.published.reader import PublishedTable
from replication.sections.audit.experiment import (
    STATED,
    Design,
    audit_table,
    group_sizes,
    weight_finding,
)
from replication.sections.audit.page import FIGURES, audit_page, bounds_figure

FITS = {"overall": 60.0, "many": 80.0, "medium": 60.0, "few": 40.0}
DESIGN = Design("small", {200: 1, 50: 2, 5: 1}, 1000)


def measured(tmp_path, rows: dict[str, dict[str, float | None]]) -> dict[str, Any]:
    """What the stage writes, of a table of our own, as the page reads it."""
    metrics = tuple(next(iter(rows.values())))
    named = {key: Row(f"Row {key}", {}, values) for key, values in rows.items()}
    table = PublishedTable("A title", "Sect. 0", "small", metrics, named)
    about = {
        "title": table.title,
        "section": table.section,
        "benchmark": "A benchmark",
        "classes": DESIGN.classes,
        "groups": group_sizes(DESIGN.histogram, STATED),
        "test_per_class": DESIGN.test_per_class,
    }
    write_json(
        tmp_path / "audit.json",
        {
            "findings": audit_table("table9", table, DESIGN),
            "weights": [{"title": "A"} | weight_finding(DESIGN, Fraction(2))],
            "tables": {"table9": about},
        },
    )
    return read_json(tmp_path / "audit.json")


def line(text: str, start: str) -> str:
    return next(one for one in text.splitlines() if one.startswith(start))


def test_first_line_says_what_the_page_uses(tmp_path) -> None:
    text, figures = audit_page(measured(tmp_path, {"a": FITS}))
    assert text.splitlines()[0] == (
        "> This page uses only what is printed and the published class counts: no "
        "image, no model and no run is behind it."
    )
    assert set(figures) == set(re.findall(rf"\({FIGURES}/(\w+\.svg)\)", text))


def test_the_summary_counts_the_verdicts(tmp_path) -> None:
    rows = {"a": FITS, "b": FITS | {"overall": 61.0}, "c": FITS | {"overall": 62.0}}
    text, _ = audit_page(measured(tmp_path, rows))
    assert line(text, "| Overall against") == (
        "| Overall against the shot groups | 3 | 1 | 2 |"
    )
    assert line(text, "| MCC") == "| MCC against Overall | 0 | 0 | 0 |"
    listed = text.split("Impossible, in full:")[1].split("![")[0]
    assert listed.count("**Table 9: Row b**") == listed.count("**Table 9: Row c**") == 2
    assert "Row a" not in listed
    assert (
        "| Row b | Overall | 61.0 | shot groups | 59.950 to 60.050 | −0.900 | " in text
    )


def test_where_nothing_is_impossible_the_page_says_so(tmp_path) -> None:
    text, _ = audit_page(measured(tmp_path, {"a": FITS}))
    assert "Nothing printed is impossible." in text
    assert "impossible**" not in text


def test_differences_are_shown_with_limit_range_and_verdict(tmp_path) -> None:
    """n = 4000, d = 2 points: D <= 0.0004 * (1 + 4000 / 3.8416) = 41.7 of 2 to 82 %."""
    rows = {"a": FITS, "b": FITS | {"overall": 58.0}}
    text, _ = audit_page(measured(tmp_path, rows))
    row = line(text, "| Row b | +2.0")
    assert row.split(" | ")[1] == (
        "+2.0 (± 2.16)<br>D ≤ 41.7 of 2.0 to 82.0<br>*beyond only if paired closely*"
    )
    assert row.split(" | ")[2].endswith(
        "no D of 0.0 to 40.0<br>*within, whatever the pairing*"
    )
    assert "Best row: Row a." in text


def test_arithmetic_of_every_stated_finding_is_on_the_page(tmp_path) -> None:
    found = measured(tmp_path, {"a": FITS | {"mcc": 45.0, "nmi": 50.0}, "b": FITS})
    text, _ = audit_page(found)
    for one in found["findings"]:
        if one["reading"] == STATED.name:
            assert one["arithmetic"] in text
    assert text.count("<details>") == text.count("</details>")


def test_origin_is_shown_once_the_run_is_known(tmp_path) -> None:
    found = measured(tmp_path, {"a": FITS})
    run = {
        "stage": "audit",
        "commit": "0123456789abcdef",
        "clean": True,
        "device": "a processor",
        "seconds": 1.0,
        "peak_memory_mb": 100,
        "libraries": {"numpy": "2.0"},
    }
    assert "dvc repro audit" in audit_page(found | {"runs": [run]})[0]
    assert "dvc repro audit" not in audit_page(found)[0]


@pytest.mark.parametrize("mcc", [None, 45.0])
def test_figure_is_drawn_with_and_without_mcc(tmp_path, mcc) -> None:
    found = measured(tmp_path, {"a": FITS | {"mcc": mcc}, "b": FITS | {"mcc": None}})
    findings = [one for one in found["findings"] if one["reading"] == STATED.name]
    text = bounds_figure(findings)
    panels = [
        element
        for element in ElementTree.fromstring(text).iter()
        if re.fullmatch(r"axes_\d+", element.get("id", ""))
    ]
    assert len(panels) == (1 if mcc is None else 2)
    assert text == bounds_figure(findings)
