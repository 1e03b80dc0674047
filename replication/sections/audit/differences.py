"""Which printed differences exceed what another test set would have moved them by."""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from replication.published.reader import PublishedTable
from replication.samples.metrics import ACCURACIES
from replication.sections.audit.printed import Design, allowed, fractions

Z = Fraction(196, 100)
BEYOND_ANY = "yes"
BEYOND_UNPAIRED = "yes, if errors are unrelated"
BEYOND_PAIRED = "only if errors are shared"
WITHIN = "no"
DIFFERENCE_VERDICTS = (BEYOND_ANY, BEYOND_UNPAIRED, BEYOND_PAIRED, WITHIN)


@dataclass(frozen=True)
class Difference:
    """A printed difference of the best row and another, and its sampling error.

    Fields: `published`: the best row minus this one; `unpaired`: 1.96 standard errors
    where the two err independently; `least_discordance`,
    `greatest_discordance`: of the share of images that exactly one of the two has
    right; `threshold`: the largest at which the difference is beyond 1.96 standard
    errors; `robust`: whether rounding leaves the verdict alone.
    """

    table: str
    label: str
    best: str
    metric: str
    published: float
    unpaired: float
    least_discordance: float
    greatest_discordance: float
    threshold: float
    robust: bool
    verdict: str


def differences(name: str, table: PublishedTable, design: Design) -> list[Difference]:
    """Which differences of the row with the best Overall to the others exceed error.

    On n images the difference of two accuracies has variance (D - d^2) / n, with D the
    share of images that exactly one of the two has right: between |d| and min(p1 + p2,
    2 - p1 - p2), and p1(1 - p2) + p2(1 - p1) where the two are independent, which is
    the unpaired case. Images are drawn at random here: a test set that is stratified by
    class varies less. Of seeds it says nothing.
    """
    rows = {key: fractions(row.values) for key, row in table.rows.items()}
    known = [key for key in rows if "overall" in rows[key]]
    if not known:
        return []
    best = max(known, key=lambda key: rows[key]["overall"])
    sizes = design.groups | {"overall": design.classes}
    results = []
    for key, metric in product(rows, ACCURACIES):
        images = sizes[metric] * design.test_per_class
        first, second = rows[best].get(metric), rows[key].get(metric)
        if key == best or first is None or second is None or images == 0:
            continue
        least, independent, greatest = discordance(first, second)
        verdict = judge_difference(first, second, images)
        corners = product(allowed(first), allowed(second))
        variance = (independent - (first - second) ** 2) / images
        results.append(
            Difference(
                table=name,
                label=table.rows[key].label,
                best=table.rows[best].label,
                metric=metric,
                published=float(first - second),
                unpaired=float(Z) * math.sqrt(variance),
                least_discordance=float(least),
                greatest_discordance=float(greatest),
                threshold=float(threshold(first - second, images)),
                robust={judge_difference(*pair, images) for pair in corners}
                == {verdict},
                verdict=verdict,
            )
        )
    return results


def judge_difference(first: Fraction, second: Fraction, images: int) -> str:
    """Whether |d| >= 1.96 standard errors: always, unpaired, if paired closely, never.

    Args:
        first, second: accuracies, in [0, 1].
        images: n, the same under both.

    Returns:
        One of DIFFERENCE_VERDICTS.
    """
    limit = threshold(first - second, images)
    least, independent, greatest = discordance(first, second)
    if first == second or limit < least:
        return WITHIN
    if limit >= greatest:
        return BEYOND_ANY
    return BEYOND_UNPAIRED if limit >= independent else BEYOND_PAIRED


def discordance(first: Fraction, second: Fraction) -> tuple[Fraction, ...]:
    """Least, independent and greatest share of images that one alone has right."""
    independent = first * (1 - second) + second * (1 - first)
    return abs(first - second), independent, min(first + second, 2 - first - second)


def threshold(gap: Fraction, images: int) -> Fraction:
    """The discordance D at which |d| is 1.96 standard errors."""
    return gap**2 * (1 + images / Z**2)
