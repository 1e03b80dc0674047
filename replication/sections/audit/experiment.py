"""What the printed numbers alone, with the published class counts, can and cannot be.

No image, no model and no run is behind this.
"""

from dataclasses import dataclass, replace

import numpy as np

from replication.published.reader import PublishedTable
from replication.samples.shots import SHOT_GROUPS
from replication.sections.audit.bounds import (
    Bound,
    mcc_bound,
    overall_bound,
    right_images_bound,
)
from replication.sections.audit.printed import (
    DROPPED_DIGITS,
    OTHER_READINGS,
    STATED,
    Design,
    fractions,
)


def table_bounds(name: str, table: PublishedTable, design: Design) -> list[Bound]:
    """Every bound on every row of a table; a number that is not printed has none."""
    bounds = []
    for row in table.rows.values():
        printed = fractions(row.values)
        for reading in (STATED, *OTHER_READINGS):
            checks = [overall_bound, mcc_bound, right_images_bound]
            if reading not in (STATED, DROPPED_DIGITS):
                checks.remove(mcc_bound)  # shot groups do not enter it
            made = (check(printed, design, reading) for check in checks)
            bounds += [
                replace(bound, table=name, label=row.label)
                for bound in made
                if bound is not None
            ]
    return bounds


@dataclass(frozen=True)
class Weights:
    """How L_MLE's class weights fall on the shot groups of a benchmark.

    Fields: `shares` of each group; `effective_classes`, 1 / sum w^2: so many classes of
    equal weight would be as many.
    """

    title: str
    exponent: float
    classes: int
    few_classes: int
    shares: dict[str, float]
    effective_classes: float


def class_weights(design: Design, exponent: float, title: str) -> Weights:
    """How L_MLE's class weights, n^-q normalised over classes, fall on the shot groups.

    Args:
        exponent: q.
        title: of the benchmark.
    """
    images = np.repeat(list(design.histogram), list(design.histogram.values()))
    groups = np.array([STATED.group(number) for number in images])
    weights = images.astype(float) ** -exponent
    weights /= weights.sum()
    return Weights(
        title=title,
        exponent=exponent,
        classes=design.classes,
        few_classes=int((groups == "few").sum()),
        shares={g: float(weights[groups == g].sum()) for g in SHOT_GROUPS},
        effective_classes=float(1 / (weights**2).sum()),
    )
