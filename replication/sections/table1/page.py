"""The page of Table 1: the comparison of Sect. 6 on one benchmark."""

from collections.abc import Mapping
from typing import Any

from replication.published.reader import (
    Anchor,
    Anchors,
    read_anchors,
    read_published_tables,
)
from replication.reporting.comparison import (
    HEADS,
    beside_print,
    covered,
    diagnostics_table,
    difference_table,
    differences_figure,
    gain_in_words,
    tally,
    value_table,
)
from replication.reporting.rendering import data_sentence, notice, render
from replication.reporting.tables import labels_of, markdown_table, shown
from replication.sections.table1.experiment import FULL, PLAIN
from replication.statistics.comparison import read_methods
from replication.statistics.results import PROTOCOLS, Measurement, pick

PAPER_DATA = "iNaturalist18 with an ImageNet-pretrained ResNet-50"
# Our names of what the field calls so.
_AUGMENTATIONS = {"cifar": "plain", ("cifar_strong", "cifar_sim"): "PaCo's"}


def page(measured: Measurement, title: str, folder: str) -> tuple[str, dict[str, str]]:
    """Table 1 on one benchmark: Markdown, and its figures by file name."""
    table = read_published_tables()["table1"]
    methods = read_methods("table1", table)
    cells, data, details = beside_print(measured), measured.data, measured.details
    labels = labels_of(cells)
    own = measured.benchmark == table.benchmark and not data["stand_in"]
    printed = any(cell.printed is not None for cell in cells)
    text = render(
        "sections/table1/page.md.j2",
        notice=notice(data, title, None if own else PAPER_DATA),
        stand_in=data["stand_in"],
        title=title,
        finding=finding(measured),
        figures=folder,
        table=table,
        about=measured.about,
        start=HEADS[measured.about["start"]],
        beside=[label for key, label in labels.items() if key not in table.rows],
        covered=covered(sorted(details["diagnostics"], key=int)),
        printed=printed,
        partial=details["partial"] if printed else [],
        other_features=details["other_features"],
        values=value_table(cells, table.metrics),
        differences={
            protocol: difference_table(
                cells, protocol, table.metrics, "DLSA's row minus"
            )
            for protocol in PROTOCOLS
        },
        claims={
            protocol: tally(c for c in measured.claims if c.protocol == protocol)
            for protocol in PROTOCOLS
        },
        anchors=anchors_table(measured, read_anchors(measured.benchmark)),
        diagnostics=diagnostics_table({FULL: details["diagnostics"]}, labels),
        data_sentence=data_sentence(data),
    )
    colours = {key: method.colour for key, method in methods.items()}
    drawn = differences_figure(cells, table.metrics, colours, "DLSA")
    return text, {"differences.svg": drawn}


def finding(measured: Measurement) -> str:
    """What DLSA does to PaCo + BalSoftmax, under both protocols."""
    words = (gain_in_words(measured, PLAIN, FULL, name) for name in PROTOCOLS)
    return " ".join(words)


def anchors_table(measured: Measurement, anchors: Anchors | None) -> str:
    """The field's numbers beside ours, and whether the two can be compared.

    Returns:
        Markdown; empty where the field has none, or the data is the stand-in.
    """
    if anchors is None or measured.data["stand_in"]:
        return ""
    header = ["Method", "The field's training", "The field, %", "Here, %", "Comparable"]
    rows = []
    for anchor in anchors.rows:
        wanted = {"metric": "overall", "protocol": "validated", "minus": None}
        ours = pick(measured.cells, method=anchor.method, **wanted)
        about = measured.about if anchor.method == PLAIN else measured.about["ce"]
        comparable = _comparable(measured.data, anchors, anchor, about["backbone"])
        rows.append(
            [
                anchor.label,
                f"{anchor.epochs} epochs, {anchor.augmentation} augmentation",
                f"{anchor.value:.1f}",
                "not run" if ours is None else shown(ours),
                "—" if ours is None else comparable,
            ]
        )
    return markdown_table(header, rows, words=2)


def _comparable(
    data: Mapping[str, Any],
    anchors: Anchors,
    anchor: Anchor,
    recipe: Mapping[str, Any],
) -> str:
    """Yes; or in what ours differs."""
    factor, epochs = data["imbalance_factor"], recipe.get("epochs")
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
