"""Which printed differences exceed what another test set would have moved them by."""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from replication.published.reader import PublishedTable
from replication.samples.metrics import ACCURACIES
from replication.sections.audit.printed import (
    STATED,
    STEP,
    Design,
    fractions,
    group_sizes,
    pct,
    plain,
    signed,
)

Z = Fraction(196, 100)
BEYOND_ANY = "beyond, whatever the pairing"
BEYOND_UNPAIRED = "beyond, unpaired too"
BEYOND_PAIRED = "beyond only if paired closely"
WITHIN = "within, whatever the pairing"
DIFFERENCE_VERDICTS = (BEYOND_ANY, BEYOND_UNPAIRED, BEYOND_PAIRED, WITHIN)


@dataclass(frozen=True)
class Difference:
    """A printed difference of two rows, and its sampling error.

    Fields: `published`: the reference minus the row, on so many `images`. `low`,
    `unpaired`, `high`: 1.96 standard errors at the least, independent and greatest
    discordance, the share of images that exactly one of the two has right; `threshold`
    (`_low`, `_high`: given rounding): the largest discordance at which the difference
    is beyond them. `slack`: |d| minus `unpaired`; `robust`: whether rounding leaves the
    verdict alone.
    """

    table: str
    benchmark: str
    row: str
    label: str
    reference: str
    reference_label: str
    metric: str
    statement: str
    arithmetic: str
    published: float
    images: int
    low: float
    high: float
    unpaired: float
    least_discordance: float
    independent_discordance: float
    greatest_discordance: float
    threshold: float
    threshold_low: float
    threshold_high: float
    slack: float
    robust: bool
    verdict: str


def differences(
    name: str, table: PublishedTable, design: Design, reference: str | None = None
) -> list[Difference]:
    """Which differences of one row to the others exceed test-set sampling error.

    On n images the difference of two accuracies has variance (D - d^2) / n, with D the
    share of images that exactly one of the two has right: between |d| and min(p1 + p2,
    2 - p1 - p2), and p1(1 - p2) + p2(1 - p1) where the two are independent, which is
    the unpaired case. Images are drawn at random here: a test set that is stratified by
    class varies less. Of seeds it says nothing.

    Args:
        reference: row that the others are compared with; None: the highest Overall.
    """
    rows = {key: fractions(row.values) for key, row in table.rows.items()}
    if reference is None:
        known = [key for key in rows if "overall" in rows[key]]
        if not known:
            return []
        reference = max(known, key=lambda key: rows[key]["overall"])
    sizes = group_sizes(design.histogram, STATED)
    sizes["overall"] = design.classes
    results = []
    for key, printed in rows.items():
        for metric in ACCURACIES:
            images = sizes[metric] * design.test_per_class
            ours, other = rows[reference].get(metric), printed.get(metric)
            if key == reference or ours is None or other is None or images == 0:
                continue
            results.append(
                Difference(
                    table=name,
                    benchmark=design.benchmark,
                    row=key,
                    label=table.rows[key].label,
                    reference=reference,
                    reference_label=table.rows[reference].label,
                    metric=metric,
                    **_numbers(ours, other, images),
                )
            )
    return results


def _numbers(ours: Fraction, other: Fraction, images: int) -> dict:
    """The fields of a Difference that follow from two accuracies."""
    gap = ours - other
    least, independent, greatest = discordances = _discordance(ours, other)
    threshold = _threshold(gap, images)
    verdict = judge_difference(ours, other, images)
    corners = product(STATED.allowed(ours), STATED.allowed(other))
    reach = [float(Z) * math.sqrt((share - gap**2) / images) for share in discordances]
    ends = [
        _threshold(max(abs(gap) + change, Fraction(0)), images)
        for change in (-STEP, STEP)
    ]
    closest = pct(min(max(threshold, least), greatest), 1)
    words = {
        BEYOND_ANY: "beyond sampling error whatever the pairing",
        BEYOND_UNPAIRED: "beyond sampling error with independent errors, and with any "
        f"pairing that leaves at most {closest} % of the images to one alone",
        BEYOND_PAIRED: "beyond sampling error only if at most "
        f"{closest} % of the images are right under exactly one of the two",
        WITHIN: "within sampling error, whatever the pairing",
    }
    return {
        "statement": f"{signed(gap)} points on {images} images: {words[verdict]}.",
        "arithmetic": _arithmetic(ours, other, images, reach),
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
        "robust": {judge_difference(*pair, images) for pair in corners} == {verdict},
        "verdict": verdict,
    }


def _arithmetic(
    ours: Fraction, other: Fraction, images: int, reach: list[float]
) -> str:
    """For a reader to redo.

    Args:
        reach: 1.96 standard errors, as in a Difference: low, unpaired, high.
    """
    gap = ours - other
    least, independent, greatest = _discordance(ours, other)
    variance, limit = (independent - gap**2) / images, _threshold(gap, images)
    ends = [
        _threshold(max(abs(gap) + change, Fraction(0)), images)
        for change in (-STEP, STEP)
    ]
    p1, p2 = plain(ours, 3), plain(other, 3)
    q1, q2 = plain(1 - ours, 3), plain(1 - other, 3)
    return (
        f"d = {pct(ours, 1)} − {pct(other, 1)} = {signed(gap)} points, "
        f"n = {images}. Unpaired: SE = sqrt(({p1} × {q1} + {p2} × {q2}) / {images})"
        f" = {100 * math.sqrt(variance):.3f}, times 1.96 = {100 * reach[1]:.2f} "
        f"points. Paired: SE² = (D − d²) / n, with D from |d| = {pct(least, 1)} % "
        f"(1.96 SE = {100 * reach[0]:.2f}) to min({p1} + {p2}, 2 − {p1} − {p2}) = "
        f"{pct(greatest, 1)} % (1.96 SE = {100 * reach[2]:.2f}); |d| ≥ 1.96 SE as "
        f"long as D ≤ d² (1 + n / 1.96²) = {plain(abs(gap), 3)}² × (1 + {images}"
        f" / 3.8416) = {pct(limit, 2)} %. Independent errors have D = "
        f"{p1} × {q2} + {p2} × {q1} = {pct(independent, 1)} %. Print rounds d by "
        f"up to {pct(STEP, 1)}, which moves the limit on D between "
        f"{pct(ends[0], 2)} and {pct(ends[1], 2)} %."
    )


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
