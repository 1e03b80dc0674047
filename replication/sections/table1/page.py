"""The page of Table 1: the comparison of Sect. 6 on one benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from replication.core.settings import Anchor, Anchors, PublishedTable, read_anchors
from replication.reporting import tables
from replication.reporting.figures import COLOURS, STYLE, svg_text
from replication.reporting.rendering import data_sentence, notice, origin, render
from replication.sections.confusion.page import HEADS
from replication.sections.table1.experiment import BASELINES

PAPER_DATA = "iNaturalist18 with an ImageNet-pretrained ResNet-50"
TABLE1_COLOURS = {
    "lws": "#E69F00",
    "crt": "#009E73",
    "paco": COLOURS["start"],
    "paco_dlsa": COLOURS["full"],
    "ce": "#CC79A7",
    "ce_balanced": "#D55E00",
    "paco_refit": COLOURS["balanced_softmax"],
}
_ACROSS = 3  # panels of the figure in a row
_MARKERS = {"paper": (-0.16, "o", 1.0), "released_code": (0.16, "s", 0.45)}
_SHORT = {"paper": "paper", "released_code": "released code"}


def table1_section(
    measured: Mapping[str, Any],
    table: PublishedTable,
    title: str,
    figures_folder: str,
) -> tuple[str, dict[str, str]]:
    """Table 1 on one benchmark.

    Args:
        measured: what the stage `table1` wrote.
        table: as printed.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The section, and its figures by file name.
    """
    records, data = measured["records"], measured["data"]
    own = measured["benchmark"] == table.benchmark and not data["stand_in"]
    start = _start(measured["runs"])
    baselines = dict(BASELINES)
    if start == "balanced_softmax":  # the row `paco` is the refitted head
        del baselines["paco_refit"]
    rows = {name: row.label for name, row in table.rows.items()} | baselines
    found = tables.methods_of(records)
    protocols = tuple(tables.PROTOCOL_NAMES)
    page = render(
        "sections/table1/page.md.j2",
        notice=notice(data, title, None if own else PAPER_DATA),
        stand_in=data["stand_in"],
        title=title,
        table=table,
        features=measured["features"],
        start=HEADS.get(start, "of unknown origin"),
        baselines=list(baselines.values()),
        missing=[label for name, label in rows.items() if name not in found],
        seeds=sorted(measured["diagnostics"], key=int),
        summary=summarise(measured),
        partial=measured["partial"],
        other_features=measured["other_features"],
        figures=figures_folder,
        protocol_names=tables.PROTOCOL_NAMES,
        values={
            p: _two_lines(tables.value_table(records, p, table.metrics, rows))
            for p in protocols
        },
        differences={
            p: difference_table(records, p, table.metrics, rows) for p in protocols
        },
        protocols=tables.protocol_table(records, table.metrics),
        claims=tables.claims_table(
            measured["claims"], " (stand-in)" if data["stand_in"] else ""
        ),
        anchors=anchors_table(measured, read_anchors(measured["benchmark"])),
        diagnostics=tables.diagnostics_table(
            {"paco_dlsa": measured["diagnostics"]}, rows
        ),
        data_sentence=data_sentence(data),
        origin=origin(
            data["hash"], f"dvc repro table1@{measured['benchmark']}", measured["runs"]
        ),
    )
    drawn = table1_figure(records, table.metrics, rows, not data["stand_in"])
    return page, {"metrics.svg": drawn}


def anchors_table(measured: Mapping[str, Any], anchors: Anchors | None) -> str:
    """The field's numbers beside ours, and whether the two can be compared.

    Returns:
        Markdown; empty where the field has none, or the data is the stand-in.
    """
    if anchors is None or measured["data"]["stand_in"]:
        return ""
    recipes = {
        run["stage"].split("@")[0].removeprefix("backbone_"): run.get("backbone", {})
        for run in measured["runs"]
        if run["stage"].startswith("backbone_")
    }
    header = ["Method", "The field's training", "The field, %", "Here, %", "Comparable"]
    rows = []
    for anchor in anchors.rows:
        ours = tables.find(
            measured["records"],
            method=anchor.method or "",
            metric="overall",
            protocol="paper",
            kind="value",
        )
        recipe = recipes["paco" if anchor.method == "paco" else "ce"]
        rows.append(
            [
                anchor.label,
                f"{anchor.epochs} epochs, {anchor.augmentation} augmentation",
                f"{anchor.value:.1f}",
                tables.with_interval(ours) if ours else "not run",
                "—" if ours is None else _comparable(measured, anchors, anchor, recipe),
            ]
        )
    return tables.markdown_table(header, rows, words=2)


# Our names of what the field calls so.
_AUGMENTATIONS = {"cifar": "plain", ("cifar_strong", "cifar_sim"): "PaCo's"}


def _comparable(
    measured: Mapping[str, Any],
    anchors: Anchors,
    anchor: Anchor,
    recipe: Mapping[str, Any],
) -> str:
    """Yes; or in what ours differs."""
    factor, epochs = measured["data"]["imbalance_factor"], recipe.get("epochs")
    reasons = []
    if factor != anchors.imbalance_factor:
        reasons.append(f"imbalance factor {factor}")
    if recipe.get("network") != anchors.network:
        reasons.append(f"network {recipe.get('network')}")
    if epochs != anchor.epochs:
        reasons.append(f"{epochs} of {anchor.epochs} epochs")
    views = recipe.get("query_view"), recipe.get("key_view")
    augmentation = _AUGMENTATIONS.get(recipe.get("augmentation") or views)
    if augmentation != anchor.augmentation:
        reasons.append(f"augmentation other than {anchor.augmentation}")
    return f"no: {', '.join(reasons)}" if reasons else "yes"


def _start(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Which head DLSA starts from, as its stage recorded it."""
    for run in runs:
        if run["stage"].startswith("heads_paco@"):
            return run["start"]
    return None


def summarise(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    parts = []
    for protocol, name in (("paper", "paper"), ("released_code", "released-code")):
        parts.append(_gains(measured["records"], protocol, name))
    claims = [claim for claim in measured["claims"] if claim["protocol"] == "paper"]
    verdicts = ["supported", "contradicted", "undecided"]
    if any(claim["verdict"] == "not run" for claim in claims):
        verdicts.append("not run")
    said = ", ".join(
        f"{sum(claim['verdict'] == verdict for claim in claims)} {verdict}"
        for verdict in verdicts
    )
    on = "on the stand-in" if measured["data"]["stand_in"] else "on this data"
    parts.append(f"Of {len(claims)} claims under the paper protocol, {said} {on}.")
    return " ".join(parts)


def _gains(records: Sequence[Mapping[str, Any]], protocol: str, name: str) -> str:
    """What DLSA does to PaCo + BalSoftmax: Overall with interval, then the others."""
    gaps = {
        record["metric"]: record
        for record in records
        if record["kind"] == "difference"
        and record["protocol"] == protocol
        and record["method"] == "paco"
    }
    before, after = (
        tables.find(
            records, method=method, protocol=protocol, metric="overall", kind="value"
        )
        for method in ("paco", "paco_dlsa")
    )
    if "overall" not in gaps or before is None or after is None:
        return f"Under the {name} protocol DLSA on PaCo + BalSoftmax was not run."
    effect = {
        "supported": "a gain",
        "contradicted": "a loss",
        "undecided": "not distinguishable",
        "not run": "not measured",
    }
    text = (
        f"Under the {name} protocol DLSA takes PaCo + BalSoftmax from "
        f"{tables.percent(before['mean'])} % to {tables.percent(after['mean'])} % "
        f"Overall, {effect[gaps['overall']['verdict']]} "
        f"({tables.with_interval(gaps['overall'])} points)"
    )
    others = []
    for verdict, word in effect.items():
        named = [
            tables.METRIC_NAMES[metric]
            for metric, gap in gaps.items()
            if metric != "overall" and gap["verdict"] == verdict
        ]
        if named:
            others.append(f"{word} in {_listed(named)}")
    return text + (f"; {', '.join(others)}." if others else ".")


def _listed(names: Sequence[str]) -> str:
    """`Many, Medium and Few`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def difference_table(
    records: Sequence[Mapping[str, Any]],
    protocol: str,
    metrics: Sequence[str],
    rows: Mapping[str, str],
) -> str:
    """PaCo + BalSoftmax + DLSA minus each method, paired, in points; print below.

    Args:
        rows: method -> label of every row; one without records was not run.
    """
    header = ["DLSA's row minus"] + [tables.METRIC_NAMES[metric] for metric in metrics]
    body = []
    for method, label in rows.items():
        if method == "paco_dlsa":
            continue
        row = [label]
        for metric in metrics:
            gap = tables.find(
                records,
                method=method,
                protocol=protocol,
                metric=metric,
                kind="difference",
            )
            row.append(_gap(gap) if gap else "not run")
        body.append(row)
    return _two_lines(tables.markdown_table(header, body))


def _gap(gap: Mapping[str, Any]) -> str:
    """A difference with its interval, bold where that leaves zero out, and print."""
    cell = tables.with_interval(gap)
    if gap["verdict"] in ("supported", "contradicted"):
        mean, interval = cell.split(" ", 1)
        cell = f"**{mean}** {interval}"
    printed = None
    if gap["published"] is not None:
        printed = f"*printed {tables.points(gap['published'])}*"
    return "<br>".join(filter(None, (cell, tables.could_see(gap), printed)))


def _two_lines(markdown: str) -> str:
    """Put each interval below its number: six columns are too wide otherwise."""
    return markdown.replace(" [", "<br>[")


def table1_figure(
    records: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    rows: Mapping[str, str],
    show_printed: bool,
) -> str:
    """Every row of Table 1: ours with 95 % intervals, both protocols, and print.

    Args:
        records: of one benchmark.
        metrics: a panel each.
        rows: method -> label, in order; one without records is left out.
        show_printed: mark the printed numbers, where the data is the paper's.
    """
    found = tables.methods_of(records)
    show_printed &= any(record["published"] is not None for record in records)
    methods = {name: label for name, label in rows.items() if name in found}
    down = -(-len(metrics) // _ACROSS)
    height = 0.7 + down * (0.65 + 0.3 * len(methods))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, height), layout="constrained")
        axes = figure.subplots(down, _ACROSS, sharey=True, squeeze=False).ravel()
        for axis, metric in zip(axes, metrics, strict=False):
            _panel(axis, records, list(methods), metric, show_printed)
        for axis in axes[len(metrics) :]:
            axis.set_visible(False)
        labels = [label.replace(", ", ",\n") for label in methods.values()]
        axes[0].set_yticks(range(len(methods)), labels)
        axes[0].set_ylim(len(methods) - 0.5, -0.5)
        figure.legend(
            handles=_legend(show_printed),
            loc="outside lower center",
            ncols=3,
            fontsize=9,
        )
        return svg_text(figure)


def _panel(
    axis: Any,
    records: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    metric: str,
    show_printed: bool,
) -> None:
    for protocol, (shift, marker, alpha) in _MARKERS.items():
        for place, method in enumerate(methods):
            record = tables.find(
                records, method=method, protocol=protocol, metric=metric, kind="value"
            )
            if record is None or record["mean"] is None:
                continue
            mean, low, high = (100 * record[name] for name in ("mean", "low", "high"))
            axis.errorbar(
                mean,
                place + shift,
                xerr=[[mean - low], [high - mean]],
                fmt=marker,
                color=TABLE1_COLOURS[method],
                alpha=alpha,
                markersize=5,
                linewidth=1.4,
            )
            if show_printed and protocol == "paper" and record["published"] is not None:
                axis.plot(100 * record["published"], place, **_PRINTED)
    axis.set_title(tables.METRIC_NAMES[metric])
    axis.set_xlabel(_UNITS.get(metric, "accuracy, %"))


_UNITS = {"mcc": "MCC × 100", "nmi": "NMI × 100"}
_PRINTED = {
    "marker": "|",
    "markersize": 12,
    "markeredgewidth": 2,
    "color": "#444444",
    "linestyle": "none",
}


def _legend(show_printed: bool) -> list[Line2D]:
    handles = [
        Line2D(
            [],
            [],
            marker=marker,
            alpha=alpha,
            color="#000000",
            markersize=5,
            linewidth=1.4,
            label=f"protocol: {_SHORT[protocol]}",
        )
        for protocol, (_, marker, alpha) in _MARKERS.items()
    ]
    if show_printed:
        handles.append(Line2D([], [], label="printed in the paper", **_PRINTED))
    return handles
