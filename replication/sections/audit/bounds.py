"""What one row's printed numbers allow each other, on a class-balanced test set.

It ties Overall to the shot groups and to MCC.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from replication.sections.audit.printed import (
    Design,
    Interval,
    Printed,
    allowed,
    ends,
    pct,
)


@dataclass(frozen=True)
class Bound:
    """A printed number, and what the others of its row allow it.

    Fields: `check`: overall or mcc. Fractions: `published` as printed; `low`, `high`,
    the bounds on it. `possible`: whether print, given its rounding, meets them.
    `finding`, a clause that says what follows; `arithmetic`, in percent, for a reader
    to redo. `table`, `label`: of the row.
    """

    check: str
    published: float
    low: float
    high: float
    possible: bool
    finding: str
    arithmetic: str
    table: str = ""
    label: str = ""


def _meet(first: Interval, second: Interval) -> bool:
    return max(first[0], second[0]) <= min(first[1], second[1])


# ---- Overall against the shot groups -----------------------------------------------


def overall_bound(printed: Printed, design: Design) -> Bound | None:
    """Whether Overall is sum_g (C_g / C) a_g over the shot groups, given rounding.

    Returns:
        None where Overall or a group is not printed.
    """
    sizes = {group: size for group, size in design.groups.items() if size > 0}
    if not {"overall", *sizes} <= printed.keys():
        return None
    classes, overall = design.classes, printed["overall"]
    rounded = allowed(overall)
    low, high = (
        sum(sizes[g] * allowed(printed[g])[end] for g in sizes) / classes
        for end in (0, 1)
    )
    return Bound(
        check="overall",
        published=float(overall),
        low=float(low),
        high=float(high),
        possible=_meet((low, high), rounded),
        finding="on a balanced test set Overall is the mean of the shot groups by "
        f"their classes; this row prints {pct(overall, 1)}",
        arithmetic=f"That mean is in {ends((low, high), 3)}, Overall in "
        f"{ends(rounded, 3)}.",
    )


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


def mcc_bound(printed: Printed, design: Design) -> Bound | None:
    """Whether MCC is possible with that Overall: `least_mcc` to `greatest_mcc`.

    Returns:
        None where one of the two is not printed, or Overall is below chance.
    """
    classes = design.classes
    if not {"overall", "mcc"} <= printed.keys():
        return None
    lowest, highest = allowed(printed["overall"])
    if lowest < Fraction(1, classes):
        return None
    low, high = least_mcc(lowest, classes), Fraction(greatest_mcc(highest, classes))
    rounded = allowed(printed["mcc"])
    gap = printed["mcc"] - printed["overall"]
    limit, side = (lowest - low, "below") if gap < 0 else (high - highest, "above")
    arithmetic = (
        f"Overall is at least {pct(lowest, 2)}, so that MCC is at least "
        f"({pct(lowest, 2)} − 100/{classes}) / (1 − 1/{classes}) = {pct(low)}. Overall "
        f"is at most {pct(highest, 2)} and Σq² at most "
        f"{float(greatest_concentration(highest, classes)):.6f}, so that MCC is at "
        f"most {pct(high)}. Printed {pct(printed['mcc'], 1)}, it is in "
        f"{ends(rounded, 2)}."
    )
    if rounded[1] < low:
        arithmetic += f" {_overall_needed(lowest, rounded[1], design)}"
    return Bound(
        check="mcc",
        published=float(printed["mcc"]),
        low=float(low),
        high=float(high),
        possible=_meet((low, high), rounded),
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
