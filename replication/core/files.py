"""The only reader and writer of files; every write is atomic.

A file appears under its name only when it is whole: it is written beside its place,
flushed to disk and renamed. A killed process leaves at most a `.partial` file, which
nothing reads.
"""

import copy
import hashlib
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as _safetensors_bytes

if TYPE_CHECKING:  # what needs no PyTorch does not wait for it
    import torch

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
        self.problems = [printable(line) for line in lines]
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type["BadInput"], tuple[list[str]]]:
        """As lines, also out of another process."""
        return BadInput, (self.problems,)


def printable(line: str) -> str:
    """One line, not too long, of signs that print."""
    shown = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in shown
    )


@contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a place to write to that becomes `path` when the block ends well.

    Raises BadInput: the folder cannot be created or written to, or the disk is full.
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
    """Read UTF-8 text. Raises BadInput: the file is missing or is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"{path}: expected a file, found nothing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: expected UTF-8 text, got {error}{remedy(path)}"
        ) from None


def write_json(path: PathLike, value: Any) -> None:
    """Write JSON with sorted keys; a number that is not finite becomes null."""
    text = json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: PathLike) -> Any:
    """Read JSON. Raises BadInput: the file is missing or is not JSON."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "JSON", error) from None


def _unreadable(path: PathLike, expected: str, error: BaseException) -> BadInput:
    got = f"{first_line(error)}{remedy(path)}"
    return BadInput(f"{path}: expected {expected}, got {got}")


def remedy(path: PathLike) -> str:
    """What a reader is told to do about a file that a stage made; nothing of others."""
    made_here = any(part in _MADE_HERE for part in Path(path).parts)
    return "; delete it and call again: it is made anew" if made_here else ""


def beginning(path: PathLike) -> str:
    """What tells a web page, a pointer to a file or an empty one: size and first bytes.

    Raises BadInput: it is no file, or not to be read.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(24)
    except OSError as error:
        raise BadInput(f"{path}: expected a file, got {error.strerror}") from None
    size = Path(path).stat().st_size
    return f"{size:,} bytes that begin with {start!r}" if size else "an empty file"


def first_line(error: BaseException) -> str:
    """Of what an error says; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def plain(value: Any) -> Any:
    """Arrays, settings and containers as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # of numpy or PyTorch
        return plain(value.tolist())
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def read_yaml(path: PathLike) -> Any:
    """Read YAML 1.2, in which `1e-4` is a number, as DVC reads it.

    Raises BadInput: the file is missing or is not YAML; the line and column are named.
    """
    try:
        return copy.deepcopy(_parsed(read_text(path)))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = (error.problem or str(error)).splitlines()[0]
        raise BadInput(f"{path}: expected YAML, got {problem}{where}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: expected YAML, got {first_line(error)}") from None


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """YAML's pure parser takes a tenth of a second for a recipe: once for each text."""
    return YAML(typ="safe", pure=True).load(text)


def write_arrays(
    path: PathLike,
    arrays: Mapping[str, "np.ndarray | torch.Tensor"],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays, and JSON-able facts about them, as safetensors."""
    on_cpu = {
        name: np.asarray(
            value.detach().cpu() if hasattr(value, "detach") else value,
            order="C",
        )
        for name, value in sorted(arrays.items())
    }
    # One entry: the order of several is another in every process.
    header = {"about": json.dumps(plain(about or {}), sort_keys=True)}
    write_bytes(path, _safetensors_bytes(on_cpu, metadata=header))


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    """Read every array of a safetensors file.

    Raises BadInput: the file is missing, truncated or not safetensors.
    """
    with _opened(path) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def read_about(path: PathLike) -> dict[str, Any]:
    """Read the facts that `write_arrays` kept in the header; none in another's file.

    Raises BadInput: the file is missing, truncated or not safetensors.
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
        got = f"{beginning(path)}: {first_line(error)}{remedy(path)}"
        raise BadInput(f"{path}: expected safetensors, got {got}") from None


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

    Raises BadInput: the file is missing or not a table.
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


def content_hash(*contents: Any) -> str:
    """SHA-256, 16 hexadecimal digits, of JSON-able values and the files of paths."""
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            with content.open("rb") as file:  # by parts: features can be gigabytes
                part = hashlib.file_digest(file, "sha256")
        else:
            text = json.dumps(plain(content), sort_keys=True)
            part = hashlib.sha256(text.encode())
        digest.update(part.digest())
    return digest.hexdigest()[:16]
