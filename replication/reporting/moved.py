"""The block on what a what-if changed against the last commit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from replication.protocols import HEAD, LADDER
from replication.reporting.rendering import render
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    shown,
)
from replication.statistics.moves import MORE, Move
from replication.statistics.results import Cell, Measurement

# DLSA, by section: alone and minus what it is compared with. Other rows are folded.
_FIRST = {
    "table1": (("paco_dlsa",), (None, "paco", "paco_plain", "paco_refit")),
    "table2": (("full",), (None, "start", "plain", "balanced_softmax")),
    "ladder": (("drawn",), (None, HEAD)),
}
_HEADER = ["Overall", "Data", "Protocol", "Before", "Now", "Now minus before, paired"]


def of_interest(cell: Cell) -> bool:
    """DLSA's numbers; other rows of the tables; steps of the ladder."""
    if cell.section == "ladder" and cell.method in LADDER and cell.minus != HEAD:
        return cell.minus is not None or _first(cell)
    return _first(cell) or (cell.section != "ladder" and cell.minus is None)


def _first(cell: Cell) -> bool:
    methods, minus = _FIRST[cell.section]
    return cell.method in methods and cell.minus in minus


def _place(move: Move) -> tuple[str | None, bool, int]:
    """By benchmark and protocol; DLSA alone, then minus what it is compared with."""
    cell = move.now
    order = _FIRST[cell.section][1].index(cell.minus) if _first(cell) else 0
    return cell.benchmark, cell.protocol != "validated", order


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key, value before and value now of each setting that differs."""
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old or new, Mapping):
            yield from changed_settings(old or {}, new or {}, f"{above}{name}.")
        elif old != new:
            yield f"{above}{name}", old, new


def given_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting that is not null, by its dotted key."""
    return {key: value for key, _, value in changed_settings({}, params)}


def moved_block(
    settings: Sequence[tuple[str, Any, Any]],
    moves: Sequence[Move] | None,
    tables: Sequence[Measurement],
    titles: Mapping[str | None, str],
) -> str:
    """Markdown; empty where no setting differs.

    `moves`: None where the commit has no decisions to compare with; `tables`: of this
    run.
    """
    if not settings:
        return ""
    labels = {
        (table.section, cell.method): cell.label
        for table in tables
        for cell in table.cells
        if cell.minus is None
    }
    rows: dict[bool, list[list[str]]] = {True: [], False: []}
    for move in sorted(moves or (), key=_place):
        rows[_first(move.now)].append(_row(move, labels, titles))
    seeds = sorted({seed for move in moves or () for seed in move.seeds})
    return render(
        "reporting/templates/moved.md.j2",
        settings=[f"`{k}` from {_value(a)} to {_value(b)}" for k, a, b in settings],
        compared=moves is not None,
        moved=len(moves or ()),
        more=sum(move.change.verdict == MORE for move in moves or ()),
        seeds=", ".join(map(str, seeds)),
        first=markdown_table(_HEADER, rows[True], words=3) if rows[True] else "",
        others=markdown_table(_HEADER, rows[False], words=3) if rows[False] else "",
        other_count=len(rows[False]),
    )


def _row(
    move: Move, labels: Mapping[tuple[str, str], str], titles: Mapping[str | None, str]
) -> list[str]:
    cell = move.now
    names = [labels[cell.section, m] for m in (cell.method, cell.minus) if m]
    return [
        " minus ".join(names),
        titles[cell.benchmark],
        PROTOCOL_NAMES[cell.protocol],
        shown(move.before),
        shown(cell),
        f"{emphasised(move.change)}, {move.change.verdict}",
    ]


def _value(value: Any) -> str:
    return "the recipe's" if value is None else f"`{value}`"
