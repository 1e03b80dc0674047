"""The page of the ledger: supplement, released code and this suite, side by side."""

from collections.abc import Mapping
from typing import Any

from replication.reporting import rendering
from replication.sections.settings.page import value_in_use

PART_TITLES = {
    "text": "The supplement's own text",
    "disagree": "Supplement and released code name two values",
    "silent": "The supplement does not say",
    "protocol": "Where the two protocols part",
    "code": "What else the released code does",
    "ours": "Where this suite goes its own way",
}

Record = Mapping[str, Any]


def discrepancies_page(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Every point at which supplement, released code and this suite part.

    Implements: Sect. 5, held against the released code.

    Args:
        measured: what the stage `ledger` wrote, and `runs`, its run record.

    Returns:
        The page, and no figures.
    """
    entries = measured["discrepancies"]
    parts: dict[str, list[dict[str, str]]] = {part: [] for part in PART_TITLES}
    for number, entry in enumerate(entries, start=1):
        parts[entry["part"]].append(_row(number, entry, measured["titles"]))
    page = rendering.render(
        "sections/settings/discrepancies.md.j2",
        number=len(entries),
        measured=sum(entry["effect"] is not None for entry in entries),
        parts={PART_TITLES[part]: rows for part, rows in parts.items() if rows},
        origin=rendering.origin(None, "dvc repro ledger", measured["runs"]),
    )
    return page, {}


def _row(number: int, entry: Record, titles: Mapping[str, str]) -> dict[str, str]:
    row = {
        "number": str(number),
        "topic": entry["topic"],
        "supplement": _stated(entry["supplement"]),
        "released_code": _stated(entry["released_code"]),
        "we_run": _we_run(entry["we_run"], titles),
        "effect": _effect(entry["effect"]),
    }
    return {name: text.replace("|", "\\|") for name, text in row.items()}


def _stated(source: Record | None) -> str:
    if source is None:
        return "silent"
    place = source["place"].replace("*", "\\*")
    return f"{source['says']}<br>*{place}*"


def _we_run(we_run: Record, titles: Mapping[str, str]) -> str:
    """Settings by benchmark as this run has them, or a sentence for each protocol."""
    if "both" in we_run:
        return we_run["both"]
    if "paper" in we_run:
        return (
            f"**paper**: {we_run['paper']}<br>"
            f"**released code**: {we_run['released_code']}"
        )
    by_benchmark: dict[str, list[str]] = {}
    for record in we_run["settings"]:
        of = by_benchmark.setdefault(record["benchmark"], [])
        if record["unused"] is None:
            of.append(f"`{record['name']}` {value_in_use(record)}")
    lines = [
        f"{titles[name]}: {', '.join(of) or 'not in use'}"
        for name, of in by_benchmark.items()
    ]
    return "<br>".join(lines) or "none of its benchmarks is in this run"


def _effect(effect: Record | None) -> str:
    if effect is None:
        return "not measured"
    return f"[{effect['page']}]({effect['page']}.md): {effect['says']}"
