"""Print, read exactly: what a printed number may have been, and what was published.

Sums are exact fractions, so that a verdict never hangs on a floating-point tie.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from replication.samples.shots import shot_groups

STEP = Fraction(1, 1000)  # the last printed digit: a tenth of a percent
Interval = tuple[Fraction, Fraction]
Printed = Mapping[str, Fraction]  # metric -> fraction; what is not printed is not there


@dataclass(frozen=True)
class Design:
    """What is published of a benchmark.

    Fields: `histogram`: training images of a class -> number of such classes;
    `test_per_class`: test images of each class.
    """

    histogram: Mapping[int, int]
    test_per_class: int

    @property
    def classes(self) -> int:
        """C."""
        return sum(self.histogram.values())

    @property
    def tested(self) -> int:
        """Test images."""
        return self.classes * self.test_per_class

    @property
    def groups(self) -> dict[str, int]:
        """Classes of each shot group."""
        groups = shot_groups(np.array([*self.histogram])).items()
        classes = np.array([*self.histogram.values()])
        return {name: int(classes[inside].sum()) for name, inside in groups}


def allowed(printed: Fraction) -> Interval:
    """Every value that is rounded to what is printed, both ends included."""
    return max(printed - STEP / 2, Fraction(0)), min(printed + STEP / 2, Fraction(1))


def design_of(benchmark: str, published: Mapping[str, Any]) -> Design:
    """The published counts of one benchmark.

    Args:
        published: class_counts.json: benchmark -> histogram and test_per_class.
    """
    entry = published[benchmark]
    histogram = {int(images): number for images, number in entry["histogram"].items()}
    return Design(histogram, entry["test_per_class"])


def fractions(values: Mapping[str, float | None]) -> dict[str, Fraction]:
    """Printed percents as exact fractions; a dash in print is left out."""
    return {
        name: Fraction(str(value)) / 100
        for name, value in values.items()
        if value is not None
    }


def pct(value: Fraction, digits: int = 4) -> str:
    """A fraction in percent, for a reader to redo the arithmetic."""
    return f"{float(100 * value):.{digits}f}".replace("-", "−")


def ends(interval: Interval, digits: int) -> str:
    """An interval in percent."""
    return f"[{pct(interval[0], digits)}, {pct(interval[1], digits)}]"


def outward(low: float, high: float, digits: int) -> str:
    """Bounds in percent, rounded so that all that they allow is inside them."""
    unit, tie = 10.0 ** (2 + digits), 1e-6  # a float's error is no reason to round on
    ends = math.floor(low * unit + tie), math.ceil(high * unit - tie)
    return " to ".join(f"{100 * end / unit:.{digits}f}" for end in ends)
