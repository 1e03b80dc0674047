"""What the pages of Table 1 and Table 2 share: their rows under both protocols."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from replication.reporting.tables import (
    METRIC_NAMES,
    PROTOCOL_NAMES,
    does,
    emphasised,
    markdown_table,
    percent,
    points,
    shown,
)
from replication.samples.metrics import CLASS_MEAN
from replication.statistics.results import Cell, Claim, Measurement, pick
from replication.statistics.verdicts import UNDECIDED_AFTER


def beside_print(measured: Measurement) -> tuple[Cell, ...]:
    """The Cells as a page shows them: beside the stand-in stands no printed number."""
    if not measured.data["stand_in"]:
        return measured.cells
    return tuple(replace(cell, printed=None) for cell in measured.cells)


# ---- Tables -----------------------------------------------------------------------


def overall_table(
    cells: Sequence[Cell], claims: Iterable[Claim], tests: Mapping[str, str]
) -> str:
    """A row a method: Overall, and the full row minus it; print, then both protocols.

    Args:
        tests: method -> id of the Claim on its difference.
    """
    class_means = _class_means(cells)
    cells = [cell for cell in cells if cell.metric == "overall"]
    printed = any(cell.printed is not None for cell in cells)
    claims, body = list(claims), []
    for method, label in labels_of(cells).items():
        values = [c for c in cells if c.method == method and c.minus is None]
        gaps = [c for c in cells if c.minus == method]
        row = [label, *_three(values, percent, printed)]
        if len({cell.per_seed for cell in values}) == 1:
            row[-1] = "same"
        row += _three(gaps, points, printed)
        found = [c.verdict for c in claims if c.id == tests.get(method)]
        body.append([*row, "; ".join(dict.fromkeys(found)) or "—"])
    columns = ["printed"] * printed + [*PROTOCOL_NAMES.values()]
    header = [f"Overall, {name}" for name in columns]
    header += [f"Difference, {name}" for name in columns]
    return markdown_table(["Row", *header, "Verdict"], body) + class_means


def _class_means(cells: Iterable[Cell]) -> str:
    """A paragraph on the mean over classes, where an unbalanced test set has one."""
    of = [c for c in cells if c.metric == CLASS_MEAN and c.protocol == "validated"]
    gaps = [cell for cell in of if cell.minus is not None]
    if not gaps:
        return ""
    full = pick(of, method=gaps[0].method, minus=None)
    minus = ", ".join(f"{cell.label} {shown(cell)}" for cell in gaps)
    return (
        "\n\nThe test set is unbalanced: Overall is the mean over images. The mean "
        f"over classes (*validated*) of {full.label} is {shown(full)} %; minus {minus}."
    )


def labels_of(cells: Iterable[Cell]) -> dict[str, str]:
    """Method -> label of every value, in the order of the cells."""
    return {cell.method: cell.label for cell in cells if cell.minus is None}


def _three(cells: Sequence[Cell], theirs: Any, printed: bool) -> list[str]:
    """What print has, and ours under each protocol; a dash where there is nothing."""
    of_print = cells[0].printed if cells else None
    texts = ["—" if of_print is None else theirs(of_print)] if printed else []
    found = (pick(cells, protocol=protocol) for protocol in PROTOCOL_NAMES)
    return texts + [emphasised(cell) if cell else "—" for cell in found]


def metrics_table(cells: Sequence[Cell], metrics: Sequence[str], first: str) -> str:
    """A row a label; a second where its numbers as released are others.

    Args:
        cells: values, or differences: a label stands for one method.
        first: heading of the labels.
    """
    cells = [cell for cell in cells if cell.metric in metrics]
    printed = {cell.metric for cell in cells if cell.printed is not None}
    body = []
    for label in dict.fromkeys(cell.label for cell in cells):
        of = [cell for cell in cells if cell.label == label]
        rows = {
            name: [pick(of, protocol=protocol, metric=m) for m in metrics]
            for protocol, name in PROTOCOL_NAMES.items()
        }
        paper, released = ([c and c.per_seed for c in row] for row in rows.values())
        if paper == released:
            rows = {"both": rows["validated"]}
        for name, row in rows.items():
            body.append([label, name])
            for metric, cell in zip(metrics, row, strict=True):
                theirs = points if cell and cell.minus else percent
                body[-1].append(emphasised(cell) if cell else "—")
                if metric in printed:
                    body[-1].append(theirs(cell and cell.printed))
    header = [first, "Protocol"]
    for metric in metrics:
        header += [METRIC_NAMES[metric]] + ["printed"] * (metric in printed)
    return markdown_table(header, body, words=2)


def diagnostics_table(diagnostics: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A row a variant, protocol and depth, means over seeds: clusters, who leaves."""
    columns = {
        "Epoch kept": ("{:.0f}", "epoch"),
        "Pure clusters": ("{:.1f}", "pure_clusters"),
        "Empty clusters": ("{:.0f}", "empty_clusters"),
        "Largest cluster": ("{:.0f}", "largest"),
        "Purity, %": ("{:.1%}", "purity"),
        "log P(x)": ("{:.1f}", "splits", "test", "log_likelihood"),
        "Leave, %": ("{:.0%}", "splits", "test", "leaving"),
        "AUROC": ("{:.2f}", "splits", "test", "auroc_tail"),
    }
    rows = []
    for variant, seeds in diagnostics.items():
        for protocol, words in PROTOCOL_NAMES.items():
            of_seed = (run["filters"][protocol] for run in seeds.values())
            for depth, filters in enumerate(zip(*of_seed, strict=True), start=1):
                numbers = [_mean(filters, *column) for column in columns.values()]
                rows.append([labels[variant], words, str(depth), *numbers])
    return markdown_table(["Row", "Protocol", "Depth", *columns], rows, words=2)


def _mean(filters: Iterable[Any], text: str, *path: str) -> str:
    """Mean of a number that lies on a path in each filter's diagnostics."""
    for name in path:
        filters = [fitted[name] for fitted in filters]
    values = [value for value in filters if value is not None]
    if not values:
        return "n/a"
    return text.format(np.mean(values)).replace("-", "−").removesuffix("%")


# ---- Words ------------------------------------------------------------------------


def gain_in_words(
    measured: Measurement, full: str, plain: str, budget: str, name: str = "DLSA"
) -> str:
    """What the full row does to the Overall of the head that it starts from.

    Args:
        plain, budget: rows of that head, and of a plain classifier of equal budget.
    """
    cells = [cell for cell in beside_print(measured) if cell.metric == "overall"]
    claims = [claim for claim in measured.claims if claim.id == "gain_overall"]
    gaps = [cell for cell in cells if cell.minus == plain]
    if not gaps or not claims:
        return f"{name} was not run."
    before = pick(cells, method=plain, minus=None)
    parts: dict[str, list[str]] = {}
    for protocol, where in (
        ("validated", "where nothing is chosen on test images (*validated*)"),
        ("as_released", "with the authors' habits (*as released*)"),
    ):
        after, gap = (
            pick(cells, method=full, minus=minus, protocol=protocol)
            for minus in (None, plain)
        )
        effect = does(pick(claims, protocol=protocol))
        changed = f"{percent(after.mean)} % ({shown(gap)} points) {where}"
        parts.setdefault(effect, []).append(changed)
    said = [
        f"{name} {effect} Overall accuracy: {percent(before.mean)} % becomes "
        f"{', and '.join(of)}."
        for effect, of in parts.items()
    ]
    open_under = [
        f"*{PROTOCOL_NAMES[claim.protocol]}*"
        for claim in claims
        if claim.verdict == UNDECIDED_AFTER
    ]
    if open_under:
        said.append(
            "With all tests of this run judged at once, the "
            f"{' and the '.join(open_under)} difference is undecided."
        )
    if gaps[0].printed is not None:
        said.append(f"The paper prints {points(gaps[0].printed)}.")
    if beside := [shown(cell) for cell in cells if cell.minus == budget]:
        words = " and ".join(beside)
        said.append(f"Against a plain classifier of equal budget: {words} points.")
    return " ".join(said)


def figure_title(measured: Measurement, name: str, plain: str) -> str:
    """What the full row does to its head in Overall, protocol *validated*."""
    of = {"protocol": "validated"}
    gap = pick(measured.cells, minus=plain, metric="overall", **of)
    claim = pick(measured.claims, id="gain_overall", **of)
    if gap is None or claim is None:
        return f"{name} was not run"
    return (
        f"{name} {does(claim)} the Overall of its head: {shown(gap)} points (validated)"
    )
