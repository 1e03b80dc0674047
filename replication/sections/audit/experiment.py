"""What the printed numbers alone, with the published class counts, can and cannot be.

No image, no model and no run is behind this.
"""

from dataclasses import replace

from replication.published.reader import PublishedTable
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
