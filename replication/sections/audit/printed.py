"""Print, read exactly: what a printed number may have been, and what was published.

Sums are exact fractions, so that a verdict never hangs on a floating-point tie.
"""

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


def _reading(many_from: int, few_below: int) -> Reading:
    """Group borders, in words as the paper has them."""
    many = f"> {MANY_ABOVE}" if many_from > MANY_ABOVE else f">= {many_from}"
    few = f"< {FEW_BELOW}" if few_below == FEW_BELOW else f"<= {few_below - 1}"
    return Reading(
        f"{many}, {few_below} to {many_from - 1}, {few}", many_from, few_below
    )


STATED = _reading(MANY_ABOVE + 1, FEW_BELOW)
DROPPED_DIGITS = Reading(
    f"{STATED.name}; digits dropped", STATED.many_from, STATED.few_below, True
)
OTHER_READINGS = (
    _reading(MANY_ABOVE, FEW_BELOW),
    _reading(MANY_ABOVE + 1, FEW_BELOW + 1),
    _reading(MANY_ABOVE, FEW_BELOW + 1),
    DROPPED_DIGITS,
)


def design_of(benchmark: str, published: Mapping[str, Any]) -> Design:
    """The published counts of one benchmark.

    Args:
        published: class_counts.json: benchmark -> histogram and test_per_class.

    Raises:
        BadInput: the benchmark, or its test images per class, is not in it.
    """
    where = "class_counts.json"
    if benchmark not in published:
        raise BadInput(f"{where}: {benchmark}: expected class counts, got nothing")
    entry = published[benchmark]
    if "test_per_class" not in entry:
        raise BadInput(
            f"{where}: {benchmark}.test_per_class: expected the test images of each "
            "class, got nothing"
        )
    histogram = {int(images): number for images, number in entry["histogram"].items()}
    return Design(benchmark, histogram, entry["test_per_class"])


def group_sizes(histogram: Mapping[int, int], reading: Reading) -> dict[str, int]:
    """Classes of each shot group.

    Args:
        histogram: training images of a class -> number of such classes.
    """
    sizes = dict.fromkeys(SHOT_GROUPS, 0)
    for images, number in histogram.items():
        name = "few" if images < reading.few_below else "medium"
        sizes["many" if images >= reading.many_from else name] += number
    return sizes


def fractions(values: Mapping[str, float | None]) -> dict[str, Fraction]:
    """Printed percents as exact fractions; a dash in print is left out."""
    return {
        name: Fraction(str(value)) / 100
        for name, value in values.items()
        if value is not None
    }


# ---- As text: arithmetic for a reader to redo, in percent ---------------------------


def pct(value: Fraction, digits: int = 4) -> str:
    """A fraction in percent."""
    return f"{float(100 * value):.{digits}f}".replace("-", "−")


def signed(value: Fraction) -> str:
    """A difference in points."""
    return f"{float(100 * value):+.1f}".replace("-", "−")


def plain(value: Fraction, digits: int) -> str:
    """A fraction as it is."""
    return f"{float(value):.{digits}f}"


def ends(interval: Interval, digits: int) -> str:
    """An interval in percent."""
    return f"[{pct(interval[0], digits)}, {pct(interval[1], digits)}]"
