"""params.yaml is read and checked here: every wrong value is one line.

The line names the dotted key, what was expected and what came. What a run covers and
where its data lies has its shape here; the settings' own shape is `core/settings.py`'s.
"""

import difflib
import os
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
)

from replication.core.files import BadInput, read_yaml

Benchmark = Literal["imagenet_lt", "places_lt", "inat18", "cifar100_lt", "own"]
Objective = Literal["ce", "paco"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
BENCHMARKS: tuple[Benchmark, ...] = get_args(Benchmark)
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
DOORS = ("images", "checkpoint", "features")


class Frozen(BaseModel):
    """Settings that neither change nor take what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Each(Frozen):
    """A path for each objective."""

    ce: str | None
    paco: str | None


def _kind_of_door(value: Any) -> str | None:
    if isinstance(value, dict | Each):
        return "[each]"
    return "[path]" if isinstance(value, str) else None


Door = Annotated[
    Annotated[str, Tag("[path]")] | Annotated[Each, Tag("[each]")],
    Discriminator(
        _kind_of_door,
        custom_error_type="expected",
        custom_error_message="text, or a text each for ce and paco",
    ),
]


class Doors(Frozen):
    """Where a benchmark's data lies; all None: the stand-in."""

    images: str | None
    checkpoint: Door | None
    features: Door | None


class Coverage(Frozen):
    """What a run covers, and where its data lies."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)]
    comparison: list[Benchmark]
    ablation: list[Benchmark]
    confusion: list[Benchmark]
    selection: list[Benchmark]
    separation: list[Benchmark]
    diagnosis: list[Benchmark]
    inputs: create_model(  # type: ignore[valid-type]
        "Inputs", __base__=Frozen, **dict.fromkeys(BENCHMARKS, (Doors, ...))
    )


# Lists of benchmarks; each after the first draws on the first.
LISTS = tuple(Coverage.model_fields)[1:-1]


_Params = TypeVar("_Params", bound=Coverage)


def read_params(path: Path, shape: type[_Params]) -> _Params:
    """Read and check all of params.yaml, whatever part of it is needed.

    Raises:
        BadInput: one line for each unknown or missing key, wrong type, impossible
            value or path that does not exist, naming the dotted key.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: expected settings by name, got {_shown(raw)}")
    try:
        params = shape.model_validate(raw)
    except ValidationError as error:
        lines = [_line(found, shape) for found in error.errors()]
    else:
        lines = [*_missing_paths(params)] or [*_contradictions(params)]
    if lines:
        raise BadInput(f"{path}: {line}" for line in lines)
    return params


# ---- What no single value shows -----------------------------------------------------


def _missing_paths(params: Coverage) -> Iterator[str]:
    for key, door, value in _paths(params):
        download = key == "inputs.cifar100_lt.images" and value == "torchvision"
        if value is None or download:
            continue
        wanted = "a file" if door == "checkpoint" else "a folder"
        there = os.path.isfile if door == "checkpoint" else os.path.isdir
        if not value or not there(os.path.expanduser(value)):
            yield f"{key}: expected {wanted} that exists, got {value!r}"


def _paths(params: Coverage) -> Iterator[tuple[str, str, str | None]]:
    """Dotted key, door and path of every input."""
    for benchmark, doors in params.inputs:
        for door, value in doors:
            key = f"inputs.{benchmark}.{door}"
            if isinstance(value, Each):
                for objective, path in value:
                    yield f"{key}.{objective}", door, path
            else:
                yield key, door, value


def _contradictions(params: Coverage) -> Iterator[str]:
    for name in ("seeds", *LISTS):
        values = getattr(params, name)
        if len(set(values)) != len(values):
            yield f"{name}: expected each once, got {values}"
    for name in LISTS[1:]:
        beyond = [b for b in getattr(params, name) if b not in params.benchmarks]
        if beyond:
            yield (
                f"{name}: expected benchmarks out of benchmarks: {params.benchmarks}, "
                f"got {', '.join(beyond)}"
            )
    for name, doors in params.inputs:
        yield from _contradictory_doors(f"inputs.{name}", doors)
    if "own" in params.benchmarks and not any(dict(params.inputs.own).values()):
        yield (
            "inputs.own: expected images or features, since benchmarks lists own, "
            "got null"
        )


def _contradictory_doors(key: str, doors: Doors) -> Iterator[str]:
    if doors.checkpoint and not doors.images and not doors.features:
        yield (
            f"{key}.images: expected a folder, since {key}.checkpoint needs images to "
            "turn into features, got null"
        )
    if isinstance(doors.features, Each):
        for objective, path in doors.features:
            if path is None:
                yield (
                    f"{key}.features.{objective}: expected a folder, since the other "
                    "objective's features are given, got null"
                )


# ---- What is wrong with one value ---------------------------------------------------


def _line(error: Mapping[str, Any], shape: type[BaseModel]) -> str:
    """A pydantic error as one line: dotted key, expected, got."""
    names = [part for part in error["loc"] if part not in ("[key]", "[path]", "[each]")]
    key = ".".join(str(name) for name in names)
    if error["type"] in ("extra_forbidden", "invalid_key"):
        meant = _meant(names, shape)
        return f"{key}: expected a known setting, got this one{meant}"
    if error["type"] == "missing":
        return f"{key}: expected a value or null, got nothing"
    return f"{key}: expected {_expected(error)}, got {_shown(error['input'])}"


def _expected(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    least = context.get("min_length")
    return {
        "greater_than": f"a number above {context.get('gt')}",
        "greater_than_equal": f"a number of at least {context.get('ge')}",
        "less_than": f"a number below {context.get('lt')}",
        "less_than_equal": f"a number of at most {context.get('le')}",
        "finite_number": "a finite number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "model_type": "settings by name",
        "too_short": "at least 1 value" if least == 1 else f"{least} values",
        "too_long": f"{context.get('max_length')} values",
        "literal_error": str(context.get("expected")),
        "string_pattern_mismatch": "auto, cpu, cuda or cuda:N",
    }.get(error["type"], str(error["msg"]))


def _meant(names: list[Any], shape: Any) -> str:
    """A guess at the setting that was meant, for a mistyped key."""
    for name in names[:-1]:
        shape = shape.model_fields[name].annotation
        shape = shape if hasattr(shape, "model_fields") else Each  # within a door
    close = difflib.get_close_matches(str(names[-1]), list(shape.model_fields), n=1)
    return f"; did you mean {close[0]}?" if close else ""


# YAML's aliases make a few lines a list of 10^12 values: only its first are spelt out.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 4
_BRIEF.maxlist = _BRIEF.maxdict = 20
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 100


def _shown(value: Any) -> str:
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
