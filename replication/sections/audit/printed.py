"""Print, read exactly: what a printed number may have been, and what was published.

Sums are exact fractions, so that a verdict never hangs on a floating-point tie.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from replication.core.files import BadInput
from replication.samples.shots import FEW_BELOW, MANY_ABOVE, SHOT_GROUPS

STEP = Fraction(1, 1000)  # the last printed digit: a tenth of a percent
Interval = tuple[Fraction, Fraction]
Printed = Mapping[str, Fraction]  # metric -> fraction; what is not printed is not there


@dataclass(frozen=True)
class Design:
    """What is published of a benchmark.

    Fields: `histogram`: training images of a class -> number of such classes;
    `test_per_class`: test images of each class.
    """

    benchmark: str
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


@dataclass(frozen=True)
class Reading:
    """A way to read print: where the shot groups end, how digits were cut.

    Fields: a class is Many from `many_from` training images on, Few below `few_below`;
    `truncated`: later digits were dropped, not rounded.
    """

    name: str
    many_from: int
    few_below: int
    truncated: bool = False

    def allowed(self, printed: Fraction) -> Interval:
        """Every value that is printed so, both ends included; inside [0, 1]."""
        low = printed if self.truncated else printed - STEP / 2
        return max(low, Fraction(0)), min(low + STEP, Fraction(1))

    def group(self, images: int) -> str:
        """The shot group of a class with so many training images."""
        if images >= self.many_from:
            return "many"
        return "few" if images < self.few_below else "medium"

    def group_sizes(self, histogram: Mapping[int, int]) -> dict[str, int]:
        """Classes of each shot group."""
        sizes = dict.fromkeys(SHOT_GROUPS, 0)
        for images, number in histogram.items():
            sizes[self.group(images)] += number
        return sizes


_BORDERS = (MANY_ABOVE + 1, FEW_BELOW)
STATED = Reading("> 100, 20 to 100, < 20", *_BORDERS)
DROPPED_DIGITS = Reading(f"{STATED.name}; digits dropped", *_BORDERS, truncated=True)
OTHER_READINGS = (
    Reading(">= 100, 20 to 99, < 20", MANY_ABOVE, FEW_BELOW),
    Reading("> 100, 21 to 100, <= 20", MANY_ABOVE + 1, FEW_BELOW + 1),
    Reading(">= 100, 21 to 99, <= 20", MANY_ABOVE, FEW_BELOW + 1),
    DROPPED_DIGITS,
)


def design_of(benchmark: str, published: Mapping[str, Any]) -> Design:
    """The published counts of one benchmark.

    Args:
        published: class_counts.json: benchmark -> histogram and test_per_class.

    Raises:
        BadInput: one of the two is not in it.
    """
    entry = published.get(benchmark, {})
    for name in ("histogram", "test_per_class"):
        if name not in entry:
            raise BadInput(
                f"class_counts.json: {benchmark}.{name}: expected published counts, "
                "got nothing"
            )
    histogram = {int(images): number for images, number in entry["histogram"].items()}
    return Design(benchmark, histogram, entry["test_per_class"])


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
