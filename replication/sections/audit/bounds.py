"""What one row's printed numbers allow each other, on a class-balanced test set.

It ties Overall to the shot groups, to MCC and to a whole number of right images.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from replication.sections.audit.printed import (
    Design,
    Interval,
    Printed,
    Reading,
    ends,
    pct,
)


@dataclass(frozen=True)
class Bound:
    """A printed number, and what the others of its row allow it.

    Fields: `check`: overall, mcc or right_images. Fractions: `published` as printed;
    `low`, `high`, the bounds on it. `possible`: whether print, given its rounding,
    meets them. `finding`, a clause that says what follows; `arithmetic`, in percent,
    for a reader to redo. `counts`: first and last count of right images that fit, None
    where none does. `table`, `label`: of the row.
    """

    check: str
    reading: str
    published: float
    low: float
    high: float
    possible: bool
    finding: str
    arithmetic: str
    counts: tuple[int, int] | None = None
    table: str = ""
    label: str = ""

    @property
    def number(self) -> int:
        """How many counts of right images fit."""
        return self.counts[1] - self.counts[0] + 1 if self.counts else 0


def _meet(first: Interval, second: Interval) -> bool:
    return max(first[0], second[0]) <= min(first[1], second[1])


# ---- Overall against the shot groups -----------------------------------------------


def overall_bound(printed: Printed, design: Design, reading: Reading) -> Bound | None:
    """Whether Overall is sum_g (C_g / C) a_g over the shot groups, given rounding.

    Returns:
        None where Overall or a group is not printed.
    """
    sizes = _sizes_of_printed(printed, design, reading)
    if sizes is None:
        return None
    classes, overall = design.classes, printed["overall"]
    allowed = reading.allowed(overall)
    of_groups = {group: reading.allowed(printed[group]) for group in sizes}
    centre = _mean(sizes, {group: printed[group] for group in sizes}, classes)
    low, high = (
        _mean(sizes, {group: both[end] for group, both in of_groups.items()}, classes)
        for end in (0, 1)
    )
    terms = " + ".join(f"{sizes[g]} × {pct(printed[g], 1)}" for g in sizes)
    return Bound(
        check="overall",
        reading=reading.name,
        published=float(overall),
        low=float(low),
        high=float(high),
        possible=_meet((low, high), allowed),
        finding="on a balanced test set Overall is the mean of the shot groups by "
        f"their classes, {pct(centre, 1)}; this row prints {pct(overall, 1)}",
        arithmetic=f"({terms}) / {classes} = {pct(centre, 3)}, with rounding "
        f"{ends((low, high), 3)}; Overall, printed {pct(overall, 1)}, is in "
        f"{ends(allowed, 3)}.",
    )


def _sizes_of_printed(
    printed: Printed, design: Design, reading: Reading
) -> dict[str, int] | None:
    """Sizes of the groups that have classes; None where a number of them is missing."""
    sizes = reading.group_sizes(design.histogram)
    sizes = {group: size for group, size in sizes.items() if size > 0}
    return sizes if all(name in printed for name in ("overall", *sizes)) else None


def _mean(
    sizes: Mapping[str, int], values: Mapping[str, Fraction], classes: int
) -> Fraction:
    return sum((sizes[g] * values[g] for g in sizes), Fraction(0)) / classes


# ---- MCC against Overall -----------------------------------------------------------


def least_mcc(accuracy: Fraction, classes: int) -> Fraction:
    """Smallest multiclass MCC on a class-balanced test set: uniform predictions.

    With s samples, uniform truth and prediction shares q, Gorodkin's R_K is
    (a - 1/C) / sqrt((1 - sum q^2)(1 - 1/C)): smallest where sum q^2 is, at 1/C.

    Args:
        accuracy: a, in [1/C, 1].
        classes: C.
    """
    return (accuracy - Fraction(1, classes)) / (1 - Fraction(1, classes))


def greatest_concentration(accuracy: Fraction, classes: int) -> Fraction:
    """Largest sum q^2 of the prediction shares, given the accuracy.

    The j most predicted classes share at most their own right images and every wrong
    one, min(j/C, a) + 1 - a. Sending every wrong image to one class that is itself all
    right, and making the others right one by one, attains this for every j at once:
    these shares majorise all others, and sum q^2 grows with majorisation.

    Args:
        accuracy: a, in [1/C, 1]: below, the wrong images do not fit into one class.
        classes: C.
    """
    full = math.floor(accuracy * classes)
    first = Fraction(1, classes) + 1 - accuracy
    rest = accuracy - Fraction(full, classes)
    return first**2 + Fraction(full - 1, classes**2) + rest**2


def greatest_mcc(accuracy: Fraction, classes: int) -> float:
    """Largest multiclass MCC on a class-balanced test set; grows with the accuracy.

    See `greatest_concentration`, whose arguments these are.
    """
    above = accuracy - Fraction(1, classes)
    if above == 0:
        return 0.0
    spread = 1 - greatest_concentration(accuracy, classes)
    return float(above) / math.sqrt(spread * (1 - Fraction(1, classes)))


def mcc_bound(printed: Printed, design: Design, reading: Reading) -> Bound | None:
    """Whether MCC is possible with that Overall: `least_mcc` to `greatest_mcc`.

    Returns:
        None where one of the two is not printed, or Overall is below chance.
    """
    classes = design.classes
    if not {"overall", "mcc"} <= printed.keys():
        return None
    lowest, highest = reading.allowed(printed["overall"])
    if lowest < Fraction(1, classes):
        return None
    low, high = least_mcc(lowest, classes), Fraction(greatest_mcc(highest, classes))
    allowed = reading.allowed(printed["mcc"])
    gap = printed["mcc"] - printed["overall"]
    limit, side = (lowest - low, "below") if gap < 0 else (high - highest, "above")
    arithmetic = (
        f"Overall is at least {pct(lowest, 2)}, so that MCC is at least "
        f"({pct(lowest, 2)} − 100/{classes}) / (1 − 1/{classes}) = {pct(low)}. Overall "
        f"is at most {pct(highest, 2)} and Σq² at most "
        f"{float(greatest_concentration(highest, classes)):.6f}, so that MCC is at "
        f"most {pct(high)}. Printed {pct(printed['mcc'], 1)}, it is in "
        f"{ends(allowed, 2)}."
    )
    if allowed[1] < low:
        arithmetic += f" {_overall_needed(lowest, allowed[1], design)}"
    return Bound(
        check="mcc",
        reading=reading.name,
        published=float(printed["mcc"]),
        low=float(low),
        high=float(high),
        possible=_meet((low, high), allowed),
        finding="on a balanced test set MCC cannot be more than "
        f"{pct(_rounded_up(limit), 3)} points {side} Overall; this row prints it "
        f"{pct(abs(gap), 1)} {side}",
        arithmetic=arithmetic,
    )


def _rounded_up(share: Fraction) -> Fraction:
    """To a thousandth of a point."""
    return Fraction(math.ceil(share * 10**5), 10**5)


def _overall_needed(lowest: Fraction, greatest: Fraction, design: Design) -> str:
    """What Overall would have to be with the greatest MCC that is printed so."""
    chance = Fraction(1, design.classes)
    needed = chance + greatest * (1 - chance)
    missing = math.ceil(lowest * design.tested) - math.floor(needed * design.tested)
    return (
        f"With this MCC Overall could be at most {pct(needed)}: "
        f"{pct(lowest - needed)} points below what is printed, at least {missing} "
        f"of {design.tested} images."
    )


# ---- All at once, in whole images --------------------------------------------------


def right_images_bound(
    printed: Printed, design: Design, reading: Reading
) -> Bound | None:
    """How many counts of right images fit Overall, the shot groups and MCC at once.

    A balanced test set has a whole number of images, so that each printed share allows
    few counts.

    Returns:
        None where Overall or a group is not printed.
    """
    sizes = _sizes_of_printed(printed, design, reading)
    if sizes is None:
        return None
    tested = design.tested
    images = {group: size * design.test_per_class for group, size in sizes.items()}
    of_group = {
        group: _whole(reading.allowed(printed[group]), images[group]) for group in sizes
    }
    first_of_group, last_of_group = zip(*of_group.values(), strict=True)
    limits = {"shot groups together": (sum(first_of_group), sum(last_of_group))}
    of_overall = _whole(reading.allowed(printed["overall"]), tested)
    if "mcc" in printed and of_overall[0] * design.classes >= tested:
        limits["MCC"] = _images_of_mcc(reading.allowed(printed["mcc"]), design)
    low = max(first for first, _ in limits.values())
    high = min(last for _, last in limits.values())
    counts = max(low, of_overall[0]), min(high, of_overall[1])
    empty = [group for group, both in of_group.items() if both[0] > both[1]]
    possible = counts[0] <= counts[1] and not empty
    named = [f"{g} {_counts(both)} of {images[g]}" for g, both in of_group.items()]
    named += [f"{name} {_counts(both)}" for name, both in limits.items()]
    arithmetic = (
        f"Right images: {'; '.join(named)}; Overall {_counts(of_overall)} of {tested}."
    )
    if empty:
        arithmetic += f" No whole number of images gives {', '.join(empty)}."
    return Bound(
        check="right_images",
        reading=reading.name,
        published=float(printed["overall"]),
        low=low / tested,
        high=high / tested,
        possible=possible,
        finding=_number_of_counts(counts, tested, possible),
        arithmetic=arithmetic,
        counts=counts if possible else None,
    )


def _number_of_counts(counts: tuple[int, int], tested: int, possible: bool) -> str:
    first, last = counts
    if not possible:
        return f"no count of right images, of {tested}, prints this row"
    if first == last:
        return (
            f"exactly one count of right images, {first} of {tested}, prints this row"
        )
    return f"{last - first + 1} counts of right images print this row"


def _whole(share: Interval, images: int) -> tuple[int, int]:
    """First and last whole number of images inside; first > last where none is."""
    return math.ceil(share[0] * images), math.floor(share[1] * images)


def _images_of_mcc(allowed: Interval, design: Design) -> tuple[int, int]:
    """First and last number of right images, from chance on, that MCC allows."""
    classes, tested = design.classes, design.tested
    chance = Fraction(1, classes)
    last = math.floor((chance + max(allowed[1], Fraction(0)) * (1 - chance)) * tested)
    counts = range(design.test_per_class, tested)
    first = bisect_left(
        counts,
        allowed[0],
        key=lambda right: greatest_mcc(Fraction(right, tested), classes),
    )
    return design.test_per_class + first, last


def _counts(counts: tuple[int, int]) -> str:
    first, last = counts
    if first > last:
        return "none"
    return f"{first}" if first == last else f"{first} to {last}"
