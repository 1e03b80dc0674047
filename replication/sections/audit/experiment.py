"""What the printed numbers alone, with the published class counts, can and cannot be.

No image, no model and no run is behind this.
"""

from collections.abc import Sequence
from dataclasses import replace

from replication.published.reader import PublishedTable
from replication.sections.audit.bounds import Bound, mcc_bound, overall_bound
from replication.sections.audit.printed import (
    STEP,
    Design,
    fractions,
    outward,
)
from replication.statistics.results import Claim


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
