"""Cells and Claims as Markdown; fractions become percent here.

A cell of a table is one line. A number of the supplement has a column of its own.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from replication.statistics.results import Cell, Claim

METRIC_NAMES = {
    "overall": "Overall",
    "many": "Many",
    "medium": "Medium",
    "few": "Few",
    "mcc": "MCC",
    "nmi": "NMI",
}
PROTOCOL_NAMES = {"validated": "validated", "as_released": "as released"}
_TOO_NEAR = 0.0005  # an end that one digit would show as 0
_BAR = re.compile(r"(?<!\\)\|")
_SCALED = {"share per cell": (10_000, "errors per 10,000 images and cell")}


# ---- Numbers ----------------------------------------------------------------------


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent; what is not there is `n/a`."""
    if value is None or np.isnan(value):
        return "n/a"
    return f"{100 * value:.{digits}f}".replace("-", "−")


def points(value: float | None, digits: int = 1) -> str:
    """A difference of fractions in points, with its sign."""
    if value is None or np.isnan(value):
        return "n/a"
    return f"{100 * value:+.{digits}f}".replace("-", "−")


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
    return f"{_interval(times * ends, '{:.3g}')} {words}".strip()


def _is_value(result: Cell | Claim) -> bool:
    return result.unit == "fraction" and getattr(result, "minus", None) is None


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
    """As `shown`, bold where the interval leaves 0 out."""
    low, high = result.low, result.high
    apart = low is not None and high is not None and (low > 0 or high < 0)
    return f"**{shown(result)}**" if apart else shown(result)


def could_see(result: Cell | Claim) -> str:
    """The least difference that the run would have told from zero, in points."""
    value = result.detectable
    in_points = result.unit in ("points", "fraction")
    return percent(value) if in_points and value and np.isfinite(value) else ""


def tested(claim: Claim) -> str:
    """How a claim was tested: its reading first, its caveat last."""
    reading = f"{claim.reading}: " if claim.reading else ""
    caveat = f". **But: {claim.caveat}.**" if claim.caveat else ""
    return reading + claim.test + caveat


# ---- Tables -----------------------------------------------------------------------


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


def labels_of(cells: Iterable[Cell]) -> dict[str, str]:
    """Method -> label of every value, in the order of the cells."""
    return {cell.method: cell.label for cell in cells if cell.minus is None}


def claims_table(claims: Sequence[Claim]) -> str:
    """A row a test: under each protocol its estimate and verdict, side by side.

    Where tests depend on no protocol, or on one alone, there is one pair of columns.
    Beside `undecided` stands what could have been seen.
    """
    both = {claim.protocol for claim in claims} >= set(PROTOCOL_NAMES)
    where = " (stand-in)" if any(c.grade == "stand-in" for c in claims) else ""
    header = ["Sentence", "Test"]
    for name in PROTOCOL_NAMES.values() if both else ("",):
        words = f"{name}: estimate" if name else "estimate", f"verdict{where}"
        header += [words[0].capitalize(), words[1].capitalize()]
    body = []
    for name in dict.fromkeys(claim.id for claim in claims):
        tests = [claim for claim in claims if claim.id == name]
        row = [tests[0].statement, tested(tests[0])]
        for protocol in PROTOCOL_NAMES if both else (tests[0].protocol,):
            asked = [test for test in tests if test.protocol in (None, protocol)]
            row += _estimate_and_verdict(asked[0]) if asked else ["—", "—"]
        body.append(row)
    return markdown_table(header, body, words=2)


def _estimate_and_verdict(claim: Claim) -> list[str]:
    seen = could_see(claim) if claim.verdict == "undecided" else ""
    return [in_unit(claim), claim.verdict + (f", could see {seen}" if seen else "")]
