"""A wrong params.yaml is refused: a line for each dotted key, expected and got."""

import difflib
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from replication.core.files import BadInput, read_yaml

_UNION = ("[key]", "[path]", "[each]")  # what pydantic adds to a key's names
# What pydantic says around what it expected.
_BESIDE = re.compile("^\\w+ should (be|have|match) |(, got| or instance| after) .*")
# YAML's aliases make a few lines a list of 10^12 values: only its first are spelt out.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 4
_BRIEF.maxlist = _BRIEF.maxdict = 20
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 100

_Shape = TypeVar("_Shape", bound=BaseModel)


def read_shaped(path: Path, shape: type[_Shape]) -> _Shape:
    """Read YAML as a shape asks for it.

    Raises BadInput: one line for each unknown or missing key, wrong type or impossible
    value.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise BadInput(f"{path}: expected settings by name, got {_brief(raw)}")
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        raise BadInput(
            f"{path}: {_line(problem, shape)}" for problem in error.errors()
        ) from None


def _line(error: Mapping[str, Any], shape: type[BaseModel]) -> str:
    names = [name for name in error["loc"] if name not in _UNION]
    key = ".".join(map(str, names))
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return f"{key}: expected a known setting, got this one{_meant(names, shape)}"
    if error["type"] == "missing":
        return f"{key}: expected a value or null, got nothing"
    expected = _BESIDE.sub("", error["msg"])
    return f"{key}: expected {expected}, got {_brief(error['input'])}"


def _meant(names: list[Any], shape: Any) -> str:
    """A guess at the setting that was meant, for a mistyped key."""
    for name in names[:-1]:
        if not hasattr(shape := shape.model_fields[name].annotation, "model_fields"):
            return ""  # within a door
    close = difflib.get_close_matches(str(names[-1]), list(shape.model_fields), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _brief(value: Any) -> str:
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
