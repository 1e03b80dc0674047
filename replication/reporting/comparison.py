"""What the pages of Table 1 and Table 2 share: their rows under both protocols."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from replication.reporting.tables import (
    METRIC_NAMES,
    PROTOCOL_NAMES,
    UNDER,
    does,
    entry,
    markdown_table,
    percent,
    points,
    protocol_headings,
    seen,
    shown,
    under_protocols,
)
from replication.samples.metrics import CLASS_MEAN
from replication.statistics.results import Cell, Claim, Measurement, pick


def beside_print(measured: Measurement) -> tuple[Cell, ...]:
    """The Cells as a page shows them: beside the stand-in stands no printed number."""
    if not measured.data["stand_in"]:
        return measured.cells
    return tuple(replace(cell, printed=None) for cell in measured.cells)


def row_tables(
    measured: Measurement, metrics: Sequence[str], tests: Mapping[str, str], minus: str
) -> dict[str, Any]:
    """What both templates show of the rows; `minus` heads those subtracted.

    `tests`: method -> id of the Claim on its difference.
    """
    cells = beside_print(measured)
    gaps = [cell for cell in cells if cell.minus]
    others = [metric for metric in metrics if metric != "overall"]
    return {
        "printed": any(cell.printed is not None for cell in cells),
        "overall": overall_table(cells, measured.claims, tests),
        "seen": seen([gap for gap in gaps if gap.metric == "overall"]),
        "values": metrics_table([c for c in cells if not c.minus], others, "Row"),
        "differences": metrics_table(gaps, others, minus),
    }


# ---- Tables -----------------------------------------------------------------------


def overall_table(
    cells: Sequence[Cell], claims: Sequence[Claim], tests: Mapping[str, str]
) -> str:
    """A row a method: Overall, and the full row minus it; print, both protocols."""
    overall = [cell for cell in cells if cell.metric == "overall"]
    printed = any(cell.printed is not None for cell in overall)
    body = []
    labels = {cell.method: cell.label for cell in overall if cell.minus is None}
    for method, label in labels.items():
        values = [c for c in overall if c.method == method and c.minus is None]
        gaps = [c for c in overall if c.minus == method]
        row = [label, *_beside(values, percent, printed)]
        if len({cell.per_seed for cell in values}) == 1:
            row[-1] = "same"
        verdicts = [c.verdict for c in claims if c.id == tests.get(method)]
        said = "; ".join(dict.fromkeys(verdicts)) or "—"
        body.append([*row, *_beside(gaps, points, printed), said])
    header = ["Row"]
    for name in ("Overall", "Difference"):
        header += [f"{name}, printed"] * printed + protocol_headings(name)
    return markdown_table([*header, "Verdict"], body) + _class_means(cells)


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


def _beside(
    cells: Sequence[Cell], in_print: Callable[[float], str], printed: bool
) -> list[str]:
    """What print has, and ours under each protocol; a dash where there is nothing."""
    of_print = cells[0].printed if cells else None
    texts = ["—" if of_print is None else in_print(of_print)] if printed else []
    return texts + under_protocols(cells)


def metrics_table(cells: Sequence[Cell], metrics: Sequence[str], first: str) -> str:
    """A row a label; a second where its numbers as released are others.

    Of values, or of differences: a label stands for one method. `first`: its heading.
    """
    cells = [cell for cell in cells if cell.metric in metrics]
    printed = {cell.metric for cell in cells if cell.printed is not None}
    body = []
    for label in dict.fromkeys(cell.label for cell in cells):
        rows = {
            name: [c for c in cells if c.label == label and c.protocol == protocol]
            for protocol, name in PROTOCOL_NAMES.items()
        }
        validated, released = ([c.per_seed for c in row] for row in rows.values())
        if validated == released:
            rows = {"both": rows["validated"]}
        for name, row in rows.items():
            body.append([label, name])
            for metric in metrics:
                body[-1].append(entry(row, metric=metric))
                if metric in printed:
                    body[-1].append(entry(row, _in_print, "n/a", metric=metric))
    header = [first, "Protocol"]
    for metric in metrics:
        header += [METRIC_NAMES[metric]] + ["printed"] * (metric in printed)
    return markdown_table(header, body, words=2)


def _in_print(cell: Cell) -> str:
    return (points if cell.minus else percent)(cell.printed)


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

    `plain`, `budget`: rows of that head, and of a plain classifier of equal budget.
    """
    cells = [cell for cell in beside_print(measured) if cell.metric == "overall"]
    before, said = pick(cells, method=plain, minus=None), []
    for protocol, under in UNDER.items():
        of = {"protocol": protocol}
        claim = pick(measured.claims, id="gain_overall", **of)
        gap = pick(cells, minus=plain, **of)
        after = pick(cells, method=full, minus=None, **of)
        beside = entry(cells, shown, "not run", minus=budget, **of)
        said.append(
            f"{under}, {name} {does(claim)} Overall accuracy: {percent(before.mean)} % "
            f"becomes {percent(after.mean)} %, {shown(gap)} points ({claim.verdict}); "
            f"against a plain classifier of equal budget: {beside}."
        )
    if gap.printed is not None:
        said.append(f"The paper prints {points(gap.printed)}.")
    return " ".join(said)


def figure_title(measured: Measurement, name: str, plain: str) -> str:
    """What the full row does to its head in Overall, protocol *validated*."""
    of = {"protocol": "validated"}
    gap = pick(measured.cells, minus=plain, metric="overall", **of)
    claim = pick(measured.claims, id="gain_overall", **of)
    return (
        f"{name} {does(claim)} the Overall of its head: {shown(gap)} points (validated)"
    )
