"""The only reader and writer of files; every write is atomic.

A file appears under its name only when it is whole: it is written beside its place,
flushed to disk and renamed. A killed process leaves at most a `.partial` file, which
nothing reads.
"""

import argparse
import copy
import hashlib
import io
import json
import os
import pickle
import re
import uuid
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as _safetensors_bytes

PathLike = str | os.PathLike[str]
_LONGEST = 600
_MADE_HERE = (".resume", "outputs")  # by stages, which make them again


class BadInput(Exception):
    """Something a user gave cannot be used; the text is what the user reads.

    One problem is one line: what, where, expected, got. Several problems found in one
    pass are raised together, a line each. What a file calls its parts can hold line
    breaks and terminal codes: they are shown as escapes.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        lines = [problems] if isinstance(problems, str) else problems
        self.problems = [_printable(line) for line in lines]
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["BadInput"], tuple[list[str]]]:
        """As lines, also out of another process."""
        return BadInput, (self.problems,)


def _printable(line: str) -> str:
    shown = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in shown
    )


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a place to write to that becomes `path` when the block ends well.

    Raises:
        BadInput: the folder cannot be created or written to, or the disk is full.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write bytes atomically."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def read_text(path: PathLike) -> str:
    """Read UTF-8 text.

    Raises:
        BadInput: the file is missing or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: expected a file, found nothing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: expected UTF-8 text, got {error}{_remedy(path)}"
        ) from None


def write_json(path: PathLike, value: Any) -> None:
    """Write JSON with sorted keys; a number that is not finite becomes null."""
    text = json.dumps(_plain(value), indent=2, sort_keys=True, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: PathLike) -> Any:
    """Read JSON.

    Raises:
        BadInput: the file is missing or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "JSON", error) from None


def _unreadable(path: PathLike, expected: str, error: BaseException) -> BadInput:
    got = f"{_first_line(error)}{_remedy(path)}"
    return BadInput(f"{path}: expected {expected}, got {got}")


def _remedy(path: PathLike) -> str:
    made_here = any(part in _MADE_HERE for part in Path(path).parts)
    return "; delete it and call again: it is made anew" if made_here else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | torch.Tensor):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def read_yaml(path: PathLike) -> Any:
    """Read YAML 1.2, in which `1e-4` is a number, as DVC reads it.

    Raises:
        BadInput: the file is missing or is not YAML; the line and column are named.
    """
    try:
        return copy.deepcopy(_parsed(read_text(path)))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = (error.problem or str(error)).splitlines()[0]
        raise BadInput(f"{path}: expected YAML, got {problem}{where}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: expected YAML, got {_first_line(error)}") from None


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """YAML's pure parser takes a tenth of a second for a recipe: once for each text."""
    return YAML(typ="safe", pure=True).load(text)


def write_arrays(
    path: PathLike,
    arrays: Mapping[str, np.ndarray | torch.Tensor],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays, and JSON-able facts about them, as safetensors."""
    plain = {
        name: np.asarray(
            value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value,
            order="C",
        )
        for name, value in sorted(arrays.items())
    }
    # One entry: the order of several is another in every process.
    header = {"about": json.dumps(_plain(about or {}), sort_keys=True)}
    write_bytes(path, _safetensors_bytes(plain, metadata=header))


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    """Read every array of a safetensors file.

    Raises:
        BadInput: the file is missing, truncated or not safetensors.
    """
    with _opened(path) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def read_about(path: PathLike) -> dict[str, Any]:
    """Read the facts that `write_arrays` kept in the header; none in another's file.

    Raises:
        BadInput: the file is missing, truncated or not safetensors.
    """
    with _opened(path) as opened:
        header = opened.metadata() or {}
    try:
        about = json.loads(header.get("about", "{}"))
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


@contextmanager
def _opened(path: PathLike) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="numpy") as opened:
            yield opened
    except FileNotFoundError:
        raise BadInput(f"{path}: expected a file, found nothing") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise _unreadable(path, "safetensors", error) from None


def write_table(path: PathLike, table: pd.DataFrame) -> None:
    """Write a table: `.csv` as text, anything else by column as safetensors.

    A column of text is kept as codes with its alphabet in the header, so that ten
    million predictions are a few arrays and not a few hundred megabytes of text.
    """
    if Path(path).suffix == ".csv":
        text = table.to_csv(
            index=False, lineterminator="\n", float_format="%.9g", na_rep="nan"
        )
        write_text(path, text)
        return
    arrays: dict[str, np.ndarray] = {}
    alphabets: dict[str, list[str]] = {}
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            arrays[name] = column.to_numpy()
        else:
            codes, alphabet = pd.factorize(column, sort=True)
            arrays[name] = codes.astype(np.int32)
            alphabets[name] = [str(word) for word in alphabet]
    write_arrays(path, arrays, {"columns": list(table.columns), "text": alphabets})


def read_table(path: PathLike) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        BadInput: the file is missing or not a table.
    """
    if Path(path).suffix == ".csv":
        return _read_csv(path)
    arrays, about = read_arrays(path), read_about(path)
    if "columns" not in about:
        raise BadInput(f"{path}: expected a table, got arrays {sorted(arrays)}")
    table = pd.DataFrame({name: arrays[name] for name in about["columns"]})
    for name, alphabet in about["text"].items():
        table[name] = pd.Categorical.from_codes(table[name], alphabet)
    return table


def _read_csv(path: PathLike) -> pd.DataFrame:
    """A missing number is `nan`, as we write it; text such as `NA` stays text."""
    try:
        return pd.read_csv(
            io.StringIO(read_text(path)), keep_default_na=False, na_values=["nan"]
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise _unreadable(path, "a table", error) from None


def write_state(path: PathLike, state: Mapping[str, Any]) -> None:
    """Write a training state (tensors in nested containers) atomically."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes(path, buffer.getvalue())


def read_state(path: PathLike) -> dict[str, Any]:
    """Read a training state; nothing inside the file is executed.

    Raises:
        BadInput: the file is missing, truncated, or holds more than plain tensors.
    """
    try:
        _check_zip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it then refuses, or of its age
            with torch.serialization.safe_globals([argparse.Namespace]):  # timm's
                return torch.load(Path(path), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput(f"{path}: expected a file, found nothing") from None
    except pickle.UnpicklingError as error:
        needs = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise BadInput(
            f"{path}: expected a file of plain tensors, got one that needs "
            f"{needs[1] if needs else 'to run code'}; nothing in a file is run here: "
            "re-save its state_dict alone as .safetensors"
        ) from None
    except Exception as error:  # torch raises half a dozen kinds on a broken file
        got = f"{type(error).__name__}: {_first_line(error)}{_remedy(path)}"
        raise BadInput(f"{path}: expected a file of plain tensors, got {got}") from None


def _check_zip(path: PathLike) -> None:
    """Hold what `torch.save` wrote against its checksums: `torch.load` does not."""
    if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
        raise zipfile.BadZipFile(f"{damaged} does not fit its checksum")


def content_hash(*contents: Any) -> str:
    """SHA-256, 16 hexadecimal digits, of JSON-able values and the files of paths."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            with content.open("rb") as file:  # by parts: features can be gigabytes
                part = hashlib.file_digest(file, "sha256")
        else:
            text = json.dumps(_plain(content), sort_keys=True)
            part = hashlib.sha256(text.encode())
        digest.update(part.digest())
    return digest.hexdigest()[:16]
