"""Sect. 5: each setting beside the published one, and where the sources part."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from replication.core.files import BadInput, read_yaml
from replication.core.settings import (
    OBJECTIVES,
    PUBLISHED,
    Benchmark,
    Settings,
    read_recipe,
)
from replication.statistics.results import Cell

DISCREPANCIES = PUBLISHED / "discrepancies.yaml"
ORIGINS = {
    "published": "as published",
    "guess": "guesses",
    "overridden": "overridden",
    "stand-in": "the stand-in's",
    "input": "set by the input",
}

# ---- What a run uses -----------------------------------------------------------------


@dataclass(frozen=True)
class InUse:
    """A setting as this run has it.

    Fields: `origin`: published, guess (no source says), overridden, stand-in, or
    `input` where the kind of input leaves no choice; `source` of `published`; `unused`:
    why this run does not read it, or None.
    """

    benchmark: str
    section: str
    name: str
    value: Any
    published: Any
    source: str
    origin: str
    unused: str | None


def settings_in_use(settings: Settings, benchmark: str) -> list[InUse]:
    """Every setting of a benchmark's recipe, in its order, as this run has it.

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
        chosen = settings.choices(benchmark, section, tuple(recipe))
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
            given = dict.fromkeys(
                ("data", "backbone", objective), "cached features are given"
            )
        elif settings.checkpoint(benchmark, objective) is not None:
            given = {objective: "weights are given"}
        else:
            continue
        reasons |= {name: why for name, why in given.items() if name not in reasons}
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


# ---- Where the sources part ----------------------------------------------------------

Text = Annotated[str, Field(min_length=1)]


def _or_word(word: str) -> BeforeValidator:
    """Read `word` as nothing; nothing itself is a forgotten value."""

    def read(value: Any) -> Any:
        if value is None:
            raise ValueError(f"fields by name or `{word}`")
        return None if value == word else value

    return BeforeValidator(read)


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Stated(_Fact):
    """What a source says, and where in it."""

    says: Text
    place: Text


class Effect(_Fact):
    """Which page measures what a discrepancy does, and as what."""

    page: Literal["table1", "table2", "sigma", "estimator", "separation", "confusion"]
    says: Text


class WeRun(_Fact):
    """What this suite does: settings to look up, or a sentence a protocol or for both.

    Exactly one of (benchmarks, section, names), (paper, released_code) and (both,).
    """

    benchmarks: Annotated[list[Benchmark], Field(min_length=1)] | None = None
    section: Text | None = None
    names: Annotated[list[Text], Field(min_length=1)] | None = None
    paper: Text | None = None
    released_code: Text | None = None
    both: Text | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "WeRun":
        if self.model_fields_set not in (
            {"benchmarks", "section", "names"},
            {"paper", "released_code"},
            {"both"},
        ):
            raise ValueError(
                "(benchmarks, section, names) or (paper, released_code) or (both)"
            )
        return self


class Discrepancy(_Fact):
    """One entry; None stands for a silent source and for an effect not measured."""

    part: Literal["text", "disagree", "silent", "protocol", "code", "ours"]
    topic: Text
    supplement: Annotated[Stated | None, _or_word("silent")]
    released_code: Annotated[Stated | None, _or_word("silent")]
    we_run: WeRun
    effect: Annotated[Effect | None, _or_word("not measured")]


def read_discrepancies(path: Path = DISCREPANCIES) -> list[Discrepancy]:
    """Every entry: supplement and released code, side by side.

    Raises:
        BadInput: a line for each missing, unknown or malformed field.
    """
    try:
        return TypeAdapter(list[Discrepancy]).validate_python(read_yaml(path))
    except ValidationError as error:
        raise BadInput([_in_a_line(path, some) for some in error.errors()]) from None


def _in_a_line(path: Path, error: Mapping[str, Any]) -> str:
    """A pydantic error: file, entry from 1, field, what is wrong, what came."""
    number, *fields = error["loc"] or (0,)
    where = "".join(f".{field}" for field in fields)
    return f"{path}: entry {number + 1}{where}: {error['msg']}, got {error['input']!r}"


def looked_up(
    entries: Sequence[Discrepancy], in_use: Sequence[InUse]
) -> list[dict[str, Any]]:
    """Entries with the settings that they name, as this run has them.

    Returns:
        A row an entry: its fields; `we_run` is {paper, released_code}, {both} or
        {settings: rows of `in_use`}, the latter empty where no benchmark of the entry
        is in this run.
    """
    rows = []
    for entry in entries:
        we_run = entry.we_run
        row = entry.model_dump()
        row["we_run"] = we_run.model_dump(exclude_unset=True)
        if we_run.names is not None:
            row["we_run"] = {
                "settings": [
                    vars(some)
                    for benchmark in we_run.benchmarks or ()
                    for name in we_run.names
                    for some in in_use
                    if (some.benchmark, some.section, some.name)
                    == (benchmark, we_run.section, name)
                ]
            }
        rows.append(row)
    return rows
