"""The ledger: each setting beside the published one, and where the sources part."""

from collections import Counter
from collections.abc import Mapping, Sequence
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
    BENCHMARKS,
    OBJECTIVES,
    PUBLISHED,
    Benchmark,
    Settings,
    read_recipe,
)

DISCREPANCIES = PUBLISHED / "discrepancies.yaml"

Part = Literal["text", "disagree", "silent", "protocol", "code", "ours"]
Page = Literal["table1", "table2", "sigma", "estimator", "separation", "confusion"]
Text = Annotated[str, Field(min_length=1)]


def _or_word(word: str) -> BeforeValidator:
    """Read `word` as nothing; nothing itself is a forgotten value."""

    def read(value: Any) -> Any:
        if value == word:
            return None
        if not isinstance(value, Mapping):
            raise ValueError(f"fields by name or `{word}`")
        return value

    return BeforeValidator(read)


# ---- The shape of discrepancies.yaml ------------------------------------------------


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Stated(_Fact):
    """What a source says, and where in it."""

    says: Text
    place: Text


class Effect(_Fact):
    """Which page measures what a discrepancy does, and as what."""

    page: Page
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

    part: Part
    topic: Text
    supplement: Annotated[Stated | None, _or_word("silent")]
    released_code: Annotated[Stated | None, _or_word("silent")]
    we_run: WeRun
    effect: Annotated[Effect | None, _or_word("not measured")]


def read_discrepancies(path: Path = DISCREPANCIES) -> list[Discrepancy]:
    """Read and check every entry.

    Implements: Sect. 5, held against the released code.

    Raises:
        BadInput: a line for each missing, unknown or malformed field, topic given twice
            or setting that no recipe has.
    """
    try:
        entries = TypeAdapter(list[Discrepancy]).validate_python(read_yaml(path))
    except ValidationError as error:
        raise BadInput([_one_line(path, one) for one in error.errors()]) from None
    topics = Counter(entry.topic for entry in entries)
    problems = [
        f"{path}: topic: expected each once, got {topic!r} {number} times"
        for topic, number in topics.items()
        if number > 1
    ]
    recipes = {benchmark: read_recipe(benchmark) for benchmark in BENCHMARKS}
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: entry {number}.we_run"
        problems += _unknown_settings(where, entry.we_run, recipes)
    if problems:
        raise BadInput(problems)
    return entries


def _unknown_settings(
    where: str, we_run: WeRun, recipes: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    return [
        f"{where}: expected settings of the recipe of {benchmark}, "
        f"got {we_run.section}.{name}"
        for benchmark in we_run.benchmarks or ()
        for name in we_run.names or ()
        if name not in recipes[benchmark].get(we_run.section, ())
    ]


def _one_line(path: Path, error: Mapping[str, Any]) -> str:
    """A pydantic error as one line: file, entry from 1, field, expected, got."""
    number, *fields = error["loc"] or (None,)
    where = f"{path}" if number is None else f"{path}: entry {number + 1}"
    where += "".join(f".{field}" for field in fields)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"{where}: expected a value, got nothing"
    if kind == "extra_forbidden":
        return f"{where}: expected a known field, got this one"
    expected = {
        "string_type": "text",
        "string_too_short": "text",
        "too_short": "at least one",
        "list_type": "a list",
        "model_type": "fields by name",
        "literal_error": context.get("expected"),
        "value_error": str(context.get("error")),
    }.get(kind, str(error["msg"]))
    got = error["input"]
    if isinstance(got, Mapping):
        got = ", ".join(map(str, got)) or "no fields"
    else:
        got = "nothing" if got is None else repr(got)
    return f"{where}: expected {expected}, got {got}"


# ---- What a run uses -----------------------------------------------------------------


def settings_in_use(settings: Settings, benchmark: str) -> list[dict[str, Any]]:
    """Every setting of a benchmark's recipe, as this run has it.

    Implements: Sect. 5: what is used beside what is published.

    Args:
        settings: of the run.
        benchmark: whose recipe.

    Returns:
        A record a setting, in the recipe's order: section, name, value, published,
        source; origin (published, guess, overridden, stand-in; `input` where the kind
        of input leaves no choice); unused (why this run does not read it, or None).
    """
    unused = unused_sections(settings, benchmark)
    # Cached features leave no images: these two methods say what is left.
    imposed = {
        "decoupling": settings.decoupling(benchmark).inputs,
        "fig2": settings.fig2(benchmark).inputs,
    }
    records = []
    for section, recipe in read_recipe(benchmark).items():
        if not isinstance(recipe, Mapping):
            continue
        chosen = settings.choices(benchmark, section, tuple(recipe))
        for name, choice in chosen.items():
            value, origin = choice.value, str(choice.origin)
            if name == "inputs" and imposed[section] != value:
                value, origin = imposed[section], "input"
            records.append(
                {
                    "section": section,
                    "name": name,
                    "value": value,
                    "published": choice.published,
                    "source": choice.source,
                    "origin": origin,
                    "unused": unused.get(section),
                }
            )
    return records


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


def resolved(
    entries: Sequence[Discrepancy], in_use: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Entries with the settings that they name looked up in this run.

    Args:
        entries: of `read_discrepancies`.
        in_use: benchmark -> its `settings_in_use`.

    Returns:
        A record an entry: part, topic, supplement, released_code, effect as stated or
        None; we_run: {paper, released_code}, {both} or {settings: [record of
        `settings_in_use` with its benchmark]}, the latter empty where no benchmark of
        the entry is in this run.
    """
    records = []
    for entry in entries:
        record = entry.model_dump()
        record["we_run"] = entry.we_run.model_dump(exclude_unset=True)
        if entry.we_run.names is not None:
            record["we_run"] = {"settings": _looked_up(entry.we_run, in_use)}
        records.append(record)
    return records


def _looked_up(
    we_run: WeRun, in_use: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    return [
        {"benchmark": benchmark, **record}
        for benchmark in we_run.benchmarks or ()
        for name in we_run.names or ()
        for record in in_use.get(benchmark, ())
        if (record["section"], record["name"]) == (we_run.section, name)
    ]
