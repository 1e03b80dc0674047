"""What the pages of Table 1, Table 2 and Sect. 4 share: methods, both protocols."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from replication.reporting.figures import STYLE, interval_panel, svg_text
from replication.reporting.tables import (
    METRIC_NAMES,
    PROTOCOL_NAMES,
    could_see,
    emphasised,
    labels_of,
    markdown_table,
    percent,
    points,
    shown,
)
from replication.statistics.results import Cell, Claim, Measurement, pick
from replication.statistics.verdicts import UNDECIDED_AFTER

HEADS = {
    "own_head": "the network's own head, as PaCo trained it",
    "balanced_softmax": "a Balanced Softmax head fitted to the features",
}
HOW_JUDGED = (
    "*Supported*: the 95 % interval lies above zero; *contradicted*: below it; "
    "*undecided*: zero is inside; *undecided after correction*: it is not, but would "
    "be where all tests of all pages are judged at once (Holm's p-value is 5 % or "
    "more); *not run*: there is nothing to compare."
)
UNDER = {
    "validated": "Under protocol *validated*",
    "as_released": "Under protocol *as released*",
}
TITLE = {"x": 0.01, "ha": "left", "fontsize": 11, "fontweight": "bold"}
_EFFECTS = {
    "supported": "a gain",
    "contradicted": "a loss",
    "undecided": "undecided",
    UNDECIDED_AFTER: UNDECIDED_AFTER,
    "not run": "not measured",
}
MARKS = {"validated": (-0.16, "o"), "as_released": (0.16, "s")}


def beside_print(measured: Measurement) -> tuple[Cell, ...]:
    """The Cells as a page shows them: beside the stand-in stands no printed number."""
    if not measured.data["stand_in"]:
        return measured.cells
    return tuple(replace(cell, printed=None) for cell in measured.cells)


# ---- Tables -----------------------------------------------------------------------


def value_table(cells: Sequence[Cell], metrics: Sequence[str]) -> str:
    """A row a method: ours with its interval, beside it print's number, the verdict.

    A method that has other numbers as released has a second row.
    """
    values = [cell for cell in cells if cell.minus is None]
    printed = {cell.metric for cell in values if cell.printed is not None}
    body = []
    for method, label in labels_of(values).items():
        paper, released = (
            [
                pick(values, method=method, protocol=protocol, metric=metric)
                for metric in metrics
            ]
            for protocol in PROTOCOL_NAMES
        )
        rows = {label: paper}
        if [cell.per_seed for cell in paper] != [cell.per_seed for cell in released]:
            rows[f"{label}, as released"] = released
        for name, row in rows.items():
            verdicts = dict.fromkeys(cell.verdict for cell in row if cell.verdict)
            words = [", ".join(verdicts) or "—"] if printed else []
            body.append([name, *_beside(row, printed, shown, percent), *words])
    header = _header("Method", metrics, printed)
    return markdown_table(header + ["Verdict on the numbers"] * bool(printed), body)


def difference_table(
    cells: Sequence[Cell], protocol: str, metrics: Sequence[str], first: str
) -> str:
    """A row a subtracted method, paired, in points; what Overall could have shown.

    Args:
        first: heading of the labels.
    """
    gaps = [
        cell
        for cell in cells
        if cell.minus and cell.metric in metrics and cell.protocol == protocol
    ]
    printed = {cell.metric for cell in gaps if cell.printed is not None}
    body = []
    for minus, label in {cell.minus: cell.label for cell in gaps}.items():
        row = [pick(gaps, minus=minus, metric=metric) for metric in metrics]
        numbers = _beside(row, printed, emphasised, points)
        overall = pick(gaps, minus=minus, metric="overall")
        body.append([label, *numbers, could_see(overall) if overall else ""])
    header = [*_header(first, metrics, printed), "Overall: could see"]
    return markdown_table(header, body)


def _header(first: str, metrics: Iterable[str], printed: set[str]) -> list[str]:
    names = ([METRIC_NAMES[m]] + ["printed"] * (m in printed) for m in metrics)
    return [first, *(name for pair in names for name in pair)]


def _beside(row: Iterable[Cell], printed: set[str], ours: Any, theirs: Any) -> list:
    """Cells as text, each with print's number where its column has one."""
    texts = []
    for cell in row:
        texts.append(ours(cell))
        if cell.metric in printed:
            texts.append("—" if cell.printed is None else theirs(cell.printed))
    return texts


def diagnostics_table(diagnostics: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A row a variant, protocol and depth, means over seeds: clusters, who leaves."""
    columns = {
        "Epoch kept": ("{:.0f}", "epoch"),
        "of": ("{:.0f}", "epochs"),
        "Pure clusters": ("{:.1f}", "pure_clusters"),
        "Empty clusters": ("{:.0f}", "empty_clusters"),
        "Largest cluster": ("{:.0f}", "largest"),
        "Purity": ("{:.1%}", "purity"),
        "log P(x), test": ("{:.1f}", "splits", "test", "log_likelihood"),
        "Leave, test": ("{:.0%}", "splits", "test", "leaving"),
        **{
            f"{METRIC_NAMES[group]} leave": (
                "{:.0%}",
                *("splits", "test", "leaving_by_group", group),
            )
            for group in ("many", "medium", "few")
        },
        "AUROC Few/Many": ("{:.2f}", "splits", "test", "auroc_tail"),
    }
    rows = []
    for variant, seeds in diagnostics.items():
        for protocol, words in PROTOCOL_NAMES.items():
            of_seed = (run["filters"][protocol] for run in seeds.values())
            for depth, filters in enumerate(zip(*of_seed, strict=True), start=1):
                numbers = [_mean(filters, *column) for column in columns.values()]
                rows.append([labels[variant], words, str(depth), *numbers])
    return markdown_table(["Variant", "Protocol", "Depth", *columns], rows, words=2)


def _mean(filters: Iterable[Any], text: str, *path: str) -> str:
    """Mean of a number that lies on a path in each filter's diagnostics."""
    for name in path:
        filters = [fitted[name] for fitted in filters]
    values = [value for value in filters if value is not None]
    return text.format(np.mean(values)).replace("-", "−") if values else "n/a"


# ---- Figure -----------------------------------------------------------------------


def differences_figure(
    cells: Sequence[Cell],
    metrics: Sequence[str],
    colours: Mapping[str, str],
    name: str,
) -> str:
    """The full row minus every other, paired: a panel a metric, both protocols.

    Args:
        colours: method -> its colour.
        name: of the full row.
    """
    gaps = [cell for cell in cells if cell.minus is not None and cell.metric in metrics]
    labels = {gap.minus: gap.label.replace(", ", ",\n") for gap in gaps}
    across = min(len(metrics), 3 if len(metrics) > 4 else 4)
    down = -(-len(metrics) // across)
    height = 1.0 + down * (0.65 + 0.3 * len(labels))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, height), layout="constrained")
        panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, metric in zip(panels, metrics, strict=False):
            for protocol, (shift, marker) in MARKS.items():
                of = {"metric": metric, "protocol": protocol}
                rows = [
                    (label, pick(gaps, minus=method, **of), colours[method])
                    for method, label in labels.items()
                ]
                words = f"protocol: {PROTOCOL_NAMES[protocol]}"
                interval_panel(
                    axes, rows, protocol == "validated", shift, marker, words
                )
            axes.set_title(METRIC_NAMES[metric])
            axes.set_xlabel("points")
        for axes in panels[len(metrics) :]:
            axes.set_visible(False)
        figure.suptitle(_title(gaps, name), **TITLE)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        return svg_text(figure)


def _title(gaps: Sequence[Cell], name: str) -> str:
    """`DLSA in Overall: above 0 of 6 rows, below 6 (validated; 95 % intervals)`."""
    verdicts = [
        gap.verdict
        for gap in gaps
        if gap.metric == "overall" and gap.protocol == "validated"
    ]
    above, below = (verdicts.count(word) for word in ("supported", "contradicted"))
    return (
        f"{name} in Overall: above {above} of {len(verdicts)} rows, below {below} "
        "(validated; each by its own interval)"
    )


# ---- Words ------------------------------------------------------------------------


def tally(results: Iterable[Cell | Claim]) -> str:
    """`2 supported, 1 undecided`: how many have each verdict."""
    verdicts = Counter(result.verdict for result in results)
    named = (f"{verdicts[word]} {word}" for word in _EFFECTS if verdicts[word])
    return ", ".join(named) or "no test"


def gain_in_words(
    measured: Measurement, plain: str, full: str, protocol: str, name: str = "DLSA"
) -> str:
    """What the full row does to the plain one: Overall, then what else is claimed.

    The words are those of the Claims `gain_<metric>`, so that a page and the page of
    claims say the same.
    """
    verdicts = {
        claim.id.removeprefix("gain_"): claim.verdict
        for claim in measured.claims
        if claim.id.startswith("gain_") and claim.protocol == protocol
    }
    cells = measured.cells
    gap = pick(cells, minus=plain, protocol=protocol, metric="overall")
    if gap is None:
        return f"{name} was not run."
    before, after = (
        pick(cells, method=method, minus=None, protocol=protocol, metric="overall")
        for method in (plain, full)
    )
    start = before.label.removesuffix(", no DLSA")
    text = (
        f"{UNDER[protocol]} {name} takes {start} from {percent(before.mean)} % to "
        f"{percent(after.mean)} % Overall, {_EFFECTS[verdicts.pop('overall')]} "
        f"({shown(gap)} points)"
    )
    for verdict, word in _EFFECTS.items():
        names = [METRIC_NAMES[m] for m, found in verdicts.items() if found == verdict]
        if names:
            text += f"; {word} in {', '.join(names)}"
    return text + "."


def covered(seeds: Sequence[str]) -> str:
    """What an interval covers, in words."""
    if len(seeds) == 1:
        return f"test images alone: there is one seed, {seeds[0]}"
    return f"seeds ({', '.join(map(str, seeds))}) and test images together"
