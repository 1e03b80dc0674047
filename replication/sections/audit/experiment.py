"""What the printed numbers alone, with the published class counts, can and cannot be.

No image, no model and no run is behind this.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from replication.published.reader import PublishedTable
from replication.samples.metrics import ACCURACIES
from replication.sections.audit.bounds import Bound, mcc_bound, overall_bound
from replication.sections.audit.printed import (
    STEP,
    Design,
    fractions,
    outward,
)
from replication.statistics.results import Claim

Z = 1.96


def table_bounds(name: str, table: PublishedTable, design: Design) -> list[Bound]:
    """Every bound on every row of a table; a number that is not printed has none."""
    bounds = []
    for row in table.rows.values():
        printed = fractions(row.values)
        bounds += [
            replace(bound, table=name, label=row.label)
            for check in (overall_bound, mcc_bound)
            if (bound := check(printed, design)) is not None
        ]
    return bounds


def best_row(table: PublishedTable) -> str:
    """The row with the best printed Overall."""
    return max(table.rows, key=lambda key: table.rows[key].values["overall"])


def differences(
    table: PublishedTable, design: Design
) -> list[tuple[str, dict[str, tuple[float, float]]]]:
    """Printed accuracies of the best row minus those of each other row.

    Returns:
        Label of the other row; and by metric the difference, and 1.96 standard errors
        of it where the two rows err independently, on test images drawn at random. What
        is not printed is left out.
    """
    sizes = design.groups | {"overall": design.classes}
    best = fractions(table.rows[best_row(table)].values)
    rows = []
    for key, printed in table.rows.items():
        row = fractions(printed.values)
        of_metric = {}
        for metric in [m for m in ACCURACIES if m in best and m in row]:
            first, second = best[metric], row[metric]
            variance = first * (1 - first) + second * (1 - second)
            images = sizes[metric] * design.test_per_class
            reach = Z * math.sqrt(variance / images)
            of_metric[metric] = float(first - second), reach
        if key != best_row(table):
            rows.append((printed.label, of_metric))
    return rows


def mcc_claims(bounds: Sequence[Bound]) -> tuple[Claim, ...]:
    """Each printed MCC is one that the Overall of its row allows.

    Returns:
        A Claim a row of Table 1 that prints both; its estimate is how far inside the
        bounds print lies, negative outside, and its interval the rounding of print.
    """
    half = float(STEP) / 2
    claims = []
    for bound in bounds:
        if bound.check != "mcc":
            continue
        inside = min(bound.published - bound.low, bound.high - bound.published)
        claims.append(
            Claim(
                id=f"mcc_{bound.label}",
                sentence="s6_mcc",
                section="audit",
                place="Sect. 6",
                statement=f"The MCC printed for {bound.label}, "
                f"{100 * bound.published:.1f} %, is one that its printed Overall "
                f"allows: {outward(bound.low, bound.high, 2)} %.",
                test="how far inside these bounds print lies, given its rounding",
                benchmark=None,
                grade="none needed",
                verdict="supported" if bound.possible else "contradicted",
                mean=inside,
                low=inside - half,
                high=inside + half,
            )
        )
    return tuple(claims)
