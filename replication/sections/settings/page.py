"""The page of Sect. 5: every setting in use beside the published one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from replication.reporting import rendering, tables

SECTION_TITLES = {
    "data": "Data",
    "backbone": "Network",
    "ce": "Training by cross-entropy, for cRT and LWS",
    "paco": "Training by PaCo",
    "decoupling": "cRT and LWS",
    "head": "Balanced Softmax head on frozen features",
    "filter": "Flow Filter",
    "cascade": "Cascade",
    "classifier": "Classifiers of the cascade",
    "fig2": "Separation experiment",
}
_COUNTED = {
    "published": "as published",
    "guess": "guesses",
    "overridden": "overridden",
    "stand-in": "the stand-in's",
    "input": "set by the input",
}

Record = Mapping[str, Any]


def hyperparameters_page(measured: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Every setting of every benchmark in use, section by section of the recipe.

    Implements: Sect. 5.

    Args:
        measured: what the stage `ledger` wrote, and `runs`, its run record.

    Returns:
        The page, and no figures.
    """
    titles = {name: measured["titles"][name] for name in measured["order"]}
    of_benchmark = {name: measured["benchmarks"][name] for name in titles}
    everything = [record for records in of_benchmark.values() for record in records]
    page = rendering.render(
        "sections/settings/page.md.j2",
        summary=summarise(everything),
        counts=_counts_table(of_benchmark, titles),
        sections=[
            _section(section, of_benchmark, titles)
            for section in dict.fromkeys(record["section"] for record in everything)
        ],
        origin=rendering.origin(None, "dvc repro ledger", measured["runs"]),
    )
    return page, {}


def summarise(records: Sequence[Record]) -> str:
    """How many settings are the published ones, in words; over those in use."""
    counts = Counter(one["origin"] for one in records if one["unused"] is None)
    parts = [
        f"{counts['published']} same as published",
        f"{counts['guess']} guesses (no source says)",
        f"{counts['overridden']} overridden",
        f"{counts['stand-in']} the stand-in's",
    ]
    if counts["input"]:
        parts.append(f"{counts['input']} set by the input")
    return f"{counts.total()} settings: {', '.join(parts)}."


def shown(value: Any) -> str:
    """A setting's value as a reader sees it; null is `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def value_in_use(record: Record) -> str:
    """A value with its mark: bold overridden, italic the stand-in's or the input's."""
    value, published = shown(record["value"]), shown(record["published"])
    guessed = record["source"].startswith("guess")
    if record["origin"] == "published":
        return value
    if record["origin"] == "guess":
        return f"{value} (guess)"
    beside = f"{'guess' if guessed else 'published'} {published}"
    if value == published:
        beside = "as the guess" if guessed else "as published"
    mark = "**" if record["origin"] == "overridden" else "*"
    return f"{mark}{value}{mark} ({beside})"


def _counts_table(
    of_benchmark: Mapping[str, Sequence[Record]], titles: Mapping[str, str]
) -> str:
    rows = []
    for name, records in of_benchmark.items():
        counts = Counter(one["origin"] for one in records if one["unused"] is None)
        numbers = [counts.total(), *(counts[origin] for origin in _COUNTED)]
        unused = sum(one["unused"] is not None for one in records)
        rows.append([titles[name], *(str(number) for number in [*numbers, unused])])
    header = ["Benchmark", "Settings in use", *_COUNTED.values(), "not in use"]
    return tables.markdown_table(header, rows)


def _section(
    section: str,
    of_benchmark: Mapping[str, Sequence[Record]],
    titles: Mapping[str, str],
) -> dict[str, Any]:
    """A section's table: a row a setting, a column a benchmark that uses the section.

    Sources stand below it by letter, so that the table stays narrow.
    """
    used: dict[str, dict[str, Record]] = {}
    reasons: dict[str, list[str]] = {}
    for name, records in of_benchmark.items():
        mine = {one["name"]: one for one in records if one["section"] == section}
        why = next(one["unused"] for one in mine.values())
        if why is None:
            used[name] = mine
        else:
            reasons.setdefault(why, []).append(titles[name])
    sources: dict[str, str] = {}
    rows = []
    for setting in dict.fromkeys(one for mine in used.values() for one in mine):
        row = [f"`{setting}`"]
        for mine in used.values():
            source = mine[setting]["source"]
            letter = sources.setdefault(source, _letter(len(sources)))
            row.append(f"{value_in_use(mine[setting])} <sup>{letter}</sup>")
        rows.append(row)
    header = ["Setting", *(titles[name] for name in used)]
    return {
        "name": section,
        "title": SECTION_TITLES[section],
        "table": tables.markdown_table(header, rows) if rows else None,
        "sources": {letter: source for source, letter in sources.items()},
        "unused": {why: ", ".join(names) for why, names in reasons.items()},
    }


def _letter(number: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa."""
    prefix = _letter(number // 26 - 1) if number >= 26 else ""
    return prefix + chr(ord("a") + number % 26)
