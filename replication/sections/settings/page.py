"""The page of Sect. 5: every setting in use beside the published one."""

from collections.abc import Mapping, Sequence
from typing import Any

from replication.core.scaling import FLOORS, KEPT
from replication.reporting.rendering import render
from replication.reporting.tables import markdown_table
from replication.sections.settings.experiment import ORIGINS, InUse
from replication.statistics.results import Measurement, pick

_TITLES = {
    "data": "Data",
    "view": "How an image is seen",
    "backbone": "Network",
    "ce": "Training by cross-entropy, for cRT and LWS",
    "paco": "Training by PaCo",
    "decoupling": "cRT and LWS",
    "extraction": "Features",
    "head": "Balanced Softmax head on frozen features",
    "filter": "Flow Filter",
    "cascade": "Cascade",
    "classifier": "Classifiers of the cascade",
    "fig2": "Separation experiment",
}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Every setting of every benchmark in use, section by section of the recipe."""
    titles = measured.details["titles"]
    in_use = [InUse(**row) for row in measured.details["in_use"]]
    text = render(
        "sections/settings/page.md.j2",
        finding=finding(measured),
        counts=_counts_table(measured, titles),
        recipes=_recipes(measured.details),
        scaled=_scaled_table(in_use, titles),
        floors=FLOORS,
        sections=[
            _section(
                section, [some for some in in_use if some.section == section], titles
            )
            for section in dict.fromkeys(some.section for some in in_use)
        ],
    )
    return text, {}


def finding(measured: Measurement) -> str:
    """For how many settings no source names a value, on each benchmark."""
    parts = []
    for benchmark, title in measured.details["titles"].items():
        number = _counts(measured, benchmark)
        of = sum(number[origin] for origin in ORIGINS)
        said = f"{number['guess']:g} of the {of:g} settings in use on {title}"
        if number["scaled"]:
            said += f" ({number['scaled']:g} more scaled to its size)"
        parts.append(said)
    return f"No source names a value for {', and for '.join(parts)}."


def _counts(measured: Measurement, benchmark: str) -> dict[str, float]:
    """Settings of a benchmark by origin."""
    return {
        origin: pick(measured.cells, benchmark=benchmark, metric=origin).mean
        for origin in (*ORIGINS, "unused")
    }


def _recipes(details: Mapping[str, Any]) -> list[str]:
    """A sentence on each benchmark that the paper has no settings for."""
    how = {
        "verbatim": "as they stand (recipe `verbatim`)",
        "scaled": "at the size of its data (recipe `scaled`)",
    }
    sentences = []
    for benchmark, recipe in details["recipes"].items():
        if recipe in how:
            size = details["sizes"][benchmark]
            sentences.append(
                f"The paper has no settings for {details['titles'][benchmark]} "
                f"({size['samples']:,} training samples, {size['dimensions']:,} "
                f"dimensions): here are ImageNet-LT's, {how[recipe]}."
            )
    return sentences


def _scaled_table(in_use: Sequence[InUse], titles: Mapping[str, str]) -> str | None:
    """Every scaled setting with its arithmetic."""
    rows = [
        [
            titles[some.benchmark],
            f"`{some.section}.{some.name}`",
            some.source.removeprefix("scaled: "),
            KEPT[some.section, some.name],
            in_words(some.published),
            in_words(some.value),
        ]
        for some in in_use
        if some.origin == "scaled"
    ]
    header = ["Benchmark", "Setting", "Arithmetic", "What stays"]
    header += ["ImageNet-LT's", "Here"]
    return markdown_table(header, rows, words=4) if rows else None


def in_words(value: Any) -> str:
    """A setting's value as a reader sees it; null is `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def value_in_use(some: InUse) -> str:
    """A value with its mark: bold overridden, italic the stand-in's or the input's."""
    value, published = in_words(some.value), in_words(some.published)
    guessed = some.source.startswith("guess")
    if some.origin == "published":
        return value
    if some.origin == "guess":
        return f"{value} (guess)"
    if some.origin == "scaled":
        return f"{value} (scaled from {published})"
    beside = f"{'guess' if guessed else 'published'} {published}"
    if value == published:
        beside = "as the guess" if guessed else "as published"
    mark = "**" if some.origin == "overridden" else "*"
    return f"{mark}{value}{mark} ({beside})"


def _counts_table(measured: Measurement, titles: Mapping[str, str]) -> str:
    rows = []
    for benchmark, title in titles.items():
        number = _counts(measured, benchmark)
        total = sum(number.values()) - number["unused"]
        rows.append([title, *(f"{some:g}" for some in (total, *number.values()))])
    header = ["Benchmark", "Settings in use", *ORIGINS.values(), "not in use"]
    return markdown_table(header, rows)


def _section(
    section: str, in_use: Sequence[InUse], titles: Mapping[str, str]
) -> dict[str, Any]:
    """A section's table: a row a setting, a column a benchmark that uses the section.

    Sources stand below it by number, so that the table stays narrow.
    """
    used = [some for some in in_use if some.unused is None]
    sources = list(dict.fromkeys(some.source for some in used))
    benchmarks = list(dict.fromkeys(some.benchmark for some in used))
    values: dict[str, dict[str, str]] = {}
    for some in used:
        note = f"<sup>{sources.index(some.source) + 1}</sup>"
        of_name = values.setdefault(some.name, {})
        of_name[some.benchmark] = f"{value_in_use(some)} {note}"
    rows = [
        [f"`{name}`", *(of_name[benchmark] for benchmark in benchmarks)]
        for name, of_name in values.items()
    ]
    header = ["Setting", *(titles[benchmark] for benchmark in benchmarks)]
    reasons = {titles[s.benchmark]: s.unused for s in in_use if s.unused is not None}
    return {
        "name": section,
        "title": _TITLES[section],
        "table": markdown_table(header, rows) if rows else None,
        "sources": sources,
        "unused": reasons,
    }
