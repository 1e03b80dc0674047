"""What the printed numbers alone, with the published class counts, can and cannot be.

No image, no model and no run is behind this.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from replication.published.reader import PublishedTable
from replication.samples.shots import SHOT_GROUPS
from replication.sections.audit.bounds import (
    Bound,
    mcc_bound,
    nmi_bound,
    overall_bound,
    right_images_bound,
)
from replication.sections.audit.printed import (
    DROPPED_DIGITS,
    OTHER_READINGS,
    STATED,
    Design,
    fractions,
    group_sizes,
)


def table_bounds(name: str, table: PublishedTable, design: Design) -> list[Bound]:
    """Every bound on every row of a table; a number that is not printed has none."""
    bounds = []
    for key, row in table.rows.items():
        printed = fractions(row.values)
        of_row = []
        for reading in (STATED, *OTHER_READINGS):
            of_row.append(overall_bound(printed, design, reading))
            if reading in (STATED, DROPPED_DIGITS):
                of_row.append(mcc_bound(printed, design, reading))
            of_row.append(right_images_bound(printed, design, reading))
        of_row.append(nmi_bound(printed, design))
        place = {
            "table": name,
            "benchmark": design.benchmark,
            "row": key,
            "label": row.label,
        }
        bounds += [replace(bound, **place) for bound in of_row if bound is not None]
    return bounds


@dataclass(frozen=True)
class Weights:
    """How L_MLE's class weights fall on the shot groups of a benchmark.

    Fields: `shares` of each group; `effective_classes`, 1 / sum w^2: so many classes of
    equal weight would be as many.
    """

    benchmark: str
    title: str
    exponent: float
    classes: int
    few_classes: int
    shares: dict[str, float]
    effective_classes: float
    statement: str
    arithmetic: str


def class_weights(design: Design, exponent: Fraction, title: str) -> Weights:
    """How L_MLE's class weights, n^-q normalised over classes, fall on the shot groups.

    Implements: the weights w_y of L_MLE, on class-uniform draws.

    Args:
        exponent: q.
        title: of the benchmark.
    """
    q = float(exponent)
    terms = {
        images: number * float(images) ** -q
        for images, number in sorted(design.histogram.items())
    }
    total = math.fsum(terms.values())
    squares = math.fsum(
        number * float(images) ** (-2 * q)
        for images, number in design.histogram.items()
    )
    sums = {
        group: math.fsum(terms[i] for i in terms if _group(i) == group)
        for group in SHOT_GROUPS
    }
    few, few_classes = sums["few"], group_sizes(design.histogram, STATED)["few"]
    effective = total**2 / squares
    first = " + ".join(f"{design.histogram[i]}/{i}^{q:g}" for i in list(terms)[:3])
    return Weights(
        benchmark=design.benchmark,
        title=title,
        exponent=q,
        classes=design.classes,
        few_classes=few_classes,
        shares={group: value / total for group, value in sums.items()},
        effective_classes=effective,
        statement=f"With weights n^-{q:g} the {few_classes} Few classes of "
        f"{design.classes} carry {100 * few / total:.0f} % of L_MLE, and "
        f"{effective:.0f} classes of equal weight would be as many.",
        arithmetic=f"Sum of n^-{q:g} over the classes, smallest first: {first} + … = "
        f"{few:.5g} over Few, {sums['medium']:.5g} over Medium, "
        f"{sums['many']:.5g} over Many, {total:.5g} in all. Few: {few:.5g} / "
        f"{total:.5g} = {100 * few / total:.1f} %. Sum of n^-{2 * q:g}: "
        f"{squares:.5g}. Effective number of classes: {total:.5g}² / {squares:.5g} = "
        f"{effective:.1f}.",
    )


def _group(images: int) -> str:
    if images >= STATED.many_from:
        return "many"
    return "few" if images < STATED.few_below else "medium"
