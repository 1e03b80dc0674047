"""Sect. 5: each setting beside the published one, and where the sources part."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from replication.core.scaling import Size
from replication.core.settings import (
    OBJECTIVES,
    PUBLISHED,
    SECTIONS_OF_IMAGES,
    Settings,
    read_recipe,
)
from replication.statistics.results import Cell

DISCREPANCIES = PUBLISHED / "discrepancies.yaml"
ORIGINS = {
    "published": "as published",
    "guess": "guesses",
    "scaled": "scaled",
    "overridden": "overridden",
    "stand-in": "the stand-in's",
    "input": "set by the input",
}


@dataclass(frozen=True)
class InUse:
    """A setting as this run has it.

    Fields: `origin`: published, guess (no source says), scaled, overridden, stand-in,
    or `input` where the input (or its weights) says it; `source` of `published`, or the
    arithmetic of what is scaled; `unused`: why this run does not read it, or None.
    """

    benchmark: str
    section: str
    name: str
    value: Any
    published: Any
    source: str
    origin: str
    unused: str | None


def settings_in_use(settings: Settings, benchmark: str, size: Size) -> list[InUse]:
    """Every setting of a benchmark's recipe, in its order, as this run has it.

    `size` is of its features, which what is scaled follows from.

    Implements: Sect. 5.
    """
    unused = unused_sections(settings, benchmark)
    # Cached features leave no images: these two methods say what is left.
    imposed = {
        "decoupling": settings.decoupling(benchmark).inputs,
        "fig2": settings.fig2(benchmark).inputs,
    }
    in_use = []
    for section, recipe in read_recipe(benchmark).items():
        if not isinstance(recipe, Mapping):
            continue
        chosen = settings.choices(benchmark, section, tuple(recipe), size=size)
        for name, choice in chosen.items():
            value, origin = choice.value, str(choice.origin)
            if name == "inputs" and imposed[section] != value:
                value, origin = imposed[section], "input"
            in_use.append(
                InUse(
                    benchmark,
                    section,
                    name,
                    value,
                    choice.published,
                    choice.source,
                    origin,
                    unused.get(section),
                )
            )
    return in_use


def unused_sections(settings: Settings, benchmark: str) -> dict[str, str]:
    """Sections of the recipe that a run on this benchmark does not read, and why."""
    reasons = {}
    lists = {"ce": "comparison", "decoupling": "comparison", "fig2": "separation"}
    for section, what in lists.items():
        if benchmark not in settings.listed(what):
            reasons[section] = f"not listed in `{what}`"
    for objective in OBJECTIVES:
        if settings.features(benchmark, objective) is not None:
            for section in SECTIONS_OF_IMAGES:
                reasons.setdefault(section, "cached features are given")
        elif settings.checkpoint(benchmark, objective) is not None:
            reasons.setdefault(objective, "weights are given")
    return reasons


def counts(in_use: Sequence[InUse]) -> list[Cell]:
    """How many settings of a benchmark are published, guessed, overridden and so on."""
    number = Counter(some.origin for some in in_use if some.unused is None)
    number["unused"] = sum(some.unused is not None for some in in_use)
    return [
        Cell(
            section="settings",
            benchmark=in_use[0].benchmark,
            data="none",
            method="settings",
            label="Settings",
            metric=origin,
            mean=float(number[origin]),
            unit="settings",
        )
        for origin in (*ORIGINS, "unused")
    ]


def looked_up(
    entries: Sequence[Mapping[str, Any]], in_use: Sequence[InUse]
) -> list[dict[str, Any]]:
    """Entries of discrepancies.yaml with the settings that they name, as in this run.

    Returns:
        An entry each; `we_run` is {paper, released_code}, {both} or {settings: rows of
        `in_use`}, the latter empty where no benchmark of the entry is in this run.
    """
    rows = []
    for entry in entries:
        we_run = entry["we_run"]
        if "names" in we_run:
            by_key = {(s.benchmark, s.section, s.name): s for s in in_use}
            named = [
                by_key.get((benchmark, we_run["section"], name))
                for benchmark in we_run["benchmarks"]
                for name in we_run["names"]
            ]
            we_run = {"settings": [asdict(some) for some in named if some]}
        rows.append({**entry, "we_run": we_run})
    return rows
