"""The audit's page says what the bounds say, and only that."""

import re
from dataclasses import asdict
from fractions import Fraction
from xml.etree import ElementTree

import pytest

from replication.published.reader import PublishedTable, Row
from replication.sections.audit.differences import differences
from replication.sections.audit.experiment import class_weights, table_bounds
from replication.sections.audit.page import finding, page
from replication.sections.audit.printed import STATED, Design, group_sizes
from replication.statistics.results import Measurement

FITS = {"overall": 60.0, "many": 80.0, "medium": 60.0, "few": 40.0}
DESIGN = Design("small", {200: 1, 50: 2, 5: 1}, 1000)


def measured(tmp_path, rows: dict[str, dict[str, float | None]]) -> Measurement:
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
    details = {
        "bounds": [asdict(some) for some in table_bounds("table9", table, DESIGN)],
        "differences": [asdict(some) for some in differences("table9", table, DESIGN)],
        "weights": [asdict(class_weights(DESIGN, Fraction(2), "A"))],
        "tables": {"table9": about},
    }
    Measurement("audit", None, details=details).write(tmp_path / "audit.json")
    return Measurement.read(tmp_path / "audit.json")


def text_of(results: Measurement) -> str:
    return page(results, "", "figures")[0]


def line(text: str, start: str) -> str:
    return next(some for some in text.splitlines() if some.startswith(start))


def test_the_finding_is_a_plain_sentence_a_row(tmp_path) -> None:
    """C = 4, a >= 0.6995: MCC is less than Overall by (1 - a) / 3 at most."""
    rows = {"a": FITS, "b": FITS | {"overall": 70.0, "many": 120.0, "mcc": 50.0}}
    rows["b"]["many"] = 80.0
    rows["b"] |= {"medium": 80.0}
    text = finding(measured(tmp_path, rows))
    assert text == (
        "One of the 2 printed rows cannot be. Table 9, Row b: on a balanced test set "
        "MCC cannot be more than 10.017 points below Overall; this row prints it 20.0 "
        "below."
    )


def test_tables_count_and_name_what_cannot_be(tmp_path) -> None:
    rows = {"a": FITS, "b": FITS | {"overall": 61.0}, "c": FITS | {"overall": 62.0}}
    text = text_of(measured(tmp_path, rows))
    assert line(text, "| Overall against") == (
        "| Overall against the shot groups | 3 | 1 | 2 |"
    )
    assert line(text, "| MCC") == "| MCC against Overall | 0 | 0 | 0 |"
    listed = text.split("Impossible, in full:")[1].split("How each")[0]
    assert listed.count("**Table 9, Row b**") == listed.count("**Table 9, Row c**") == 2
    assert "Row a" not in listed
    assert (
        "| Row b | Overall | 61.0 | shot groups | 59.950 to 60.050 | −0.900 | " in text
    )
    assert "the shot groups by their classes, 60.0; this row prints 61.0" in text


def test_where_nothing_is_impossible_the_page_says_so(tmp_path) -> None:
    text = text_of(measured(tmp_path, {"a": FITS}))
    assert "Nothing printed is impossible." in text
    assert "None of the 1 printed rows cannot be." in text


def test_differences_are_shown_with_limit_range_and_verdict(tmp_path) -> None:
    """n = 4000, d = 2 points: D <= 0.0004 * (1 + 4000 / 3.8416) = 41.7 of 2 to 82 %."""
    rows = {"a": FITS, "b": FITS | {"overall": 58.0}}
    text = text_of(measured(tmp_path, rows))
    assert line(text, "| Row b | Overall | +2.0") == (
        "| Row b | Overall | +2.0 | 2.16 | ≤ 41.7 | 2.0 to 82.0 "
        "| beyond only if paired closely |"
    )
    assert line(text, "| Row b | Many | +0.0").endswith(
        "| never | 0.0 to 40.0 | within, whatever the pairing |"
    )
    assert "Best row: Row a." in text


def test_arithmetic_of_every_stated_bound_is_on_the_page(tmp_path) -> None:
    results = measured(tmp_path, {"a": FITS | {"mcc": 45.0, "nmi": 50.0}, "b": FITS})
    text = text_of(results)
    for some in results.details["bounds"]:
        if some["reading"] == STATED.name:
            assert some["arithmetic"] in text
    assert text.count("<details>") == text.count("</details>")


@pytest.mark.parametrize(("overall", "panels"), [(60.0, 1), (61.0, 2)])
def test_the_figure_shows_overall_only_where_it_is_impossible(
    tmp_path, overall, panels
) -> None:
    rows = {"a": FITS | {"overall": overall, "mcc": 47.0}, "b": FITS | {"mcc": None}}
    results = measured(tmp_path, rows)
    text, figures = page(results, "", "figures")
    assert set(figures) == set(re.findall(r"\(figures/(\w+\.svg)\)", text))
    drawn = [
        element
        for element in ElementTree.fromstring(figures["bounds.svg"]).iter()
        if re.fullmatch(r"axes_\d+", element.get("id", ""))
    ]
    assert len(drawn) == panels
    assert figures == page(results, "", "figures")[1]
