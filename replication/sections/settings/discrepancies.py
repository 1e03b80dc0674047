"""The second page of Sect. 5: where supplement, released code and this suite part."""

from collections.abc import Mapping
from typing import Any

from replication.reporting.rendering import render
from replication.reporting.tables import markdown_table
from replication.sections.settings.experiment import InUse
from replication.sections.settings.page import value_in_use
from replication.statistics.results import Measurement

_MEASURED = "Points whose effect is measured"
_PARTS = {
    "text": "The supplement's own text",
    "disagree": "Supplement and released code name two values",
    "silent": "The supplement does not say",
    "protocol": "Where the two protocols part",
    "code": "What else the released code does",
    "ours": "Where this suite goes its own way",
}
_HEADER = ["Point", "Supplement", "Released code", "This suite"]


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Every point at which supplement, released code and this suite part.

    First those whose effect a page measures, then the others, by kind.
    """
    titles = measured.details["titles"]
    rows: dict[str, list[list[str]]] = {_MEASURED: [], **{p: [] for p in _PARTS}}
    for entry in measured.details["discrepancies"]:
        row = [
            entry["topic"],
            _stated(entry["supplement"]),
            _stated(entry["released_code"]),
            _we_run(entry["we_run"], titles),
        ]
        if entry["effect"] == "not measured":
            rows[entry["part"]].append(row)
        else:
            name, says = entry["effect"]["page"], entry["effect"]["says"]
            rows[_MEASURED].append([*row, f"[{name}]({name}.md): {says}"])
    tables = {
        _PARTS.get(part, part): markdown_table(
            _HEADER + ["Effect"] * (part == _MEASURED), some, words=len(some[0])
        )
        for part, some in rows.items()
        if some
    }
    text = render(
        "sections/settings/discrepancies.md.j2",
        finding=finding(measured),
        tables=tables,
    )
    return text, {}


def finding(measured: Measurement) -> str:
    """How many points there are, and of how many the effect is measured."""
    entries = measured.details["discrepancies"]
    effects = sum(entry["effect"] != "not measured" for entry in entries)
    return (
        f"Supplement, released code and this suite part at {len(entries)} points; "
        f"{effects} of them have an effect that a page of this suite measures."
    )


def _stated(source: Mapping[str, str] | str) -> str:
    if source == "silent":
        return "silent"
    place = source["place"].replace("*", "\\*")
    return f"{source['says']}<br>*{place}*"


def _we_run(we_run: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Settings by benchmark as this run has them, or a sentence for each protocol."""
    if "both" in we_run:
        return we_run["both"]
    if "validated" in we_run:
        return (
            f"**validated**: {we_run['validated']}<br>"
            f"**as released**: {we_run['as_released']}"
        )
    by_benchmark: dict[str, list[str]] = {}
    for row in we_run["settings"]:
        some = InUse(**row)
        values = by_benchmark.setdefault(some.benchmark, [])
        if some.unused is None:
            values.append(f"`{some.name}` {value_in_use(some)}")
    lines = [
        f"{titles[name]}: {', '.join(values) or 'not in use'}"
        for name, values in by_benchmark.items()
    ]
    return "<br>".join(lines) or "none of its benchmarks is in this run"
