"""What the printed numbers alone, with the published class counts, can and cannot be.

No image, no model and no run is behind this: a class-balanced test set ties Overall to
the shot groups, to MCC and to a whole number of right images, and bounds the sampling
error of a difference. Sums are exact fractions, so that a verdict never hangs on a
floating-point tie. The arithmetic is kept as text, in percent, for a reader to redo.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from replication.core.files import BadInput
from replication.published.reader import PublishedTable
from replication.samples.shots import FEW_BELOW, MANY_ABOVE, SHOT_GROUPS

ACCURACIES = ("overall", *SHOT_GROUPS)
STEP = Fraction(1, 1000)  # the last printed digit: a tenth of a percent
Z = Fraction(196, 100)
BEYOND_ANY = "beyond, whatever the pairing"
BEYOND_UNPAIRED = "beyond, unpaired too"
BEYOND_PAIRED = "beyond only if paired closely"
WITHIN = "within, whatever the pairing"
DIFFERENCE_VERDICTS = (BEYOND_ANY, BEYOND_UNPAIRED, BEYOND_PAIRED, WITHIN)

Interval = tuple[Fraction, Fraction]
Finding = dict[str, Any]


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


STATED = Reading(
    f"> {MANY_ABOVE}, {FEW_BELOW} to {MANY_ABOVE}, < {FEW_BELOW}",
    MANY_ABOVE + 1,
    FEW_BELOW,
)
DROPPED_DIGITS = Reading(
    f"{STATED.name}; digits dropped", STATED.many_from, STATED.few_below, True
)
OTHER_READINGS = (
    Reading(
        f">= {MANY_ABOVE}, {FEW_BELOW} to {MANY_ABOVE - 1}, < {FEW_BELOW}",
        MANY_ABOVE,
        FEW_BELOW,
    ),
    Reading(
        f"> {MANY_ABOVE}, {FEW_BELOW + 1} to {MANY_ABOVE}, <= {FEW_BELOW}",
        MANY_ABOVE + 1,
        FEW_BELOW + 1,
    ),
    Reading(
        f">= {MANY_ABOVE}, {FEW_BELOW + 1} to {MANY_ABOVE - 1}, <= {FEW_BELOW}",
        MANY_ABOVE,
        FEW_BELOW + 1,
    ),
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


def audit_table(name: str, table: PublishedTable, design: Design) -> list[Finding]:
    """Every check that a table's printed numbers allow.

    Implements: not in the paper: its tables held against themselves.

    Returns:
        Findings as plain records. Common keys: table, benchmark, row, label, check,
        metric, reading, statement, arithmetic (text, percent), published, low, high
        (the bounds that follow), verdict and slack, as fractions. `check`: overall,
        mcc, right_images, nmi, difference. A number that is not printed has no finding.
    """
    findings = []
    for key, row in table.rows.items():
        printed = _fractions(row.values)
        found = [
            check(printed, design, reading)
            for reading in (STATED, *OTHER_READINGS)
            for check in (overall_finding, mcc_finding, right_images_finding)
            if check is not mcc_finding or reading in (STATED, DROPPED_DIGITS)
        ]
        common = {
            "table": name,
            "benchmark": design.benchmark,
            "row": key,
            "label": row.label,
        }
        findings += [
            common | one
            for one in (*found, nmi_finding(printed, design))
            if one is not None
        ]
    return findings + difference_findings(name, table, design)


# --- Overall against the shot groups


def overall_finding(
    printed: Mapping[str, Fraction], design: Design, reading: Reading
) -> Finding | None:
    """Whether Overall is a class-weighted mean of the shot groups, given rounding.

    Implements: Overall = sum_g (C_g / C) a_g on a class-balanced test set.

    Args:
        printed: metric -> fraction; what is not printed is not there.

    Returns:
        None where Overall or a group is not printed.
    """
    sizes = _weighed(printed, design, reading)
    if sizes is None:
        return None
    classes, overall = design.classes, printed["overall"]
    centre = _mean(sizes, {group: printed[group] for group in sizes}, classes)
    ends = {group: reading.allowed(printed[group]) for group in sizes}
    low, high = (
        _mean(sizes, {group: ends[group][end] for group in sizes}, classes)
        for end in (0, 1)
    )
    allowed = reading.allowed(overall)
    slack = _overlap((low, high), allowed)
    terms = " + ".join(f"{sizes[g]} × {_pct(printed[g], 1)}" for g in sizes)
    arithmetic = (
        f"({terms}) / {classes} = {_pct(centre * classes, 1)} / {classes} = "
        f"{_pct(centre, 3)}. {_cut(reading)}, so that this mean is in "
        f"{_range((low, high), 3)}, and Overall, printed {_pct(overall, 1)}, in "
        f"{_range(allowed, 3)}. {_overlap_in_words(slack, 3)}"
    )
    if slack < 0:
        arithmetic += " " + _what_would_close(
            sizes, printed, classes, (low, high), reading
        )
    return {
        "check": "overall",
        "metric": "overall",
        "reading": reading.name,
        "statement": f"Overall is the class-weighted mean of the shot groups: "
        f"{_range((low, high), 3)}, weights {_weights(sizes, classes)}.",
        "arithmetic": arithmetic,
        **_bounds(overall, (low, high), allowed, slack),
    }


def _weighed(
    printed: Mapping[str, Fraction], design: Design, reading: Reading
) -> dict[str, int] | None:
    """Sizes of the groups that have classes; None where a number of them is missing."""
    sizes = group_sizes(design.histogram, reading)
    sizes = {group: size for group, size in sizes.items() if size > 0}
    return sizes if all(name in printed for name in ("overall", *sizes)) else None


def _what_would_close(
    sizes: Mapping[str, int],
    printed: Mapping[str, Fraction],
    classes: int,
    implied: Interval,
    reading: Reading,
) -> str:
    """What else would have to be so: neutral, no cause is read into it."""
    allowed = reading.allowed(printed["overall"])
    gap = -_overlap(implied, allowed)
    too_high = allowed[0] > implied[1]
    alone = ", ".join(
        f"{group} by {_pct(gap * classes / size, 3)}" for group, size in sizes.items()
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
            f"Or {_pct(gap)} / {_pct(spread, 1)} = {_pct(gap / spread, 1)} % of all "
            f"classes, {math.ceil(gap / spread * classes)}, would have to count as "
            f"{taker} and not as {giver}."
        )
    return (
        f"To close it one group alone would have to be off, in points: {alone}. {mix}"
    )


# --- MCC against Overall


def least_mcc(accuracy: Fraction, classes: int) -> Fraction:
    """Smallest multiclass MCC on a class-balanced test set: uniform predictions.

    Implements: not in the paper. With s samples, uniform truth and prediction shares q,
    Gorodkin's R_K is (a - 1/C) / sqrt((1 - sum q^2)(1 - 1/C)): smallest where sum q^2
    is, at 1/C.

    Args:
        accuracy: a, in [1/C, 1].
        classes: C.
    """
    return (accuracy - Fraction(1, classes)) / (1 - Fraction(1, classes))


def greatest_concentration(accuracy: Fraction, classes: int) -> Fraction:
    """Largest sum q^2 of the prediction shares, given the accuracy.

    Implements: not in the paper. The j most predicted classes share at most their own
    right images and every wrong one, min(j/C, a) + 1 - a. Sending every wrong image to
    one class that is itself all right, and making the others right one by one, attains
    this for every j at once: these shares majorise all others, and sum q^2 grows with
    majorisation.

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

    Implements: not in the paper; see `greatest_concentration`.

    Args:
        accuracy: a, in [1/C, 1].
        classes: C.
    """
    above = accuracy - Fraction(1, classes)
    if above == 0:
        return 0.0
    spread = 1 - greatest_concentration(accuracy, classes)
    return float(above) / math.sqrt(spread * (1 - Fraction(1, classes)))


def mcc_finding(
    printed: Mapping[str, Fraction], design: Design, reading: Reading
) -> Finding | None:
    """Whether MCC is possible with that Overall on a class-balanced test set.

    Implements: not in the paper; `least_mcc`, `greatest_mcc`, which grow with Overall.

    Args:
        printed: metric -> fraction.

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
    chance = Fraction(1, classes)
    full = math.floor(highest * classes)
    concentration = greatest_concentration(highest, classes)
    arithmetic = (
        f"Lower: Overall is at least {_pct(lowest, 2)}, so that MCC is at least "
        f"({_pct(lowest, 2)} − 100/{classes}) / (1 − 1/{classes}) = "
        f"{_pct(lowest - chance)} / {_plain(1 - chance, 6)} = {_pct(low)}. "
        f"Upper: Overall is at most a = {_plain(highest, 4)}; Σq² is at most "
        f"(1/{classes} + 1 − a)² + {full - 1}/{classes}² + "
        f"(a − {full}/{classes})² = {_plain(concentration, 6)}, so that MCC is at most "
        f"{_plain(highest - chance, 6)} / sqrt((1 − {_plain(concentration, 6)}) × "
        f"{_plain(1 - chance, 6)}) = {_pct(high)}. MCC, printed "
        f"{_pct(printed['mcc'], 1)}, is in {_range(allowed, 2)}. "
        f"{_overlap_in_words(slack, 4)}"
    )
    if allowed[1] < low:
        needed = chance + allowed[1] * (1 - chance)
        tested = classes * design.test_per_class
        missing = math.ceil(lowest * tested) - math.floor(needed * tested)
        arithmetic += (
            f" With this MCC Overall could be at most {_pct(chance)} + "
            f"{_pct(allowed[1], 2)} × {_plain(1 - chance, 6)} = {_pct(needed)}: "
            f"{_pct(lowest - needed)} points below what is printed, at least {missing} "
            f"of {tested} images."
        )
    elif slack >= 0 and allowed[1] > 0:
        arithmetic += " " + _evenness(lowest, allowed[1], classes)
    return {
        "check": "mcc",
        "metric": "mcc",
        "reading": reading.name,
        "statement": f"With Overall {_pct(printed['overall'], 1)} on {classes} equally "
        f"frequent classes MCC is in {_range((low, high), 3)}, whatever is predicted.",
        "arithmetic": arithmetic,
        **_bounds(printed["mcc"], (low, high), allowed, slack),
    }


def _evenness(lowest: Fraction, greatest: Fraction, classes: int) -> str:
    """How uneven predictions may be at the lowest Overall and the greatest MCC."""
    chance = Fraction(1, classes)
    most = 1 - (lowest - chance) ** 2 / (greatest**2 * (1 - chance))
    uneven = math.sqrt(max(classes * most - 1, 0))
    return (
        f"The overlap asks that Σq² ≤ 1 − ({_plain(lowest, 4)} − 1/{classes})² / "
        f"({_plain(greatest, 4)}² × {_plain(1 - chance, 6)}) = {_plain(most, 7)}, "
        f"where equally frequent predictions have 1/{classes} = {_plain(chance, 7)}"
        ": the number of predictions of a class may vary by at most "
        f"sqrt({classes} × {_plain(most, 7)} − 1) = {uneven:.2f} times its mean "
        "(standard deviation)."
    )


# --- all at once, in whole images


def right_images_finding(
    printed: Mapping[str, Fraction], design: Design, reading: Reading
) -> Finding | None:
    """How many right images fit Overall, the shot groups and MCC at once.

    Implements: not in the paper: a balanced test set has a whole number of images, so
    that each printed share allows few counts.

    Args:
        printed: metric -> fraction.

    Returns:
        As the others, and `counts`: first and last number of right images that fits, or
        None. `slack` is their distance as a share, negative where none fits.
    """
    sizes = _weighed(printed, design, reading)
    if sizes is None:
        return None
    tested = design.classes * design.test_per_class
    allowed = _whole(reading.allowed(printed["overall"]), tested)
    parts = {
        group: _whole(reading.allowed(printed[group]), size * design.test_per_class)
        for group, size in sizes.items()
    }
    groups = (sum(p[0] for p in parts.values()), sum(p[1] for p in parts.values()))
    bounds = [groups]
    terms = [
        f"{group} {_counts(part)} of {sizes[group] * design.test_per_class}"
        for group, part in parts.items()
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
    first, last = max(allowed[0], implied[0]), min(allowed[1], implied[1])
    empty = [group for group, part in parts.items() if part[0] > part[1]]
    possible = first <= last and not empty
    number = last - first + 1 if possible else 0
    if empty:
        arithmetic += f" No whole number of images gives {', '.join(empty)}."
    elif possible:
        arithmetic += f" All at once: {_counts((first, last))}, {number} in all."
    else:
        arithmetic += " No number of right images is in all of them."
    return {
        "check": "right_images",
        "metric": "overall",
        "reading": reading.name,
        "statement": f"{number} of the {max(allowed[1] - allowed[0] + 1, 0)} numbers "
        f"of right images that print Overall {_pct(printed['overall'], 1)} fit every "
        "other number of the row.",
        "arithmetic": arithmetic,
        "published": float(printed["overall"]),
        "printed_low": allowed[0] / tested,
        "printed_high": allowed[1] / tested,
        "low": implied[0] / tested,
        "high": implied[1] / tested,
        "slack": min(last - first, -1 if empty else last - first) / tested,
        "counts": [first, last] if possible else None,
        "number": number,
        "verdict": "possible" if possible else "impossible",
    }


def _whole(share: Interval, images: int) -> tuple[int, int]:
    """First and last whole number of images inside; first > last where none is."""
    return math.ceil(share[0] * images), math.floor(share[1] * images)


def _images_of_mcc(allowed: Interval, design: Design) -> tuple[int, int]:
    """First and last number of right images, from chance on, that MCC allows."""
    classes = design.classes
    tested = classes * design.test_per_class
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


# --- NMI against Overall


def nmi_finding(printed: Mapping[str, Fraction], design: Design) -> Finding | None:
    """Whether NMI is at least what Fano's inequality leaves, given Overall.

    Implements: not in the paper. H(Y | prediction) <= h(e) + e log(C - 1), H(Y) = log C
    and H(prediction) <= log C, so that NMI >= 1 - (h(e) + e log(C - 1)) / log C under
    every usual normalisation; from above only 1, which systematic errors attain.

    Args:
        printed: metric -> fraction.

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
    allowed = STATED.allowed(printed["nmi"])
    slack = _overlap((low, Fraction(1)), allowed)
    return {
        "check": "nmi",
        "metric": "nmi",
        "reading": STATED.name,
        "statement": f"With Overall {_pct(printed['overall'], 1)} on {classes} equally "
        f"frequent classes NMI is in {_range((low, Fraction(1)), 1)}.",
        "arithmetic": f"Share of errors e at most {error:.4f}. H(Y | prediction) ≤ "
        f"h(e) + e ln({classes} − 1) = {binary:.4f} + {error:.4f} × "
        f"{math.log(max(classes - 1, 1)):.4f} = {unknown:.4f} nats, and ln {classes} = "
        f"{math.log(classes):.4f}: NMI ≥ 1 − {unknown:.4f} / {math.log(classes):.4f} = "
        f"{_pct(low, 1)} %. {_overlap_in_words(slack, 1)}",
        **_bounds(printed["nmi"], (low, Fraction(1)), allowed, slack),
    }


# --- differences between rows


def difference_findings(
    name: str, table: PublishedTable, design: Design, reference: str | None = None
) -> list[Finding]:
    """Which differences of one row to the others exceed test-set sampling error.

    Implements: not in the paper. On n images the difference of two accuracies has
    variance (D - d^2) / n, with D the share of images that exactly one of the two has
    right: between |d| and min(p1 + p2, 2 - p1 - p2), and p1(1 - p2) + p2(1 - p1) where
    the two are independent, which is the unpaired case. Images are drawn at random
    here: a test set that is stratified by class varies less. Of seeds it says nothing.

    Args:
        reference: row that the others are held against; None: the highest Overall.

    Returns:
        Findings, `check` difference: `published` d (reference minus row), `low`,
        `high`: least and greatest 1.96 standard errors, `threshold` the largest D at
        which d is beyond them, `robust`: whether rounding leaves the verdict alone,
        `slack`: |d| minus 1.96 unpaired standard errors.
    """
    rows = {key: _fractions(row.values) for key, row in table.rows.items()}
    if reference is None:
        known = [key for key in rows if "overall" in rows[key]]
        if not known:
            return []
        reference = max(known, key=lambda key: rows[key]["overall"])
    sizes = group_sizes(design.histogram, STATED)
    sizes["overall"] = design.classes
    findings = []
    for key, printed in rows.items():
        for metric in ACCURACIES:
            images = sizes[metric] * design.test_per_class
            ours = rows[reference].get(metric)
            other = printed.get(metric)
            if key == reference or ours is None or other is None or images == 0:
                continue
            common = {
                "table": name,
                "benchmark": design.benchmark,
                "row": key,
                "label": table.rows[key].label,
                "reference": reference,
                "reference_label": table.rows[reference].label,
                "metric": metric,
            }
            findings.append(common | _difference(ours, other, images))
    return findings


def _difference(ours: Fraction, other: Fraction, images: int) -> Finding:
    gap = ours - other
    least, independent, greatest = _discordance(ours, other)
    threshold = _threshold(gap, images)
    verdict = judge_difference(ours, other, images)
    corners = product(STATED.allowed(ours), STATED.allowed(other))
    verdicts = {judge_difference(p1, p2, images) for p1, p2 in corners}
    variance = (independent - gap**2) / images
    reach = [
        float(Z) * math.sqrt((share - gap**2) / images)
        for share in (least, independent, greatest)
    ]
    ends = [
        _threshold(max(abs(gap) + change, Fraction(0)), images)
        for change in (-STEP, STEP)
    ]
    closest = min(max(threshold, least), greatest)
    words = {
        BEYOND_ANY: "beyond sampling error whatever the pairing",
        BEYOND_UNPAIRED: "beyond sampling error with independent errors, and with any "
        f"pairing that leaves at most {_pct(closest, 1)} % of the images to one alone",
        BEYOND_PAIRED: "beyond sampling error only if at most "
        f"{_pct(closest, 1)} % of the images are right under exactly one of the two",
        WITHIN: "within sampling error, whatever the pairing",
    }
    p1, p2 = _plain(ours, 3), _plain(other, 3)
    q1, q2 = _plain(1 - ours, 3), _plain(1 - other, 3)
    return {
        "check": "difference",
        "reading": STATED.name,
        "statement": f"{_signed(gap)} points on {images} images: {words[verdict]}.",
        "arithmetic": (
            f"d = {_pct(ours, 1)} − {_pct(other, 1)} = {_signed(gap)} points, "
            f"n = {images}. Unpaired: SE = sqrt(({p1} × {q1} + {p2} × {q2}) / {images})"
            f" = {100 * math.sqrt(variance):.3f}, times 1.96 = {100 * reach[1]:.2f} "
            f"points. Paired: SE² = (D − d²) / n, with D from |d| = {_pct(least, 1)} % "
            f"(1.96 SE = {100 * reach[0]:.2f}) to min({p1} + {p2}, 2 − {p1} − {p2}) = "
            f"{_pct(greatest, 1)} % (1.96 SE = {100 * reach[2]:.2f}); |d| ≥ 1.96 SE as "
            f"long as D ≤ d² (1 + n / 1.96²) = {_plain(abs(gap), 3)}² × (1 + {images}"
            f" / 3.8416) = {_pct(threshold, 2)} %. Independent errors have D = "
            f"{p1} × {q2} + {p2} × {q1} = {_pct(independent, 1)} %. Print rounds d by "
            f"up to {_pct(STEP, 1)}, which moves the limit on D between "
            f"{_pct(ends[0], 2)} and {_pct(ends[1], 2)} %."
        ),
        "published": float(gap),
        "images": images,
        "low": reach[0],
        "high": reach[2],
        "unpaired": reach[1],
        "least_discordance": float(least),
        "independent_discordance": float(independent),
        "greatest_discordance": float(greatest),
        "threshold": float(threshold),
        "threshold_low": float(ends[0]),
        "threshold_high": float(ends[1]),
        "slack": float(abs(gap)) - reach[1],
        "robust": verdicts == {verdict},
        "verdict": verdict,
    }


def judge_difference(ours: Fraction, other: Fraction, images: int) -> str:
    """Whether |d| >= 1.96 standard errors: always, unpaired, if paired closely, never.

    Args:
        ours, other: accuracies, in [0, 1].
        images: n, the same under both.

    Returns:
        One of DIFFERENCE_VERDICTS.
    """
    threshold = _threshold(ours - other, images)
    least, independent, greatest = _discordance(ours, other)
    if ours == other or threshold < least:
        return WITHIN
    if threshold >= greatest:
        return BEYOND_ANY
    return BEYOND_UNPAIRED if threshold >= independent else BEYOND_PAIRED


def _discordance(ours: Fraction, other: Fraction) -> tuple[Fraction, ...]:
    """Least, independent and greatest share of images that one alone has right."""
    independent = ours * (1 - other) + other * (1 - ours)
    return abs(ours - other), independent, min(ours + other, 2 - ours - other)


def _threshold(gap: Fraction, images: int) -> Fraction:
    return gap**2 * (1 + images / Z**2)


# --- what the objective weighs


def weight_finding(design: Design, exponent: Fraction) -> Finding:
    """How L_MLE's class weights, n^-q normalised over classes, fall on the shot groups.

    Implements: the weights w_y of L_MLE, on class-uniform draws.

    Args:
        exponent: q.

    Returns:
        `shares` of each group, `effective_classes` 1 / sum w^2, and the arithmetic.
    """
    power = float(exponent)
    terms = {
        images: number * float(images) ** -power
        for images, number in sorted(design.histogram.items())
    }
    total = math.fsum(terms.values())
    squares = math.fsum(
        number * float(images) ** (-2 * power)
        for images, number in design.histogram.items()
    )
    sums = {
        group: math.fsum(terms[i] for i in terms if _group(i) == group)
        for group in SHOT_GROUPS
    }
    shares = {group: value / total for group, value in sums.items()}
    effective = total**2 / squares
    first = list(terms)[:3]
    q = f"{power:g}"
    heads = " + ".join(f"{design.histogram[i]}/{i}^{q}" for i in first)
    few_classes = group_sizes(design.histogram, STATED)["few"]
    return {
        "benchmark": design.benchmark,
        "check": "weights",
        "exponent": power,
        "classes": design.classes,
        "few_classes": few_classes,
        "shares": shares,
        "effective_classes": effective,
        "statement": f"With weights n^-{q} the {few_classes} Few classes of "
        f"{design.classes} carry {100 * shares['few']:.0f} % of L_MLE, and "
        f"{effective:.0f} classes of equal weight would be as many.",
        "arithmetic": f"Sum of n^-{q} over the classes, smallest first: {heads} + … = "
        f"{sums['few']:.5g} over Few, {sums['medium']:.5g} over Medium, "
        f"{sums['many']:.5g} over Many, {total:.5g} in all. Few: {sums['few']:.5g} / "
        f"{total:.5g} = {100 * shares['few']:.1f} %. Sum of n^-{2 * power:g}: "
        f"{squares:.5g}. Effective number of classes: {total:.5g}² / {squares:.5g} = "
        f"{effective:.1f}.",
    }


def _group(images: int) -> str:
    if images >= STATED.many_from:
        return "many"
    return "few" if images < STATED.few_below else "medium"


# --- shared


def _fractions(values: Mapping[str, float | None]) -> dict[str, Fraction]:
    """Printed percents as exact fractions; a dash in print is left out."""
    return {
        name: Fraction(str(value)) / 100
        for name, value in values.items()
        if value is not None
    }


def _mean(
    sizes: Mapping[str, int], values: Mapping[str, Fraction], classes: int
) -> Fraction:
    return sum((sizes[g] * values[g] for g in sizes), Fraction(0)) / classes


def _overlap(one: Interval, other: Interval) -> Fraction:
    """Length of what two intervals share; negative: the gap between them."""
    return min(one[1], other[1]) - max(one[0], other[0])


def _bounds(
    published: Fraction, implied: Interval, allowed: Interval, slack: Fraction
) -> Finding:
    return {
        "published": float(published),
        "printed_low": float(allowed[0]),
        "printed_high": float(allowed[1]),
        "low": float(implied[0]),
        "high": float(implied[1]),
        "slack": float(slack),
        "verdict": "possible" if slack >= 0 else "impossible",
    }


def _overlap_in_words(slack: Fraction, digits: int) -> str:
    if slack < 0:
        return f"These miss each other by {_pct(-slack, digits)} points."
    return f"These overlap by {_pct(slack, digits)} points."


def _cut(reading: Reading) -> str:
    if reading.truncated:
        return f"Each printed number hides up to {_pct(STEP, 1)} of dropped digits"
    return f"Each printed number is known to ±{_pct(STEP / 2, 2)}"


def _weights(sizes: Mapping[str, int], classes: int) -> str:
    return ", ".join(
        f"{group} {size}/{classes} = {size / classes:.4f}"
        for group, size in sizes.items()
    )


def _pct(value: Fraction, digits: int = 4) -> str:
    return f"{float(100 * value):.{digits}f}".replace("-", "−")


def _signed(value: Fraction) -> str:
    return f"{float(100 * value):+.1f}".replace("-", "−")


def _plain(value: Fraction, digits: int) -> str:
    return f"{float(value):.{digits}f}"


def _range(interval: Interval, digits: int) -> str:
    return f"[{_pct(interval[0], digits)}, {_pct(interval[1], digits)}]"


def _counts(counts: Sequence[int]) -> str:
    first, last = counts
    if first > last:
        return "none"
    return f"{first}" if first == last else f"{first} to {last}"
