"""Table 2 (Sect. 7), the ablation: what its rows and filters could show to be wrong.

What a row takes away or changes stands in published/tables.yaml; every sentence is
made from there.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from replication.core.scaling import clusters_of_row
from replication.core.settings import Row
from replication.published.reader import PublishedTable
from replication.samples.metrics import accuracy_weights
from replication.samples.predictions import paired
from replication.sections.basis import Basis
from replication.sections.rows import CASCADE_HELPS, answer_of
from replication.statistics.intervals import estimate, over_seeds
from replication.statistics.results import PROTOCOLS, Cell, Claim
from replication.statistics.verdicts import judged

FULL, START, COMPARATOR = "full", "start", "plain"
REFITTED = "balanced_softmax"
_NOT_RUN = {"verdict": "not run"}
# Rows that no sentence of Sect. 7 is about, as fields of a Claim.
_BESIDE = {
    START: {
        "id": "gain_overall",
        "sentence": None,
        "place": "Sect. 6",
        "statement": "DLSA improves on PaCo + Balanced Softmax.",
    },
    COMPARATOR: {
        "id": "cascade_helps",
        "sentence": None,
        "place": "Sect. 7",
        "statement": CASCADE_HELPS,
    },
    REFITTED: {
        "id": "over_refitted",
        "sentence": None,
        "place": "Sect. 7",
        "statement": "DLSA is better than a Balanced Softmax head refitted.",
    },
}


def removals(table: PublishedTable) -> dict[str, str]:
    """Row -> the loss whose weight it sets to 0."""
    return {
        row: loss
        for row, printed in table.rows.items()
        for loss, weight in printed.changes.items()
        if loss.startswith("lambda_") and weight == 0
    }


def cluster_counts(table: PublishedTable) -> dict[str, int]:
    """Row -> K, ascending, of the rows that change it and of the full model."""
    counts = {
        row: printed.changes["num_clusters"]
        for row, printed in table.rows.items()
        if "num_clusters" in printed.changes
    } | {FULL: table.defaults["num_clusters"]}
    return dict(sorted(counts.items(), key=lambda item: item[1]))


def in_proportion(table: PublishedTable, clusters: int) -> PublishedTable:
    """The table with its numbers of clusters as shares of the full model's K."""
    default = table.defaults["num_clusters"]

    def scaled(row: Row) -> Row:
        if "num_clusters" not in row.changes:
            return row
        at = clusters_of_row(clusters, default, row.changes["num_clusters"])
        return replace(row, changes={**row.changes, "num_clusters": at.value})

    rows = {name: scaled(row) for name, row in table.rows.items()}
    defaults = {**table.defaults, "num_clusters": clusters}
    return replace(table, rows=rows, defaults=defaults)


def changed_as_printed(
    table: PublishedTable, filters: Mapping[str, Mapping[str, Any]]
) -> frozenset[str]:
    """Rows whose change from the full model is the printed one, as they were run.

    Implements: Sect. 7. A what-if may make the full model what a row was to differ in:
    with lambda_pure=0 nothing is left to be removed, with num_clusters=1000 there is no
    default of 500. What such a row shows is no test of its sentence.

    Args:
        filters: row -> the settings that its filter was fitted with.
    """
    full = filters[FULL]

    def as_printed(row: str, setting: str, value: float) -> bool:
        default = table.defaults.get(setting, full[setting])
        removed = value == 0 < full[setting]
        changed = full[setting] == default != value
        return filters[row][setting] == value and (removed or changed)

    return frozenset(
        row
        for row, printed in table.rows.items()
        if printed.changes
        and all(as_printed(row, *change) for change in printed.changes.items())
    )


def row_claims(
    cells: Sequence[Cell],
    table: PublishedTable,
    tested: AbstractSet[str],
    basis: Basis,
    clusters: int | None = None,
) -> list[Claim]:
    """The full model against each printed row, and against what it starts from.

    Implements: Sect. 7.

    Args:
        cells: of `table_cells`.
        tested: rows that test their sentence, of `changed_as_printed`.
        clusters: of the full model where they are scaled to the data; else None.
    """
    default = f"{table.defaults['num_clusters']}"
    if clusters is not None:
        default += f" ({clusters} at the size of this data)"
    asked = _BESIDE | {row: _sentence(row, table, default) for row in table.rows}
    return [
        basis.claim(
            **asked[gap.minus],
            test=f"Overall, full model minus {gap.label}, paired",
            protocol=gap.protocol,
            **(answer_of(gap) if gap.minus in {*_BESIDE, *tested} else _NOT_RUN),
        )
        for gap in cells
        if gap.metric == "overall" and gap.minus in asked
    ]


def _sentence(row: str, table: PublishedTable, default: str) -> dict[str, Any]:
    """What print says of a row, as fields of a Claim."""
    label, counts = table.rows[row].label, cluster_counts(table)
    sentence, statement = None, f"{label} performs worse than the full model."
    if row in removals(table):
        sentence, lost = "s7_losses", label.removeprefix("w/o ")
        statement = f"Removing {lost} leads to a significant performance drop."
    elif row in counts:
        words = "fewer" if counts[row] < counts[FULL] else "more"
        sentence = "s7_clusters"
        statement = (
            f"Models with {words} clusters perform worse than the default {default}."
        )
    about = {"id": f"drop_{row}", "sentence": sentence, "place": "Sect. 7"}
    return about | {"statement": statement}


def greatest_drop(
    predictions: Mapping[str, pd.DataFrame],
    table: PublishedTable,
    tested: AbstractSet[str],
    basis: Basis,
) -> list[Claim]:
    """Sect. 7: `w/o L_MLE shows the greatest degradation`, against each other loss.

    A Claim a protocol. Supported where all differences are positive, contradicted where
    one is negative; not run unless every row without a loss is among the `tested`.
    """
    rows = removals(table)
    (worst,) = (row for row, loss in rows.items() if loss == "lambda_mle")
    others = [row for row in rows if row != worst]
    label = {row: table.rows[row].label for row in rows}
    claims = []
    for protocol in PROTOCOLS:
        pairs = paired({row: predictions[row] for row in rows}, protocol)
        weights = accuracy_weights(pairs.labels, basis.train_counts)["overall"]
        right = {
            row: (answers == pairs.labels).astype(np.int8)
            for row, answers in pairs.of.items()
        }
        gaps = [
            estimate(right[other] - right[worst], weights, pairs.labels)
            for other in others
        ]
        claims.append(
            basis.claim(
                id="greatest_drop",
                sentence="s7_greatest",
                place="Sect. 7",
                statement=f"Among the losses, {label[worst]} shows the greatest "
                "degradation.",
                test=f"Overall, smaller of ({', '.join(label[row] for row in others)}) "
                f"minus {label[worst]}",
                protocol=protocol,
                **(judged(gaps) if rows.keys() <= tested else _NOT_RUN),
            )
        )
    return claims


def separation_claims(
    diagnostics: Mapping[str, Mapping[str, Any]],
    table: PublishedTable,
    tested: AbstractSet[str],
    basis: Basis,
) -> list[Claim]:
    """Sect. 7: L_MLE controls the separation of head and tail, by the first filter.

    A Claim a protocol. `diagnostics`: row -> seed -> what the stage `dlsa` wrote.
    """
    (row,) = (row for row, loss in removals(table).items() if loss == "lambda_mle")
    label = table.rows[row].label

    def auroc(variant: str, seed: str, protocol: str) -> float:
        first = diagnostics[variant][seed]["filters"][protocol][0]
        value = first["splits"]["test"]["auroc_tail"]
        return float("nan") if value is None else value

    claims = []
    for protocol in PROTOCOLS:
        gaps = [
            auroc(FULL, seed, protocol) - auroc(row, seed, protocol)
            for seed in diagnostics[FULL]
        ]
        claims.append(
            basis.claim(
                id="separation",
                sentence="s7_separation",
                place="Sect. 7",
                statement=f"{label.removeprefix('w/o ')} controls the head-tail "
                "separation.",
                test="AUROC of log P(x), Few against Many test images at depth 1: full "
                f"model minus {label}",
                protocol=protocol,
                unit="AUROC",
                **judged([over_seeds(gaps if row in tested else [])]),
            )
        )
    return claims
