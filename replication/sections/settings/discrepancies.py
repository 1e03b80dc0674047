"""The second page of Sect. 5: where supplement, released code and this suite part."""

from collections.abc import Mapping
from typing import Any

from replication.reporting.rendering import render
from replication.reporting.tables import markdown_table
from replication.sections.settings.experiment import InUse
from replication.sections.settings.page import value_in_use
from replication.statistics.results import Measurement

_PARTS = {
    "text": "The supplement's own text",
    "disagree": "Supplement and released code name two values",
    "silent": "The supplement does not say",
    "protocol": "Where the two protocols part",
    "code": "What else the released code does",
    "ours": "Where this suite goes its own way",
}
_HEADER = ["", "Point", "Supplement", "Released code", "This suite", "Effect"]


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Every point at which supplement, released code and this suite part."""
    titles = measured.details["titles"]
    parts: dict[str, list[list[str]]] = {part: [] for part in _PARTS}
    for number, entry in enumerate(measured.details["discrepancies"], start=1):
        parts[entry["part"]].append(_row(number, entry, titles))
    text = render(
        "sections/settings/discrepancies.md.j2",
        finding=finding(measured),
        parts={
            _PARTS[part]: markdown_table(_HEADER, rows, words=6)
            for part, rows in parts.items()
            if rows
        },
    )
    return text, {}


def finding(measured: Measurement) -> str:
    """How many points there are, and of how many the effect is measured."""
    entries = measured.details["discrepancies"]
    effects = sum(entry["effect"] is not None for entry in entries)
    return (
        f"Supplement, released code and this suite part at {len(entries)} points; "
        f"{effects} of them have an effect that a page of this suite measures."
    )


def _row(number: int, entry: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    return [
        str(number),
        entry["topic"],
        _stated(entry["supplement"]),
        _stated(entry["released_code"]),
        _we_run(entry["we_run"], titles),
        _effect(entry["effect"]),
    ]


def _stated(source: Mapping[str, str] | None) -> str:
    if source is None:
        return "silent"
    place = source["place"].replace("*", "\\*")
    return f"{source['says']}<br>*{place}*"


def _we_run(we_run: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Settings by benchmark as this run has them, or a sentence for each protocol."""
    if "both" in we_run:
        return we_run["both"]
    if "paper" in we_run:
        return (
            f"**paper**: {we_run['paper']}<br>"
            f"**released code**: {we_run['released_code']}"
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


def _effect(effect: Mapping[str, str] | None) -> str:
    if effect is None:
        return "not measured"
    return f"[{effect['page']}]({effect['page']}.md): {effect['says']}"
