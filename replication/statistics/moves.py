"""What one run changed against another: same test images, same seeds.

What a table says of a method in Overall rests on one bit a test image, right or wrong.
These bits are kept with the results, a kilobyte for 10,000 images, so that a later run
is compared image by image and not by two means.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import content_hash
from replication.samples.predictions import paired
from replication.statistics.intervals import estimate
from replication.statistics.results import PROTOCOLS, Cell, Measurement, estimated
from replication.statistics.verdicts import RISK, holm

MORE, NOISE = "more than noise", "noise"


@dataclass(frozen=True)
class Move:
    """A number of two runs in Overall: in the one before, now, and paired now - before.

    Fields: Cells over the `seeds` that both have; `change` has the verdict, which is
    that of all moves judged at once (Holm).
    """

    before: Cell
    now: Cell
    change: Cell
    seeds: tuple[int, ...]


def decisions(predictions: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Whether each method decides each test image rightly.

    Args:
        predictions: method -> what it wrote, under the protocols that it has.

    Returns:
        `labels`, `right` (protocol -> method -> an entry a seed) and `seeds`; an entry
        is a key of `arrays`, which has what is the same once.
    """
    arrays: dict[str, str] = {}

    def key_of(array: np.ndarray) -> str:
        packed = b64encode(zlib.compress(array.tobytes())).decode()
        key = content_hash(packed)
        arrays[key] = packed
        return key

    right: dict[str, dict[str, list[str]]] = {}
    for protocol in PROTOCOLS:
        having = {
            method: table
            for method, table in predictions.items()
            if (table["protocol"] == protocol).any()
        }
        pairs = paired(having, protocol)
        right[protocol] = {
            method: [key_of(np.packbits(row)) for row in answers == pairs.labels]
            for method, answers in pairs.of.items()
        }
    labels = key_of(pairs.labels.astype(np.int32))
    return {"labels": labels, "right": right, "seeds": pairs.seeds, "arrays": arrays}


def gathered(tables: Iterable[Measurement]) -> dict[str, Any]:
    """Decisions of every section: benchmark -> section -> its own, and all `arrays`."""
    gathered: dict[str, Any] = {"arrays": {}, "of": {}}
    for table in tables:
        if table.decisions:
            own = dict(table.decisions)
            gathered["arrays"] |= own.pop("arrays")
            gathered["of"].setdefault(table.benchmark, {})[table.section] = own
    return gathered


def moves(
    before: Mapping[str, Any],
    now: Sequence[Measurement],
    asked: Callable[[Cell], bool] = lambda cell: True,
) -> list[Move]:
    """Every number in Overall of which a decision on a test image changed.

    A number that several sections have counts once, where it comes first. One on other
    test images, or without a seed in common, is left out. Differences that moved as
    one, since what is subtracted stayed, are judged as one.

    Args:
        before: what `gathered` made of the run before.
        now: measurements of this run.
        asked: whether a Cell is of interest.
    """
    moved: dict[str, Move] = {}
    for table in now:
        old = before["of"].get(table.benchmark, {}).get(table.section)
        if old and table.decisions and old["labels"] == table.decisions["labels"]:
            old = old | {"arrays": before["arrays"]}
            for cell in table.cells:
                if cell.metric == "overall" and asked(cell):
                    for key, move in _moved(cell, old, table.decisions):
                        moved.setdefault(f"{table.benchmark} {key}", move)
    alike = {_change(move): move.change.p_value for move in moved.values()}
    judged_at_once = dict(zip(alike, holm([*alike.values()]), strict=True))
    return [
        replace(move, change=replace(move.change, verdict=MORE if p < RISK else NOISE))
        for move in moved.values()
        for p in [judged_at_once[_change(move)]]
    ]


def _change(move: Move) -> tuple[str | None, ...]:
    """Equal where two numbers moved as one."""
    ends = (move.change.mean, move.change.low, move.change.high)
    return (move.now.benchmark, *(f"{end:.9f}" for end in ends))


def _moved(
    cell: Cell, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, Move]]:
    """A Cell's move and what it rests on; none where no decision changed."""
    seeds = [seed for seed in new["seeds"] if seed in old["seeds"]]
    methods = [cell.method, *([cell.minus] if cell.minus else [])]
    of = [run["right"][cell.protocol] for run in (old, new)]
    if not seeds or not all(method in run for run in of for method in methods):
        return
    keys = [
        [[run[m][side["seeds"].index(s)] for s in seeds] for m in methods]
        for run, side in zip(of, (old, new), strict=True)
    ]
    if keys[0] == keys[1]:
        return
    labels = np.frombuffer(_unpacked(new, new["labels"]), np.int32)
    weights = np.full(len(labels), 1 / len(labels))
    scores = []
    for side, rows in zip((old, new), keys, strict=True):
        first, *others = (
            np.stack([_bits(side, key, len(labels)) for key in row]) for row in rows
        )
        scores.append(first - others[0] if others else first)
    was, is_now, change = (
        estimate(some, weights, labels) for some in (*scores, scores[1] - scores[0])
    )
    yield (
        repr(keys),
        Move(
            before=replace(cell, **estimated(was)),
            now=replace(cell, **estimated(is_now)),
            change=replace(
                cell,
                **estimated(change),
                minus=cell.minus or "the run before",
                p_value=change.p_value,
                detectable=change.detectable,
            ),
            seeds=tuple(seeds),
        ),
    )


def _unpacked(side: Mapping[str, Any], key: str) -> bytes:
    return zlib.decompress(b64decode(side["arrays"][key]))


def _bits(side: Mapping[str, Any], key: str, count: int) -> np.ndarray:
    packed = np.frombuffer(_unpacked(side, key), np.uint8)
    return np.unpackbits(packed, count=count).astype(np.int8)
