"""What one row's printed numbers allow each other, on a class-balanced test set.

It ties Overall to the shot groups, to MCC, to NMI and to a whole number of right
images. The arithmetic is kept as text, in percent, for a reader to redo.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from replication.sections.audit.printed import (
    STATED,
    STEP,
    Design,
    Interval,
    Printed,
    Reading,
    ends,
    group_sizes,
    pct,
    plain,
)


@dataclass(frozen=True)
class Bound:
    """A printed number, and the bounds that others of its row put on it.

    Fields: `check`: overall, mcc, right_images or nmi. `statement`, `arithmetic` in
    words; `short`, a clause that says it, where it is a finding. Fractions:
    `published` as printed, between `printed_low` and `printed_high`; `low`, `high`, the
    bounds; `slack` by which they overlap, negative: the gap. `number` of counts of
    right images that fit, from `counts[0]` to `counts[1]`. `table` to `label`: of the
    row.
    """

    check: str
    metric: str
    reading: str
    statement: str
    arithmetic: str
    published: float
    printed_low: float
    printed_high: float
    low: float
    high: float
    slack: float
    verdict: str
    short: str = ""
    number: int | None = None
    counts: tuple[int, int] | None = None
    table: str = ""
    benchmark: str = ""
    row: str = ""
    label: str = ""


def _bound(
    check: str,
    metric: str,
    reading: Reading,
    printed: Fraction,
    implied: Interval,
    statement: str,
    arithmetic: str,
    short: str = "",
) -> Bound:
    allowed = reading.allowed(printed)
    slack = _overlap(implied, allowed)
    return Bound(
        check=check,
        metric=metric,
        reading=reading.name,
        statement=statement,
        arithmetic=arithmetic,
        published=float(printed),
        printed_low=float(allowed[0]),
        printed_high=float(allowed[1]),
        low=float(implied[0]),
        high=float(implied[1]),
        slack=float(slack),
        verdict="possible" if slack >= 0 else "impossible",
        short=short,
    )


def _overlap(first: Interval, second: Interval) -> Fraction:
    """Length of what two intervals share; negative: the gap between them."""
    return min(first[1], second[1]) - max(first[0], second[0])


def _overlap_in_words(slack: Fraction, digits: int) -> str:
    if slack < 0:
        return f"These miss each other by {pct(-slack, digits)} points."
    return f"These overlap by {pct(slack, digits)} points."


# ---- Overall against the shot groups -----------------------------------------------


def overall_bound(printed: Printed, design: Design, reading: Reading) -> Bound | None:
    """Whether Overall is sum_g (C_g / C) a_g over the shot groups, given rounding.

    Returns:
        None where Overall or a group is not printed.
    """
    sizes = _weighed(printed, design, reading)
    if sizes is None:
        return None
    classes, overall = design.classes, printed["overall"]
    centre = _mean(sizes, {group: printed[group] for group in sizes}, classes)
    reach = {group: reading.allowed(printed[group]) for group in sizes}
    low, high = (
        _mean(sizes, {group: reach[group][end] for group in sizes}, classes)
        for end in (0, 1)
    )
    allowed = reading.allowed(overall)
    slack = _overlap((low, high), allowed)
    terms = " + ".join(f"{sizes[g]} × {pct(printed[g], 1)}" for g in sizes)
    arithmetic = (
        f"({terms}) / {classes} = {pct(centre * classes, 1)} / {classes} = "
        f"{pct(centre, 3)}. {_cut(reading)}, so that this mean is in "
        f"{ends((low, high), 3)}, and Overall, printed {pct(overall, 1)}, in "
        f"{ends(allowed, 3)}. {_overlap_in_words(slack, 3)}"
    )
    short = ""
    if slack < 0:
        arithmetic += f" {_to_close(sizes, printed, classes, (low, high), reading)}"
        short = (
            "on a balanced test set Overall is the mean of the shot groups by their "
            f"classes, {pct(centre, 1)}; this row prints {pct(overall, 1)}"
        )
    weights = ", ".join(
        f"{group} {size}/{classes} = {size / classes:.4f}"
        for group, size in sizes.items()
    )
    statement = (
        "Overall is the class-weighted mean of the shot groups: "
        f"{ends((low, high), 3)}, weights {weights}."
    )
    implied = (low, high)
    return _bound(
        "overall", "overall", reading, overall, implied, statement, arithmetic, short
    )


def _weighed(
    printed: Printed, design: Design, reading: Reading
) -> dict[str, int] | None:
    """Sizes of the groups that have classes; None where a number of them is missing."""
    sizes = group_sizes(design.histogram, reading)
    sizes = {group: size for group, size in sizes.items() if size > 0}
    return sizes if all(name in printed for name in ("overall", *sizes)) else None


def _mean(
    sizes: Mapping[str, int], values: Mapping[str, Fraction], classes: int
) -> Fraction:
    return sum((sizes[g] * values[g] for g in sizes), Fraction(0)) / classes


def _cut(reading: Reading) -> str:
    if reading.truncated:
        return f"Each printed number hides up to {pct(STEP, 1)} of dropped digits"
    return f"Each printed number is known to ±{pct(STEP / 2, 2)}"


def _to_close(
    sizes: Mapping[str, int],
    printed: Printed,
    classes: int,
    implied: Interval,
    reading: Reading,
) -> str:
    """What else would have to be so: neutral, no cause is read into it."""
    allowed = reading.allowed(printed["overall"])
    gap = -_overlap(implied, allowed)
    too_high = allowed[0] > implied[1]
    alone = ", ".join(
        f"{group} by {pct(gap * classes / size, 3)}" for group, size in sizes.items()
    )
    lowest = min(sizes, key=lambda group: printed[group])
    highest = max(sizes, key=lambda group: printed[group])
    spread = printed[highest] - printed[lowest]
    reach = reading.allowed(printed[lowest])[0], reading.allowed(printed[highest])[1]
    if spread == 0 or _overlap(reach, allowed) < 0:
        mix = "No other mix of classes closes it: Overall is outside all groups."
    else:
        giver, taker = (lowest, highest) if too_high else (highest, lowest)
        mix = (
            f"Or {pct(gap)} / {pct(spread, 1)} = {pct(gap / spread, 1)} % of all "
            f"classes, {math.ceil(gap / spread * classes)}, would have to count as "
            f"{taker} and not as {giver}."
        )
    return (
        f"To close it one group alone would have to be off, in points: {alone}. {mix}"
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
    slack = _overlap((low, high), allowed)
    arithmetic = (
        f"{_mcc_arithmetic(lowest, highest, classes)} MCC, printed "
        f"{pct(printed['mcc'], 1)}, is in {ends(allowed, 2)}. "
        f"{_overlap_in_words(slack, 4)}"
    )
    short = ""
    if allowed[1] < low:
        arithmetic += f" {_overall_needed(lowest, allowed[1], design)}"
        short = (
            "on a balanced test set MCC cannot be more than "
            f"{pct(_rounded_up(lowest - low), 3)} points below Overall; this row "
            f"prints it {pct(printed['overall'] - printed['mcc'], 1)} below"
        )
    elif slack < 0:
        short = (
            "on a balanced test set MCC cannot be more than "
            f"{pct(_rounded_up(high - highest), 3)} points above Overall; this row "
            f"prints it {pct(printed['mcc'] - printed['overall'], 1)} above"
        )
    elif allowed[1] > 0:
        arithmetic += f" {_evenness(lowest, allowed[1], classes)}"
    statement = (
        f"With Overall {pct(printed['overall'], 1)} on {classes} equally frequent "
        f"classes MCC is in {ends((low, high), 3)}, whatever is predicted."
    )
    implied = (low, high)
    return _bound(
        "mcc", "mcc", reading, printed["mcc"], implied, statement, arithmetic, short
    )


def _rounded_up(share: Fraction) -> Fraction:
    """To a thousandth of a point."""
    return Fraction(math.ceil(share * 10**5), 10**5)


def _mcc_arithmetic(lowest: Fraction, highest: Fraction, classes: int) -> str:
    """Both bounds of MCC, from the ends of Overall."""
    chance = Fraction(1, classes)
    low, high = least_mcc(lowest, classes), Fraction(greatest_mcc(highest, classes))
    full = math.floor(highest * classes)
    concentration = greatest_concentration(highest, classes)
    return (
        f"Lower: Overall is at least {pct(lowest, 2)}, so that MCC is at least "
        f"({pct(lowest, 2)} − 100/{classes}) / (1 − 1/{classes}) = "
        f"{pct(lowest - chance)} / {plain(1 - chance, 6)} = {pct(low)}. "
        f"Upper: Overall is at most a = {plain(highest, 4)}; Σq² is at most "
        f"(1/{classes} + 1 − a)² + {full - 1}/{classes}² + "
        f"(a − {full}/{classes})² = {plain(concentration, 6)}, so that MCC is at most "
        f"{plain(highest - chance, 6)} / sqrt((1 − {plain(concentration, 6)}) × "
        f"{plain(1 - chance, 6)}) = {pct(high)}."
    )


def _overall_needed(lowest: Fraction, greatest: Fraction, design: Design) -> str:
    """What Overall would have to be with the greatest MCC that is printed so."""
    chance = Fraction(1, design.classes)
    needed = chance + greatest * (1 - chance)
    missing = math.ceil(lowest * design.tested) - math.floor(needed * design.tested)
    return (
        f"With this MCC Overall could be at most {pct(chance)} + "
        f"{pct(greatest, 2)} × {plain(1 - chance, 6)} = {pct(needed)}: "
        f"{pct(lowest - needed)} points below what is printed, at least {missing} "
        f"of {design.tested} images."
    )


def _evenness(lowest: Fraction, greatest: Fraction, classes: int) -> str:
    """How uneven predictions may be at the lowest Overall and the greatest MCC."""
    chance = Fraction(1, classes)
    most = 1 - (lowest - chance) ** 2 / (greatest**2 * (1 - chance))
    uneven = math.sqrt(max(classes * most - 1, 0))
    return (
        f"The overlap asks that Σq² ≤ 1 − ({plain(lowest, 4)} − 1/{classes})² / "
        f"({plain(greatest, 4)}² × {plain(1 - chance, 6)}) = {plain(most, 7)}, "
        f"where equally frequent predictions have 1/{classes} = {plain(chance, 7)}"
        ": the number of predictions of a class may vary by at most "
        f"sqrt({classes} × {plain(most, 7)} − 1) = {uneven:.2f} times its mean "
        "(standard deviation)."
    )


# ---- All at once, in whole images --------------------------------------------------


def right_images_bound(
    printed: Printed, design: Design, reading: Reading
) -> Bound | None:
    """How many right images fit Overall, the shot groups and MCC at once.

    A balanced test set has a whole number of images, so that each printed share allows
    few counts.

    Returns:
        As the others, with `counts` and `number`. `slack` is the distance of first and
        last as a share, negative where no count fits.
    """
    sizes = _weighed(printed, design, reading)
    if sizes is None:
        return None
    tested = design.tested
    allowed = _whole(reading.allowed(printed["overall"]), tested)
    of_group = {
        group: _whole(reading.allowed(printed[group]), size * design.test_per_class)
        for group, size in sizes.items()
    }
    groups = tuple(sum(counts[end] for counts in of_group.values()) for end in (0, 1))
    bounds = [groups]
    terms = [
        f"{group} {_counts(counts)} of {sizes[group] * design.test_per_class}"
        for group, counts in of_group.items()
    ]
    arithmetic = (
        f"Right images: {'; '.join(terms)}; together {_counts(groups)}. "
        f"Overall: {_counts(allowed)} of {tested}."
    )
    chance = Fraction(1, design.classes)
    if "mcc" in printed and Fraction(allowed[0], tested) >= chance:
        bounds.append(_images_of_mcc(reading.allowed(printed["mcc"]), design))
        arithmetic += f" MCC: {_counts(bounds[-1])}."
    implied = (max(b[0] for b in bounds), min(b[1] for b in bounds))
    empty = [group for group, counts in of_group.items() if counts[0] > counts[1]]
    return _counted(
        printed["overall"], reading, tested, allowed, implied, empty, arithmetic
    )


def _counted(
    overall: Fraction,
    reading: Reading,
    tested: int,
    allowed: tuple[int, int],
    implied: tuple[int, int],
    empty: list[str],
    arithmetic: str,
) -> Bound:
    """The counts of right images that Overall and all others allow.

    Args:
        empty: groups of which no whole number of images gives what is printed.
    """
    first, last = max(allowed[0], implied[0]), min(allowed[1], implied[1])
    possible = first <= last and not empty
    number = last - first + 1 if possible else 0
    if empty:
        arithmetic += f" No whole number of images gives {', '.join(empty)}."
    elif possible:
        arithmetic += f" All at once: {_counts((first, last))}, {number} in all."
    else:
        arithmetic += " No number of right images is in all of them."
    short = ""
    if number == 1:
        short = (
            f"exactly one count of right images, {first} of {tested}, prints this row"
        )
    elif number == 0:
        short = f"no count of right images, of {tested}, prints this row"
    return Bound(
        check="right_images",
        metric="overall",
        reading=reading.name,
        statement=f"{number} of the {max(allowed[1] - allowed[0] + 1, 0)} numbers "
        f"of right images that print Overall {pct(overall, 1)} fit every "
        "other number of the row.",
        arithmetic=arithmetic,
        published=float(overall),
        printed_low=allowed[0] / tested,
        printed_high=allowed[1] / tested,
        low=implied[0] / tested,
        high=implied[1] / tested,
        slack=min(last - first, -1 if empty else last - first) / tested,
        verdict="possible" if possible else "impossible",
        short=short,
        number=number,
        counts=(first, last) if possible else None,
    )


def _whole(share: Interval, images: int) -> tuple[int, int]:
    """First and last whole number of images inside; first > last where none is."""
    return math.ceil(share[0] * images), math.floor(share[1] * images)


def _images_of_mcc(allowed: Interval, design: Design) -> tuple[int, int]:
    """First and last number of right images, from chance on, that MCC allows."""
    classes, tested = design.classes, design.tested
    chance = Fraction(1, classes)
    last = math.floor((chance + max(allowed[1], Fraction(0)) * (1 - chance)) * tested)
    below, first = design.test_per_class - 1, tested
    while first - below > 1:
        middle = (below + first) // 2
        if greatest_mcc(Fraction(middle, tested), classes) >= allowed[0]:
            first = middle
        else:
            below = middle
    return first, last


def _counts(counts: tuple[int, ...]) -> str:
    first, last = counts
    if first > last:
        return "none"
    return f"{first}" if first == last else f"{first} to {last}"


# ---- NMI against Overall -----------------------------------------------------------


def nmi_bound(printed: Printed, design: Design) -> Bound | None:
    """Whether NMI is at least what Fano's inequality leaves, given Overall.

    H(Y | prediction) <= h(e) + e log(C - 1), H(Y) = log C and H(prediction) <= log C,
    so that NMI >= 1 - (h(e) + e log(C - 1)) / log C under every usual normalisation;
    from above only 1, which systematic errors attain.

    Returns:
        None where one of the two is not printed, or Overall is below chance.
    """
    classes = design.classes
    if not {"overall", "nmi"} <= printed.keys():
        return None
    accuracy = STATED.allowed(printed["overall"])[0]
    if accuracy < Fraction(1, classes):
        return None
    error = float(1 - accuracy)
    binary = -sum(p * math.log(p) for p in (error, 1 - error) if p > 0)
    unknown = binary + error * math.log(max(classes - 1, 1))
    low = Fraction(max(1 - unknown / math.log(classes), 0.0))
    implied = (low, Fraction(1))
    slack = _overlap(implied, STATED.allowed(printed["nmi"]))
    statement = (
        f"With Overall {pct(printed['overall'], 1)} on {classes} equally frequent "
        f"classes NMI is in {ends(implied, 1)}."
    )
    arithmetic = (
        f"Share of errors e at most {error:.4f}. H(Y | prediction) ≤ "
        f"h(e) + e ln({classes} − 1) = {binary:.4f} + {error:.4f} × "
        f"{math.log(max(classes - 1, 1)):.4f} = {unknown:.4f} nats, and ln {classes} = "
        f"{math.log(classes):.4f}: NMI ≥ 1 − {unknown:.4f} / {math.log(classes):.4f} = "
        f"{pct(low, 1)} %. {_overlap_in_words(slack, 1)}"
    )
    short = ""
    if slack < 0:
        short = (
            f"with this Overall NMI is at least {pct(low, 1)}; this row prints "
            f"{pct(printed['nmi'], 1)}"
        )
    return _bound(
        "nmi", "nmi", STATED, printed["nmi"], implied, statement, arithmetic, short
    )
