"""The page of the ladder: where DLSA's difference from its head arises."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from replication.ladder import BESIDE, HEAD, LADDER, dlsa_rung
from replication.reporting.comparison import HOW_JUDGED, TITLE, UNDER, covered
from replication.reporting.figures import DLSA_COLOUR, STYLE, interval_panel, svg_text
from replication.reporting.rendering import (
    data_sentence,
    epochs_sentence,
    notice,
    render,
)
from replication.reporting.tables import (
    METRIC_NAMES,
    PROTOCOL_NAMES,
    claims_table,
    emphasised,
    in_unit,
    markdown_table,
    percent,
    shown,
)
from replication.samples.shots import SHOT_GROUPS
from replication.sections.ladder.experiment import TERMS, deciding_step, whole
from replication.sections.ladder.filters import SPLITS
from replication.statistics.results import Cell, Claim, Measurement, pick

_MARKS = {
    "validated": (-0.16, "o", DLSA_COLOUR),
    "as_released": (0.16, "s", "#D55E00"),
}
_DOES = {
    "supported": "ends above the head that it starts from",
    "contradicted": "ends below the head that it starts from",
    "undecided": "is not shown to differ from the head that it starts from",
}
_SEPARATES = {
    "supported": "tells Few from Many on test images",
    "contradicted": "takes Many for Few on test images",
    "undecided": "is not shown to tell Few from Many on test images",
}
_GENERALISES = {
    "supported": "as well as on training images",
    "contradicted": "but worse than on the training images that it was fitted to",
    "undecided": "and how much worse than on training images is undecided",
}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """The ladder on one benchmark: Markdown, and its figure by file name."""
    data, cells = measured.data, measured.cells
    known = data["stand_in"] or measured.about["recipe"] == "published"
    text = render(
        "sections/ladder/page.md.j2",
        notice=notice(data, title, None if known else "benchmarks"),
        title=title,
        finding=finding(measured),
        tables={
            key: (_ladder_table(cells, key), _beside_table(measured, key))
            for key in PROTOCOL_NAMES
        },
        names=PROTOCOL_NAMES,
        epochs=epochs_sentence(measured.about),
        separation=_separation(measured),
        filters=_filters_table(cells),
        claims=claims_table(measured.claims),
        how_judged=HOW_JUDGED,
        covered=covered(measured.details["seeds"]),
        data_sentence=data_sentence(data),
        figures=folder,
    )
    return text, {"ladder.svg": _figure(measured)}


# ---- In words -----------------------------------------------------------------------


def finding(measured: Measurement) -> str:
    """What DLSA does to its head, and which step did it; whether its filter separates.

    The steps under each protocol, the filter under `validated`.
    """
    on = "On the stand-in: " if measured.data["stand_in"] else ""
    origins = " ".join(_origin(measured, protocol) for protocol in PROTOCOL_NAMES)
    return f"{on}{origins} {_mechanism(measured)}"


def _origin(measured: Measurement, protocol: str) -> str:
    given = (measured.cells, protocol, measured.details["second_terms"])
    gap, (step, shown_alone) = whole(*given), deciding_step(*given)
    if gap.verdict == "undecided":
        why = "the longest step of the ladder is"
    elif shown_alone:
        why = "the step that did it is"
    else:
        why = "no step alone is shown to have done it, the longest that way is"
    return (
        f"{UNDER[protocol]} DLSA {_DOES[gap.verdict]} ({in_unit(gap)} Overall); {why} "
        f"“{_plainly(step)}” ({in_unit(step)})."
    )


def _plainly(cell: Cell) -> str:
    return cell.label.removesuffix(": DLSA")


def _mechanism(measured: Measurement) -> str:
    """Whether the first filter separates, on test images and beside training images."""
    claims = {c.id: c for c in measured.claims if c.protocol == "validated"}
    separates, generalises = (
        claims[name] for name in ("filter_separates", "filter_generalises")
    )
    if separates.verdict == "not run":
        return "There are no Few or no Many classes, so that nothing is to separate."
    return (
        f"The first filter {_verdict(separates, _SEPARATES)}, "
        f"{_verdict(generalises, _GENERALISES)}."
    )


def _separation(measured: Measurement) -> str:
    """Two sentences of numbers on the first filter; none where there are none."""
    train, test = (_auroc(measured.cells, "validated", 1, split) for split in SPLITS)
    leave = [
        percent(_filter(measured.cells, "validated", 1, split, "few_leaves").mean, 0)
        for split in SPLITS
    ]
    if test.mean is None:
        return "n/a"
    return (
        "Under protocol *validated* the AUROC of the first filter's log P(x), Few "
        f"against Many (0.5 is chance), is {_in_auroc(test)} on test and "
        f"{_in_auroc(train)} on training images. Of Few's training images {leave[0]} % "
        f"leave at depth 1, of its test images {leave[1]} %."
    )


def _verdict(claim: Claim, words: Mapping[str, str]) -> str:
    return words.get(claim.verdict, words["undecided"])


def _in_auroc(cell: Cell) -> str:
    """Mean and interval; bold where a difference's interval leaves 0 out."""
    if cell.mean is None:
        return "n/a"
    low, high, sign = cell.low, cell.high, "+" if cell.minus else ""
    text = f"{cell.mean:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"
    text = text.replace("-", "−")
    return f"**{text}**" if cell.minus and not low <= 0 <= high else text


# ---- Tables -------------------------------------------------------------------------


def _filter(
    cells: Sequence[Cell], protocol: str, depth: int, split: str, metric: str
) -> Cell | None:
    at = f"depth {depth}, {split}"
    return pick(cells, protocol=protocol, at=at, metric=metric, minus=None)


def _auroc(cells: Sequence[Cell], protocol: str, depth: int, split: str) -> Cell | None:
    return _filter(cells, protocol, depth, split, "auroc")


def _ladder_table(cells: Sequence[Cell], protocol: str) -> str:
    """A row a rung: Overall, the step to it, all of it from the head, movement."""
    header = ["", "Overall", "step", "from the head"]
    header += [f"{METRIC_NAMES[group]}, from the head" for group in SHOT_GROUPS]
    header += ["Changed, %", "Moved: first", "second", "frequencies"]
    rows, before = [], None
    for name in LADDER:
        rung = [c for c in cells if c.method == name and c.protocol == protocol]
        step, gap = (pick(rung, metric="overall", minus=m) for m in (before, HEAD))
        row = [rung[0].label, shown(pick(rung, metric="overall", minus=None))]
        row += [emphasised(cell) if name != HEAD else "—" for cell in (step, gap)]
        groups = [pick(rung, metric=group, minus=HEAD) for group in SHOT_GROUPS]
        row += [emphasised(cell) if cell else "—" for cell in groups]
        row += [percent(pick(rung, metric="changed").mean), *_movement(rung)]
        rows.append(row)
        before = name
    return markdown_table(header, rows)


def _movement(rung: Sequence[Cell]) -> list[str]:
    cells = [pick(rung, metric=metric) for metric in TERMS]
    return ["—" if c is None or c.mean is None else f"{c.mean:.2g}" for c in cells]


def _beside_table(measured: Measurement, protocol: str) -> str:
    """A row a change to DLSA: Overall, minus DLSA and minus the head."""
    dlsa = dlsa_rung(measured.details["second_terms"])
    rows = []
    for name in BESIDE:
        of = [
            cell
            for cell in measured.cells
            if cell.method == name and cell.protocol == protocol
        ]
        if of:
            gaps = [pick(of, metric="overall", minus=minus) for minus in (dlsa, HEAD)]
            value = shown(pick(of, metric="overall", minus=None))
            rows.append([of[0].label, value, *map(emphasised, gaps)])
    return markdown_table(["", "Overall", "minus DLSA", "from the head"], rows)


def _filters_table(cells: Sequence[Cell]) -> str:
    """A row a protocol and depth: AUROC and who leaves, training beside test."""
    header = ["Protocol", "Depth", "AUROC, training", "test", "test minus training"]
    for group in SHOT_GROUPS:
        header += [f"{METRIC_NAMES[group]} leave, training, %", "test, %"]
    rows = []
    for protocol, words in PROTOCOL_NAMES.items():
        depth = 1
        while _auroc(cells, protocol, depth, "test") is not None:
            ends = [
                _in_auroc(_auroc(cells, protocol, depth, split)) for split in SPLITS
            ]
            at = f"depth {depth}, test"
            gap = next(
                cell
                for cell in cells
                if cell.at == at and cell.protocol == protocol and cell.minus
            )
            shares = [
                percent(_filter(cells, protocol, depth, split, f"{g}_leaves").mean, 0)
                for g in SHOT_GROUPS
                for split in SPLITS
            ]
            rows.append([words, str(depth), *ends, _in_auroc(gap), *shares])
            depth += 1
    return markdown_table(header, rows)


# ---- The figure ---------------------------------------------------------------------


def _figure(measured: Measurement) -> str:
    """Every rung minus the one before and minus the head, both protocols."""
    cells, names = measured.cells, list(LADDER)
    panels = {
        "The step: minus the rung above": dict(zip(names[1:], names, strict=False)),
        "So far: minus the head": dict.fromkeys(names[1:], HEAD),
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.9), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (title, minus) in zip(axes, panels.items(), strict=True):
            for protocol, (shift, marker, colour) in _MARKS.items():
                rows = [
                    (
                        _rung_label(cells, name),
                        pick(
                            cells,
                            method=name,
                            minus=below,
                            protocol=protocol,
                            metric="overall",
                        ),
                        colour,
                    )
                    for name, below in minus.items()
                ]
                interval_panel(axis, rows, shift=shift, marker=marker)
                words = f"protocol: {PROTOCOL_NAMES[protocol]}"
                axis.plot([], [], marker, color=colour, label=words)
            axis.set_title(title)
            axis.set_xlabel("Overall, points")
        figure.suptitle(_title(measured), **TITLE)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return svg_text(figure)


def _rung_label(cells: Sequence[Cell], name: str) -> str:
    """One label for both protocols."""
    if name == "second":
        return "z, or x once more, from zero"
    cell = pick(cells, method=name)
    assert cell is not None
    return cell.label


def _title(measured: Measurement) -> str:
    """What the figure shows: the deciding step of each protocol."""
    words = []
    for protocol, name in PROTOCOL_NAMES.items():
        given = (measured.cells, protocol, measured.details["second_terms"])
        gap, (step, shown_alone) = whole(*given), deciding_step(*given)
        effect = {"supported": "gain", "contradicted": "loss"}.get(gap.verdict)
        if effect is None:
            words.append(f"{name}: DLSA is not shown to differ from its head")
        elif shown_alone:
            words.append(f"{name}: the {effect} comes from “{_plainly(step)}”")
        else:
            words.append(f"{name}: no step alone makes the {effect}")
    return "\n".join(word[0].upper() + word[1:] for word in words)
