"""The second page of Sect. 5: where supplement, released code and this suite part."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.reporting.rendering import render
from replication.reporting.tables import markdown_table
from replication.sections.settings.experiment import InUse
from replication.sections.settings.page import value_in_use
from replication.statistics.results import Measurement

_LEAD = "The five that matter most"
_MEASURED = "Others whose effect is measured"
_PARTS = {
    "text": "The supplement's own text",
    "disagree": "Supplement and released code name two values",
    "silent": "The supplement does not say",
    "protocol": "Where the two protocols part",
    "code": "What else the released code does",
    "ours": "Where this suite goes its own way",
}
_NO_EFFECT = "not measured"
_HEADER = ["Point", "Supplement", "Released code", "This suite"]


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Every point at which supplement, released code and this suite part.

    First the five that matter, then those whose effect a page measures, then the
    others, by kind.
    """
    titles = measured.details["titles"]
    entries = measured.details["discrepancies"]
    lead = [entry for entry in entries if "lead" in entry]
    rest = [entry for entry in entries if "lead" not in entry]
    parts = {
        _LEAD: sorted(lead, key=lambda entry: entry["lead"]),
        _MEASURED: [entry for entry in rest if entry["effect"] != _NO_EFFECT],
    }
    for part, name in _PARTS.items():
        parts[name] = [
            entry
            for entry in rest
            if entry["effect"] == _NO_EFFECT and entry["part"] == part
        ]
    tables = {name: _table(some, titles) for name, some in parts.items() if some}
    text = render(
        "sections/settings/discrepancies.md.j2",
        finding=finding(measured),
        tables=tables,
    )
    return text, {}


def _table(entries: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """A row a point; a column for effects where a page measures one."""
    effects = any(entry["effect"] != _NO_EFFECT for entry in entries)
    rows = [
        [
            entry["topic"],
            _stated(entry["supplement"]),
            _stated(entry["released_code"]),
            _we_run(entry["we_run"], titles),
            *([_effect(entry["effect"])] if effects else []),
        ]
        for entry in entries
    ]
    return markdown_table(_HEADER + ["Effect"] * effects, rows, words=len(rows[0]))


def _effect(effect: Mapping[str, str] | str) -> str:
    if isinstance(effect, str):
        return effect
    return f"[{effect['page']}]({effect['page']}.md): {effect['says']}"


def finding(measured: Measurement) -> str:
    """How many points there are, and of how many the effect is measured."""
    entries = measured.details["discrepancies"]
    effects = sum(entry["effect"] != _NO_EFFECT for entry in entries)
    lead = sorted(
        (entry for entry in entries if "lead" in entry), key=lambda some: some["lead"]
    )
    most = "; ".join(entry["topic"][0].lower() + entry["topic"][1:] for entry in lead)
    return (
        f"Supplement, released code and this suite part at {len(entries)} points; of "
        f"{effects} of them a page measures the effect. What matters most: {most}."
    )


def _stated(source: Mapping[str, str] | str) -> str:
    if source == "silent":
        return "silent"
    # A path holds what Markdown would take for emphasis; as code it stands as it is.
    mark = "`" if "/" in source["place"] else "*"
    return f"{source['says']}<br>{mark}{source['place']}{mark}"


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
