"""Records as Markdown tables; fractions become percent here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

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


def with_interval(record: Mapping[str, Any]) -> str:
    """Mean and 95 % interval: `41.2 [40.1, 42.3]`, signed for a difference.

    The mean alone where the interval has no end: one seed. The part of an accuracy's
    interval that no accuracy can reach is left out. Where the end of a difference is
    too near 0 to show its side, one digit more is shown.
    """
    mean, ends = record["mean"], [record["low"], record["high"]]
    show = points if record["kind"] == "difference" else percent
    if mean is None or np.isnan(mean):
        return "n/a"
    if not all(end is not None and np.isfinite(end) for end in ends):
        return show(mean)
    if record["kind"] == "difference":
        digits = 2 if any(end and abs(end) < _TOO_NEAR for end in ends) else 1
        shown = [points(one, digits) for one in (mean, *ends)]
    else:
        least = -1.0 if record.get("metric") == "mcc" else 0.0
        shown = [percent(one) for one in (mean, max(ends[0], least), min(ends[1], 1.0))]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


_TOO_NEAR = 0.0005


def could_see(record: Mapping[str, Any], digits: int = 1) -> str:
    """The least difference that the run would have told from zero, in points."""
    value = record.get("detectable")
    if value is None or not np.isfinite(value):
        return ""
    return f"could see {percent(value, digits)}"


def marked(claim: Mapping[str, Any]) -> str:
    """A verdict, with a mark where it does not stand after Holm's correction."""
    return claim["verdict"] + (" †" if stands(claim) is False else "")


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


_BAR = re.compile(r"(?<!\\)\|")


def find(
    records: Iterable[Mapping[str, Any]], **wanted: str
) -> Mapping[str, Any] | None:
    """The one record with these fields, or None."""
    for record in records:
        if all(record[name] == value for name, value in wanted.items()):
            return record
    return None


def methods_of(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Method -> label, in the order of the records."""
    return {record["method"]: record["label"] for record in records}


def value_table(
    records: Sequence[Mapping[str, Any]],
    protocol: str,
    metrics: Sequence[str],
    methods: Mapping[str, str],
) -> str:
    """A row a method: ours with its interval, the printed number below, the verdict.

    Args:
        methods: method -> label of every row; one without records was not run.
    """
    has_print = any(record["published"] is not None for record in records)
    header = ["Method"] + [METRIC_NAMES[metric] for metric in metrics]
    header += ["Verdict on the numbers"] if has_print else []
    rows = []
    for method, label in methods.items():
        row, verdicts = [label], []
        for metric in metrics:
            record = find(
                records, method=method, protocol=protocol, metric=metric, kind="value"
            )
            if record is None:
                row.append("not run")
                continue
            cell = with_interval(record)
            if record["published"] is not None:
                cell += f"<br>*printed {percent(record['published'])}*"
            row.append(cell)
            verdicts.append(record["verdict"])
        rows.append([*row, _joined(verdicts)] if has_print else row)
    return markdown_table(header, rows)


def difference_table(
    records: Sequence[Mapping[str, Any]], protocol: str, metrics: Sequence[str]
) -> str:
    """Full model minus each method, paired, in points; what could have been seen."""
    differences = [record for record in records if record["kind"] == "difference"]
    header = ["Full model minus"] + [METRIC_NAMES[metric] for metric in metrics]
    has_print = any(record["published"] is not None for record in differences)
    header += ["Overall, printed"] if has_print else []
    header.append("Overall: is the full model better?")
    rows = []
    for method, label in methods_of(differences).items():
        cells = {
            metric: find(differences, method=method, protocol=protocol, metric=metric)
            for metric in metrics
        }
        overall = cells["overall"]
        row = [label]
        row += [_difference(cell) if cell else "not run" for cell in cells.values()]
        if has_print:
            printed = overall["published"] if overall else None
            row.append("—" if printed is None else points(printed))
        row.append(_BETTER[overall["verdict"]] if overall else "not run")
        rows.append(row)
    return markdown_table(header, rows)


def _difference(gap: Mapping[str, Any]) -> str:
    return "<br>".join(filter(None, (with_interval(gap), could_see(gap))))


_BETTER = {
    "supported": "yes",
    "contradicted": "no, worse",
    "undecided": "undecided",
    "not run": "not run",
}


def claims_table(claims: Sequence[Mapping[str, Any]], where: str) -> str:
    """A row a sentence: its test, and under both protocols estimate and verdict.

    Beside `undecided` stands what could have been seen.
    """
    header = ["Sentence", "Test"]
    for name in ("paper", "released code"):
        header += [f"{name}: points", f"{name}: verdict{where}"]
    rows: dict[str, list[str]] = {}
    for claim in claims:
        row = rows.setdefault(claim["sentence"], [claim["sentence"], claim["test"]])
        row.append(with_interval({**claim, "kind": "difference"}))
        seen = could_see(claim) if claim["verdict"] == "undecided" else ""
        row.append(", ".join(filter(None, (marked(claim), seen))))
    return markdown_table(header, rows.values(), words=2)


def claims_list(claims: Sequence[Mapping[str, Any]], where: str) -> str:
    """A row a claim that does not depend on the protocol, in its own unit."""
    header = ["Sentence", "Test", "Estimate [95 %]", f"Verdict{where}"]
    rows = [
        [claim["sentence"], claim["test"], in_unit(claim), marked(claim)]
        for claim in claims
    ]
    return markdown_table(header, rows, words=2)


def in_unit(claim: Mapping[str, Any]) -> str:
    """Estimate and interval of a claim: points, or plain numbers with their unit."""
    if claim["mean"] is None or np.isnan(claim["mean"]):
        return "n/a"
    unit = claim.get("unit", "points")
    if unit == "points":
        return with_interval({**claim, "kind": "difference"}) + " points"
    if unit == "log ratio":
        return in_unit(as_ratio(claim))
    ends = [claim["low"], claim["high"]]
    known = all(end is not None and np.isfinite(end) for end in ends)
    mean, *ends = (
        f"{value:.3g}" for value in (claim["mean"], *(ends if known else ()))
    )
    text = mean + (f" [{', '.join(ends)}]" if known else "")
    return f"{text} {unit}".strip().replace("-", "−")


def as_ratio(record: Mapping[str, Any]) -> dict[str, Any]:
    """What was judged as the log of a ratio of times, as that ratio."""
    ratios = {
        name: None if record[name] is None else float(np.exp(record[name]))
        for name in ("mean", "low", "high")
    }
    return {**record, **ratios, "unit": "times as long"}


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


def protocol_table(records: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """What choosing on the test set and the other habits of the code were worth."""
    header = ["Method"] + [METRIC_NAMES[metric] for metric in metrics]
    rows = []
    for method, label in methods_of(records).items():
        row = [label]
        for metric in metrics:
            pair = [
                find(records, method=method, protocol=p, metric=metric, kind="value")
                for p in ("released_code", "paper")
            ]
            known = all(cell and cell["mean"] is not None for cell in pair)
            row.append(points(pair[0]["mean"] - pair[1]["mean"]) if known else "n/a")
        rows.append(row)
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
            tests = [one["splits"]["test"] for one in filters]
            groups = [one["leaving_by_group"] for one in tests]
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


def runs_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """A row a stage: which commit, device, time and memory its files came from."""
    header = ["Stage", "Commit", "Code as committed", "Device", "Seconds", "Memory, MB"]
    rows = [
        [
            run["stage"],
            (run["commit"] or "none")[:10],
            "yes" if run["clean"] else "**no**",
            run["device"],
            f"{run['seconds']:.0f}",
            str(run["peak_memory_mb"]),
        ]
        for run in runs
    ]
    return markdown_table(header, rows)


def _mean(items: Iterable[Mapping[str, Any]], name: str) -> float:
    values = [item[name] for item in items if item[name] is not None]
    return float(np.mean(values)) if values else float("nan")


def _joined(verdicts: Sequence[str | None]) -> str:
    """Verdicts of one row, said once where they agree."""
    known = list(dict.fromkeys(verdict for verdict in verdicts if verdict))
    return ", ".join(known) if known else "—"
