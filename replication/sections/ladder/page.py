"""The page of the ladder: where DLSA's difference from its head arises."""

import textwrap
from collections.abc import Iterable, Sequence

from replication.protocols import BESIDE, HEAD, LADDER, dlsa_rung
from replication.reporting.figures import finished, paired_panel, panels, styled
from replication.reporting.rendering import covered, section_page, unless_published
from replication.reporting.tables import (
    METRIC_NAMES,
    PROTOCOL_NAMES,
    UNDER,
    claims_table,
    emphasised,
    entry,
    in_unit,
    markdown_table,
    percent,
    protocol_headings,
    seen,
    shown,
    under_protocols,
)
from replication.samples.shots import SHOT_GROUPS
from replication.sections.ladder.experiment import TERMS, deciding_step, whole
from replication.sections.ladder.filters import CHANCE, SPLITS
from replication.statistics.results import Cell, Measurement, pick

_GENERALISES = {
    "supported": "The first filter separates test as well as training images",
    "contradicted": "The first filter separates test images less than training images",
}
AUROC = "auroc"
_MOVED = dict(zip(TERMS, ("x", "second input", "frequencies"), strict=True))


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The ladder on one benchmark: Markdown, and its figure by file name."""
    cells = measured.cells
    overall = [cell for cell in cells if cell.metric == "overall"]
    text = section_page(
        measured,
        title,
        unless_published(measured),
        finding=finding(measured),
        figures=folder,
        ladder=_steps_table(overall),
        beside=_beside_table(overall, dlsa_rung(measured.details["second_terms"])),
        seen=seen([cell for cell in overall if cell.minus == HEAD]),
        groups=_groups_table(cells),
        filters=_filters_table(cells),
        claims=claims_table(measured.claims),
        weighed=_weighed(measured),
        covered=covered(measured.details["seeds"]),
    )
    return text, {"ladder.svg": _figure(measured)}


# ---- In words -----------------------------------------------------------------------


def finding(measured: Measurement) -> str:
    """What DLSA does to its head, and which step did it; whether its filter separates.

    The steps under each protocol, the filter under `validated`.
    """
    origins = " ".join(_origin(measured, protocol) for protocol in PROTOCOL_NAMES)
    return f"{origins} {_mechanism(measured)}"


def _origin(measured: Measurement, protocol: str) -> str:
    gap, step, shown_alone = _deciding(measured, protocol)
    if gap.verdict == "undecided":
        largest = (
            "nor can its largest step,"
            if step.verdict == "undecided"
            else ("the largest step is")
        )
        why = f"which cannot be told from zero; {largest}"
    elif shown_alone:
        why = "and the step that does it is"
    else:
        why = "but no step alone is shown to do so; the largest is"
    return (
        f"{UNDER[protocol]}, DLSA moves the Overall accuracy of its head by "
        f"{in_unit(gap)}, {why} “{_plainly(step)}” ({in_unit(step)})."
    )


def _deciding(measured: Measurement, protocol: str) -> tuple[Cell, Cell, bool]:
    """DLSA minus its head; the step that it comes from, and whether that is shown."""
    given = (measured.cells, protocol, measured.details["second_terms"])
    return whole(*given), *deciding_step(*given)


def _plainly(cell: Cell) -> str:
    return cell.label.removesuffix(": DLSA")


def _mechanism(measured: Measurement) -> str:
    """Whether the first filter separates, on test images and beside training images."""
    claims = {c.id: c for c in measured.claims if c.protocol == "validated"}
    if claims["filter_separates"].verdict == "not run":
        return "There are no Few or no Many classes, so that nothing is to separate."
    (train, test), (left, gone) = (
        [_filter(measured.cells, "validated", 1, split, metric) for split in SPLITS]
        for metric in (AUROC, "few_leaves")
    )
    opening = _GENERALISES.get(
        claims["filter_generalises"].verdict,
        "Whether the first filter separates test images less well is undecided",
    )
    if train.low <= CHANCE:
        opening = "The first filter is not shown to separate even what it was fitted to"
    return (
        f"{opening}: Few against Many, AUROC {train.mean:.2f} on training and "
        f"{test.mean:.2f} on test images; {percent(left.mean, 0)} % of Few's training "
        f"images leave at it, {percent(gone.mean, 0)} % of its test images."
    )


def _weighed(measured: Measurement) -> str:
    """How many classes L_MLE sees, by its class weights."""
    weighed = pick(measured.cells, metric="classes_weighed").mean
    exponent = measured.about["filter"]["weight_exponent"]
    classes = measured.data["classes"]
    return (
        f"L_MLE gives a class of n images the weight n^−{exponent:g}: the {classes:,} "
        f"classes here together count as much as {weighed:.3g} of equal weight."
    )


# ---- Tables -------------------------------------------------------------------------


def _rung_row(cells: Sequence[Cell], name: str, before: str) -> list[str]:
    """A rung's Overall, minus another and minus the head, under each protocol."""
    row = [_rung_label(cells, name)]
    for minus in (None, before, HEAD):
        row += under_protocols(cells, method=name, minus=minus)
    return row


def _steps_table(cells: Sequence[Cell]) -> str:
    """A row a rung: Overall, the step to it, and all of it from the head."""
    rungs = zip(LADDER, (HEAD, *LADDER), strict=False)
    rows = [_rung_row(cells, name, before) for name, before in rungs]
    header = ["", *protocol_headings("Overall", "Step", "From the head")]
    return markdown_table(header, rows)


def _beside_table(cells: Sequence[Cell], dlsa: str) -> str:
    """A row a change to DLSA: Overall, minus DLSA and minus the head."""
    measured = {cell.method for cell in cells}
    rows = [_rung_row(cells, name, dlsa) for name in BESIDE if name in measured]
    header = ["", *protocol_headings("Overall", "Minus DLSA", "From the head")]
    return markdown_table(header, rows)


def _groups_table(cells: Sequence[Cell]) -> str:
    """A row a rung and protocol: shot groups, answers changed, and movement."""
    rows = []
    for name in LADDER:
        for protocol, words in PROTOCOL_NAMES.items():
            rung = [c for c in cells if c.method == name and c.protocol == protocol]
            row = [rung[0].label, words]
            row += [entry(rung, metric=group, minus=HEAD) for group in SHOT_GROUPS]
            row.append(percent(pick(rung, metric="changed").mean))
            row += [entry(rung, _moved, metric=metric) for metric in TERMS]
            rows.append(row)
    header = ["", "Protocol", *(METRIC_NAMES[group] for group in SHOT_GROUPS)]
    header += ["Changed, %", *(f"Moved: {words}" for words in _MOVED.values())]
    return markdown_table(header, rows, words=2)


def _moved(cell: Cell) -> str:
    return "—" if cell.mean is None else f"{cell.mean:.2g}"


def _filter(
    cells: Iterable[Cell], protocol: str, depth: int, split: str, metric: str = AUROC
) -> Cell | None:
    at = f"depth {depth}, {split}"
    return pick(cells, protocol=protocol, at=at, metric=metric, minus=None)


def _filters_table(cells: Sequence[Cell]) -> str:
    """A row a protocol and depth: AUROC and who leaves, training beside test."""
    header = ["Protocol", "Depth", "AUROC, training", "AUROC, test", "Difference"]
    header += [
        f"{g} leave, {s}, %" for g in ("Few", "Many") for s in ("training", "test")
    ]
    rows = []
    for gap in (cell for cell in cells if cell.metric == AUROC and cell.minus):
        depth = int(gap.minus.split()[1].rstrip(","))
        auroc = [_filter(cells, gap.protocol, depth, split) for split in SPLITS]
        texts = [*map(shown, auroc), emphasised(gap)]
        shares = [
            _filter(cells, gap.protocol, depth, split, f"{group}_leaves").mean
            for group in ("few", "many")
            for split in SPLITS
        ]
        rows.append(
            [
                *(PROTOCOL_NAMES[gap.protocol], str(depth)),
                *(text.replace(" AUROC", "") for text in texts),
                *(percent(share, 0) for share in shares),
            ]
        )
    return markdown_table(header, rows)


# ---- The figure ---------------------------------------------------------------------


@styled
def _figure(measured: Measurement) -> str:
    """Every rung minus the one before and minus the head, both protocols."""
    cells = [cell for cell in measured.cells if cell.metric == "overall"]
    names = list(LADDER)
    labels = {name: textwrap.fill(_rung_label(cells, name), 26) for name in names[1:]}
    left, right = panels(3.9, 1, 2, sharey=True, sharex=True)
    for axes, title, below in (
        (left, "Each step: minus the row above", names),
        (right, "So far: minus the head", [HEAD] * len(names)),
    ):
        minus = dict(zip(names[1:], below, strict=False))
        gaps = [cell for cell in cells if cell.minus == minus.get(cell.method, "")]
        paired_panel(axes, gaps, "method", labels, title)
        axes.set_xlabel("Overall, points")
    return finished(left.figure, _title(measured))


def _rung_label(cells: Sequence[Cell], name: str) -> str:
    """One label for both protocols."""
    if name == "second":
        return "z, or x once more, as second input"
    return pick(cells, method=name).label


def _title(measured: Measurement) -> str:
    """What the figure shows: the deciding step of each protocol."""
    lines = []
    for protocol, name in PROTOCOL_NAMES.items():
        gap, step, shown_alone = _deciding(measured, protocol)
        effect = {"supported": "gain", "contradicted": "loss"}.get(gap.verdict)
        if effect is None:
            said = "DLSA is not shown to differ from its head"
        elif shown_alone:
            said = f"the {effect} comes from “{_plainly(step)}”"
        else:
            said = f"no step alone makes the {effect}"
        lines.append(f"{name.capitalize()}: {said}")
    return "\n".join(lines)
