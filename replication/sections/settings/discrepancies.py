"""The second page of Sect. 5: where supplement, released code and this suite differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.reporting.rendering import render
from replication.sections.settings.experiment import InUse
from replication.sections.settings.page import value_in_use
from replication.statistics.results import Measurement

_MEASURED = "Others whose effect a page measures"
_PARTS = {
    "text": "The supplement's own text",
    "disagree": "Supplement and released code name two values",
    "silent": "The supplement does not say",
    "protocol": "Where the two protocols differ",
    "code": "What else the released code does",
    "ours": "Where this suite goes its own way",
}
_NO_EFFECT = "not measured"


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Every point at which supplement, released code and this suite differ.

    First the five that matter; below, folded, those whose effect a page measures, then
    the others, by kind.
    """
    titles = measured.details["titles"]
    entries = measured.details["discrepancies"]
    rest = [entry for entry in entries if "lead" not in entry]
    parts = {_MEASURED: [some for some in rest if some["effect"] != _NO_EFFECT]}
    for part, name in _PARTS.items():
        parts[name] = [
            entry
            for entry in rest
            if entry["effect"] == _NO_EFFECT and entry["part"] == part
        ]
    text = render(
        "sections/settings/discrepancies.md.j2",
        finding=finding(measured),
        lead=[_point(entry, titles) for entry in _lead(entries)],
        folded={
            name: [_point(entry, titles) for entry in some]
            for name, some in parts.items()
            if some
        },
    )
    return text, {}


def finding(measured: Measurement) -> str:
    """How many points there are, and of how many the effect is measured."""
    entries = measured.details["discrepancies"]
    effects = sum(entry["effect"] != _NO_EFFECT for entry in entries)
    return (
        f"The supplement, the released code and this suite differ at {len(entries)} "
        f"points. {len(_lead(entries))} of them matter most; of {effects} a page "
        "measures the effect."
    )


def _lead(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    lead = [entry for entry in entries if "lead" in entry]
    return sorted(lead, key=lambda entry: entry["lead"])


def _point(
    entry: Mapping[str, Any], titles: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Its topic, and what each source says of it."""
    effect = entry["effect"]
    said = {
        "Supplement": _stated(entry["supplement"]),
        "Released code": _stated(entry["released_code"]),
        "This suite": _we_run(entry["we_run"], titles),
    }
    if effect != _NO_EFFECT:
        said["Effect"] = f"{effect['says']} ([{effect['page']}]({effect['page']}.md))"
    elif "lead" in entry:
        said["Effect"] = _NO_EFFECT
    return entry["topic"], {who: f"{what}." for who, what in said.items()}


def _stated(source: Mapping[str, str] | str) -> str:
    if source == "silent":
        return "silent"
    # A path holds what Markdown would take for emphasis; as code it stands as it is.
    mark = "`" if "/" in source["place"] else "*"
    return f"{source['says']} ({mark}{source['place']}{mark})"


def _we_run(we_run: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Settings by benchmark as this run has them, or a sentence for each protocol."""
    if "both" in we_run:
        return we_run["both"]
    if "validated" in we_run:
        return (
            f"*validated*: {we_run['validated']}. "
            f"*As released*: {we_run['as_released']}"
        )
    by_benchmark: dict[str, list[str]] = {}
    for row in we_run["settings"]:
        some = InUse(**row)
        values = by_benchmark.setdefault(some.benchmark, [])
        if some.unused is None:
            values.append(f"`{some.name}` {value_in_use(some)}")
    lines = (
        f"{', '.join(values) or 'not in use'} on {titles[name]}"
        for name, values in by_benchmark.items()
    )
    return "; ".join(lines) or "none of its benchmarks is in this run"
