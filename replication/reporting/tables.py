"""Cells and Claims as Markdown; fractions become percent here.

A cell of a table is one line. A number of the supplement has a column of its own.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from replication.statistics.results import Cell, Claim, pick
from replication.statistics.verdicts import DECIDED, UNDECIDED_AFTER

METRIC_NAMES = {
    "overall": "Overall",
    "many": "Many",
    "medium": "Medium",
    "few": "Few",
    "mcc": "MCC",
    "nmi": "NMI",
    "class_mean": "Class mean",
}
PROTOCOL_NAMES = {"validated": "validated", "as_released": "as released"}
UNDER = {
    "validated": "Where nothing is chosen on test images (*validated*)",
    "as_released": "With the authors' habits (*as released*)",
}
_TOO_NEAR = 0.0005  # an end that one digit would show as 0
_BAR = re.compile(r"(?<!\\)\|")
_SCALED = {"share per cell": (10_000, "per 10,000 and cell")}


# ---- Numbers ----------------------------------------------------------------------


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent; what is not there is `n/a`."""
    if value is None or np.isnan(value):
        return "n/a"
    return f"{100 * value:.{digits}f}".replace("-", "−")


def points(value: float | None) -> str:
    """A difference of fractions in points, with its sign."""
    if value is None or np.isnan(value):
        return "n/a"
    return f"{100 * value:+.1f}".replace("-", "−")


def shown(result: Cell | Claim) -> str:
    """Mean and 95 % interval in the result's unit: `30.6 ± 0.7`, `98.5 [96.3, 100.0]`.

    A value is in percent; a difference or a Claim of unit `points` in signed points,
    with one digit more where an end is too near 0 to show its side; anything else as a
    plain number with its unit. Where the interval has no end, the mean alone.
    """
    ends = np.array([result.mean, result.low, result.high], dtype=float)
    ends[~np.isfinite(ends)] = np.nan
    if np.isnan(ends[0]):
        return "n/a"
    if _is_value(result):
        return _interval(100 * ends, "{:.1f}")
    if result.unit in ("points", "fraction"):
        near = (abs(ends[1:]) > 0) & (abs(ends[1:]) < _TOO_NEAR)
        return _interval(100 * ends, "{:+.2f}" if near.any() else "{:+.1f}")
    times, words = _SCALED.get(result.unit, (1, result.unit))
    return f"{_interval(times * ends, _digits(times * ends))} {words}".strip()


def _is_value(result: Cell | Claim) -> bool:
    return result.unit == "fraction" and getattr(result, "minus", None) is None


def _digits(ends: np.ndarray) -> str:
    """Two digits of the interval; of a number without one, three."""
    width = ends[2] - ends[1]
    if not 1e-3 < width < 1e3:
        return "{:.3g}"
    return f"{{:.{max(0, 1 - int(np.floor(np.log10(width / 2))))}f}}"


def _interval(ends: np.ndarray, text: str) -> str:
    """`mean ± half`, or `mean [low, high]` where one half shows as another number."""
    mean, low, high = ends
    whole = text.format(mean)
    if not np.isnan(ends).any() and not low == high == mean:
        below, above = (text.format(half) for half in (mean - low, high - mean))
        if below == above or np.isclose(mean - low, high - mean, rtol=1e-6, atol=0):
            whole += f" ± {above.removeprefix('+')}"
        else:
            whole += f" [{text.format(low)}, {text.format(high)}]"
    return whole.replace("-", "−")


def in_unit(result: Cell | Claim) -> str:
    """As `shown`, and the unit named where it is points or percent."""
    if result.mean is None or np.isnan(result.mean):
        return "n/a"
    unit = {"points": " points", "fraction": " %"}.get(result.unit, "")
    minus = getattr(result, "minus", None)
    return shown(result) + (" points" if minus and unit == " %" else unit)


def emphasised(result: Cell | Claim) -> str:
    """As `shown`; a difference bold where its interval leaves 0 out."""
    low, high = result.low, result.high
    apart = low is not None and high is not None and (low > 0 or high < 0)
    apart = apart and getattr(result, "minus", "") is not None
    return f"**{shown(result)}**" if apart else shown(result)


def entry(
    cells: Iterable[Cell],
    show: Callable[[Cell], str] = emphasised,
    missing: str = "—",
    **wanted: Any,
) -> str:
    """The first Cell with these fields, for a table; `missing` where there is none."""
    cell = pick(cells, **wanted)
    return show(cell) if cell else missing


def under_protocols(
    cells: Sequence[Cell], show: Callable[[Cell], str] = emphasised, **wanted: Any
) -> list[str]:
    """As `entry`, under each protocol."""
    return [entry(cells, show, protocol=key, **wanted) for key in PROTOCOL_NAMES]


def protocol_headings(*columns: str) -> list[str]:
    """Of `under_protocols`: each column under each protocol."""
    return [f"{name}, {words}" for name in columns for words in PROTOCOL_NAMES.values()]


def does(claim: Claim, up: str = "raise", down: str = "lower") -> str:
    """What a claim found, in words: `raises`, `is not shown to change`.

    One whose own interval leaves 0 out, but not with all tests judged at once, `seems
    to`. A claim that was not run found nothing.
    """
    if claim.verdict == UNDECIDED_AFTER:
        return f"seems to {up if claim.mean > 0 else down}"
    decided = {"supported": f"{up}s", "contradicted": f"{down}s"}
    return decided.get(claim.verdict, "is not shown to change")


# ---- Tables -----------------------------------------------------------------------


def bold(verdict: str) -> str:
    """A verdict, bold where it is decided."""
    return f"**{verdict}**" if verdict in DECIDED else verdict


def data_of(claim: Claim, titles: Mapping[str, str]) -> str:
    """On what a claim was tested, and what kind of evidence that is."""
    if claim.grade == "none needed":
        return claim.grade
    return f"{titles[claim.benchmark]}, {claim.grade.removeprefix('real data, ')}"


def reading_of(claim: Claim) -> str:
    """Of its sentence, in brackets and as short as it can be; empty: it has one."""
    return f" ({claim.reading.split(',')[0]})" if claim.reading else ""


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1
) -> str:
    """A Markdown table: columns of words to the left, those of numbers to the right.

    Bars in cells, as in P(h|X), are escaped where they are not yet.

    Args:
        words: how many columns hold words; they come first.
    """
    lines = [_line(header)]
    numbers = len(header) - words
    lines.append("|" + "|".join([":--"] * words + ["--:"] * numbers) + "|")
    return "\n".join([*lines, *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_BAR.sub(r"\\|", cell) for cell in cells) + " |"


def claims_table(claims: Sequence[Claim]) -> str:
    """A row a test: under each protocol its estimate and verdict, side by side.

    Where tests depend on no protocol, or on one alone, there is one pair of columns.
    """
    both = {claim.protocol for claim in claims} >= set(PROTOCOL_NAMES)
    header = ["Sentence"]
    for name in PROTOCOL_NAMES.values() if both else ("",):
        header += [f"{name} estimate".strip().capitalize(), "Verdict"]
    body = []
    for name in dict.fromkeys(claim.id for claim in claims):
        tests = [claim for claim in claims if claim.id == name]
        row = [tests[0].statement.removesuffix(".") + reading_of(tests[0])]
        for protocol in PROTOCOL_NAMES if both else (tests[0].protocol,):
            test = pick(tests, protocol=protocol) or pick(tests, protocol=None)
            row += [in_unit(test), test.verdict] if test else ["—", "—"]
        body.append(row)
    return markdown_table(header, body)


def seen(cells: Iterable[Cell | Claim]) -> str:
    """What a run could have told from zero, in a line; empty where nothing is known."""
    words = []
    for protocol, name in PROTOCOL_NAMES.items():
        known = [c.detectable for c in cells if c.protocol == protocol and c.detectable]
        of = [value for value in known if np.isfinite(value)]
        if of:
            least, most = (percent(end) for end in (min(of), max(of)))
            words.append(f"{least if least == most else f'{least} to {most}'} ({name})")
    if not words:
        return ""
    joined = " or ".join(words)
    return f"A true difference of {joined} points would be found 80 times in 100."
