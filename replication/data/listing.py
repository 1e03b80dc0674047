"""A benchmark as a list of images, before any is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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


def first_of(problems: Sequence[str], where: object, what: str) -> list[str]:
    """The first ten problems, and a line that counts the rest, `what` in the plural."""
    more = len(problems) - _NAMED
    rest = [f"{where}: {more:,} more {what} like these"] if more > 0 else []
    return [*problems[:_NAMED], *rest]
