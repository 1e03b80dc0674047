"""Cells and Claims as Markdown; fractions become percent here.

A cell of a table is one line. A number of the supplement has a column of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from replication.statistics.results import Cell, Claim, pick
from replication.statistics.verdicts import stands

METRIC_NAMES = {
    "overall": "Overall",
    "many": "Many",
    "medium": "Medium",
    "few": "Few",
    "mcc": "MCC",
    "nmi": "NMI",
}
PROTOCOL_NAMES = {
    "paper": "paper (nothing chosen on test data)",
    "released_code": (
        "released code (epochs chosen on the test set, and the authors' other habits)"
    ),
}
_TOO_NEAR = 0.0005  # an end that one digit would show as 0
_BAR = re.compile(r"(?<!\\)\|")
_SCALED = {"share per cell": (10_000, "errors per 10,000 images and cell")}
_BETTER = {"supported": "yes", "contradicted": "no, worse"}


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

    A value is in percent, without the part of its interval that no value can reach; a
    difference or a Claim of unit `points` in signed points, with one digit more where
    an end is too near 0 to show its side; a `log ratio` as the ratio; anything else as
    a plain number with its unit. Where the interval has no end, the mean alone.
    """
    mean, (low, high) = result.mean, map(_finite, (result.low, result.high))
    if mean is None or np.isnan(mean):
        return "n/a"
    if result.unit == "log ratio":
        ends = (None if end is None else float(np.exp(end)) for end in (low, high))
        ratio = dict(zip(("low", "high"), ends, strict=True))
        words = "times as long"
        return shown(replace(result, mean=float(np.exp(mean)), unit=words, **ratio))
    if _is_value(result):
        least = -1.0 if getattr(result, "metric", "") == "mcc" else 0.0
        low = None if low is None else max(low, least)
        high = None if high is None else min(high, 1.0)
        return _interval(100 * mean, _times(low), _times(high), "{:.1f}")
    if result.unit in ("points", "fraction"):
        near = any(end and abs(end) < _TOO_NEAR for end in (low, high))
        text = "{:+.2f}" if near else "{:+.1f}"
        return _interval(100 * mean, _times(low), _times(high), text)
    times, words = _SCALED.get(result.unit, (1, result.unit))
    ends = (None if end is None else times * end for end in (low, high))
    return f"{_interval(times * mean, *ends, '{:.3g}')} {words}".strip()


def _is_value(result: Cell | Claim) -> bool:
    return result.unit == "fraction" and getattr(result, "minus", None) is None


def _finite(end: float | None) -> float | None:
    return end if end is not None and np.isfinite(end) else None


def _times(end: float | None) -> float | None:
    return None if end is None else 100 * end


def _interval(mean: float, low: float | None, high: float | None, text: str) -> str:
    """`mean ± half`, or `mean [low, high]` where one half shows as another number."""
    whole = text.format(mean)
    if low is not None and high is not None and not low == high == mean:
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
    if value is None or not np.isfinite(value):
        return ""
    if result.unit not in ("points", "fraction"):
        return ""
    return f"could see {percent(value)}"


def marked(claim: Claim) -> str:
    """A verdict, with a mark where it does not stand after Holm's correction."""
    return claim.verdict + (" †" if stands(claim) is False else "")


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


def value_table(
    cells: Sequence[Cell],
    protocol: str | None,
    metrics: Sequence[str],
    rows: Mapping[str, str],
) -> str:
    """A row a method: ours with its interval, beside it print's number, the verdict.

    Args:
        rows: method -> label of every row; one without cells was not run.
    """
    values = [cell for cell in cells if cell.minus is None]
    printed = {cell.metric for cell in values if cell.printed is not None}
    header = ["Method"]
    for metric in metrics:
        header += [METRIC_NAMES[metric]] + ["printed"] * (metric in printed)
    body = []
    for method, label in rows.items():
        row, verdicts = [label], []
        for metric in metrics:
            cell = pick(values, method=method, protocol=protocol, metric=metric)
            row.append(shown(cell) if cell else "not run")
            if metric in printed:
                row.append(_printed(cell, percent))
            verdicts.append(cell.verdict if cell else None)
        body.append(row + [_joined(verdicts)] * bool(printed))
    header += ["Verdict on the numbers"] * bool(printed)
    return markdown_table(header, body)


def difference_table(
    cells: Sequence[Cell],
    protocol: str | None,
    metrics: Sequence[str],
    first: str = "Full model minus",
) -> str:
    """A row a subtracted method, paired, in points; what Overall could have shown.

    Args:
        cells: those with `minus` are shown, under their `label`: the words for what is
            subtracted.
        first: heading of the labels.
    """
    gaps = [cell for cell in cells if cell.minus is not None and cell.metric in metrics]
    printed = {cell.metric for cell in gaps if cell.printed is not None}
    header = [first]
    for metric in metrics:
        header += [METRIC_NAMES[metric]] + ["printed"] * (metric in printed)
    header += ["Overall: could see", "Overall: is the full model better?"]
    body = []
    for minus, label in {cell.minus: cell.label for cell in gaps}.items():
        row = [label]
        for metric in metrics:
            cell = pick(gaps, minus=minus, protocol=protocol, metric=metric)
            row.append(emphasised(cell) if cell else "not run")
            if metric in printed:
                row.append(_printed(cell, points))
        overall = pick(gaps, minus=minus, protocol=protocol, metric="overall")
        verdict = (overall.verdict if overall else None) or "not run"
        row.append(could_see(overall).removeprefix("could see ") if overall else "")
        body.append([*row, _BETTER.get(verdict, verdict)])
    return markdown_table(header, body)


def _printed(cell: Cell | None, show: Any) -> str:
    return "—" if cell is None or cell.printed is None else show(cell.printed)


def protocol_table(cells: Sequence[Cell], metrics: Sequence[str]) -> str:
    """What choosing on the test set and the other habits of the code were worth."""
    body = []
    for method, label in labels_of(cells).items():
        row = [label]
        for metric in metrics:
            pair = [
                pick(cells, method=method, protocol=name, metric=metric, minus=None)
                for name in ("released_code", "paper")
            ]
            known = all(cell and cell.mean is not None for cell in pair)
            row.append(points(pair[0].mean - pair[1].mean) if known else "n/a")
        body.append(row)
    return markdown_table(
        ["Method"] + [METRIC_NAMES[metric] for metric in metrics], body
    )


def claims_table(claims: Sequence[Claim]) -> str:
    """A row a test: under each protocol its estimate and verdict, side by side.

    Where tests depend on no protocol, or on one alone, there is one pair of columns.
    Beside `undecided` stands what could have been seen; † marks what does not stand
    after Holm's correction.
    """
    names = {"paper": "paper: ", "released_code": "released code: "}
    both = {claim.protocol for claim in claims} >= set(names)
    where = " (stand-in)" if any(c.grade == "stand-in" for c in claims) else ""
    header = ["Sentence", "Test"]
    for name in names.values() if both else ("",):
        words = f"{name}estimate", f"{name}verdict{where}"
        header += [text[0].upper() + text[1:] for text in words]
    body = []
    for name in dict.fromkeys(claim.id for claim in claims):
        tests = [claim for claim in claims if claim.id == name]
        row = [tests[0].statement, tests[0].test]
        for protocol in names if both else (tests[0].protocol,):
            asked = [test for test in tests if test.protocol in (None, protocol)]
            row += _estimate_and_verdict(asked[0]) if asked else ["—", "—"]
        body.append(row)
    return markdown_table(header, body, words=2)


def _estimate_and_verdict(claim: Claim) -> list[str]:
    seen = could_see(claim) if claim.verdict == "undecided" else ""
    return [in_unit(claim), ", ".join(filter(None, (marked(claim), seen)))]


def _joined(verdicts: Sequence[str | None]) -> str:
    """Verdicts of one row, said once where they agree."""
    known = list(dict.fromkeys(verdict for verdict in verdicts if verdict))
    return ", ".join(known) if known else "—"


# ---- Table 2's own ----------------------------------------------------------------


def timing_table(
    timing: Mapping[str, Mapping[str, Mapping[str, float]]], labels: Mapping[str, str]
) -> str:
    """A row a variant: what its filter costs in training and inference."""
    header = ["Variant", "Training, s an epoch", "Inference, ms per 1,000 samples"]
    rows = []
    for variant, label in labels.items():
        if variant in timing:
            seeds = timing[variant].values()
            epoch = _mean(seeds, "epoch_seconds")
            inference = 1000 * _mean(seeds, "seconds_per_1000")
            known = ("n/a" if np.isnan(v) else f"{v:.3g}" for v in (epoch, inference))
            rows.append([label, *known])
    return markdown_table(header, rows)


def diagnostics_table(diagnostics: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A row a variant and depth: the filter's clusters and whom it lets go.

    Means over seeds.
    """
    header = [
        "Variant",
        "Depth",
        "Epoch kept",
        "Pure clusters",
        "Empty clusters",
        "Largest cluster",
        "Purity, %",
        "log P(x), test",
        "Leave, test, %",
        "Many leave, %",
        "Medium leave, %",
        "Few leave, %",
        "AUROC Few/Many",
    ]
    rows = []
    for variant, seeds in diagnostics.items():
        for depth, filters in enumerate(
            zip(*(run["filters"] for run in seeds.values()), strict=True), start=1
        ):
            tests = [fitted["splits"]["test"] for fitted in filters]
            groups = [test["leaving_by_group"] for test in tests]
            rows.append(
                [
                    labels[variant],
                    str(depth),
                    f"{_mean(filters, 'epoch'):.0f}",
                    f"{_mean(filters, 'pure_clusters'):.1f}",
                    f"{_mean(filters, 'empty_clusters'):.0f}",
                    f"{_mean(filters, 'largest'):.0f}",
                    percent(_mean(filters, "purity")),
                    f"{_mean(tests, 'log_likelihood'):.1f}".replace("-", "−"),
                    percent(_mean(tests, "leaving"), 0),
                    *(percent(_mean(groups, name), 0) for name in _GROUPS),
                    f"{_mean(tests, 'auroc_tail'):.2f}",
                ]
            )
    return markdown_table(header, rows)


_GROUPS = ("many", "medium", "few")


def _mean(items: Iterable[Mapping[str, Any]], name: str) -> float:
    values = [item[name] for item in items if item[name] is not None]
    return float(np.mean(values)) if values else float("nan")
