"""A benchmark as a list of images, before any is opened."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from replication.core.files import BadInput

SPLITS = ("train", "val", "test")
_NAMED = 10


@dataclass(frozen=True)
class Listing:
    """Every image of a benchmark, before any is opened.

    Fields: `root` of the paths; `paths` (N,) relative; `labels` (N,) int64 in [0, C);
    `splits` (N,) text out of SPLITS; `class_names` (C,); `origin`: which lists and
    which official layout the images were found by, None where a folder says it all;
    `notes`, a sentence for each thing that a reader might expect to be otherwise.
    """

    root: Path
    paths: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    class_names: tuple[str, ...]
    origin: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def one_level_down(root: Path, are_here: Callable[[Path], object]) -> str:
    """In words, the folders in the root that hold what was looked for in it; or ""."""
    there = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        with suppress(OSError, BadInput):
            there += [str(folder)] if folder.is_dir() and are_here(folder) else []
    which = "that" if len(there) == 1 else "one of them"
    return f"; such lie in {' and '.join(there)}: give {which}" if there else ""


def counted(names: Sequence[str], of: int, words: str) -> list[str]:
    """A sentence that counts names out of so many, and gives the first; or none."""
    if not len(names):
        return []
    return [f"{len(names):,} of {of:,} {words}, the first {names[0]}."]


def first_of(problems: Sequence[str], where: object, what: str) -> list[str]:
    """The first ten problems, and a line that counts the rest, `what` in the plural."""
    more = len(problems) - _NAMED
    rest = [f"{where}: {more:,} more {what} like these"] if more > 0 else []
    return [*problems[:_NAMED], *rest]
