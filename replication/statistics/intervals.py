"""Intervals that cover seeds and test sampling together.

The mean over S seeds of an accuracy varies for two reasons: other seeds would have
trained other models, and other test images would have been easier or harder. The seeds
share one test set, so the spread between seeds says nothing of the second. Both
variances are estimated and added, less what both contain: luck of one seed on one
sample.

Four choices make a 95 % interval hold the truth 93 to 97 times in 100, or nearly;
`bench/statistics.md` says where, by simulation (`python -m bench.statistics`).

- **Freedom.** Few seeds estimate their part of the variance badly. The critical value
  lies between Student's of S - 1 and that of test sampling, linearly in the seeds'
  share of the variance to the power of 5/4. (The share itself, Cochran's rule, is wider
  than it must be, and Satterthwaite's freedom too narrow wherever few seeds matter as
  much as the test samples; 5/4 is what leaves coverage nearest to 95 %.)
- **Two events on either side.** Where next to nothing happens (a group nearly all
  right, two methods that nearly agree) a few samples seem to vary less than they do. As
  in the interval of Agresti and Coull, two right and two wrong answers more are
  supposed, for the variance alone. One counts as much as a sample's mean over seeds
  moves: by 1 where seeds agree on a sample, by 1/S where each errs on its own.
- **Strata.** Samples vary within the groups whose size the test set fixes. Of a group
  with few test samples little is known, of one with a single sample nothing: each is
  given eight samples more, which vary as those of all groups do within theirs.
- **Heavy samples.** Where classes of few test samples count as much as others, a mean
  over them is no normal number: a coin that decides a tenth is 0.05 off, never 0.1, and
  an image that is right in nine of ten cases is far off on one side alone. The ends are
  then where the weighted sum itself has 2.5 % beyond: each sample varies as those of
  its group do, and the eight that it is given as those of the groups in turn, with one
  answer more on either side, and of one more, whose share of right answers may be
  anything; the seeds' effect is normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import nctdtrinc, ndtri, stdtr, stdtrit

LEVEL = 0.95
POWER = 0.80
_EVENTS = 2.0  # supposed on either side, as Agresti and Coull do
_BEND = 1.25  # 1 would be Cochran's rule
_BORROWED = 8.0  # samples that a stratum is given
_VALUES = 25  # of a sample's residual, on either side
_HEAVY = 0.005  # of the variance: what one sample may have and count as normal
# A number's distribution at so many distances from its mean, in standard deviations,
# out of its characteristic function at so many points (Gil-Pelaez).
_POINTS = (np.arange(480) + 0.5) / 10
_DISTANCES = np.arange(-225, 226) / 50
_SMOOTH = np.exp(-((0.06 * _POINTS) ** 2) / 2)  # steps are rounded, they do not ring
_TURNS = np.exp(-1j * np.outer(_DISTANCES, _POINTS)) * _SMOOTH / _POINTS / (10 * np.pi)


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Fields: `mean`; `low`, `high` of the interval; `per_seed`; `seed_variance` and
    `test_variance` of the mean, which add up to the square of its standard error;
    Student's `freedom`; `sides`, how many errors down and up a normal number's one is.
    """

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    seed_variance: float
    test_variance: float
    freedom: float
    sides: tuple[float, float] = (1.0, 1.0)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return (self.seed_variance + self.test_variance) ** 0.5

    def ends(self, level: float) -> tuple[float, float]:
        """Ends of the interval at another level."""
        if not self.freedom > 0:
            return self.low, self.high
        half = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        down, up = self.sides
        return self.mean - down * half, self.mean + up * half

    def within(self, least: float, most: float) -> "Estimate":
        """With an interval that ends where the estimated value must: [0, 1] of a share.

        Coverage stays: what is cut off cannot hold the truth.
        """
        low, high = (min(max(end, least), most) for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    @property
    def p_value(self) -> float:
        """Of a mean of 0, two-sided: below 5 % where the 95 % interval leaves 0 out.

        Student's t test with the interval's own error and freedom: the paired test,
        where the scores are differences.
        """
        if np.isnan(self.mean) or not self.freedom > 0:
            return float("nan")
        if self.error == 0:
            return float(self.mean == 0)
        error = self.error * self.sides[self.mean < 0]
        return float(2 * stdtr(self.freedom, -abs(self.mean) / error))

    @property
    def detectable(self) -> float:
        """The least true mean that a 95 % interval tells from 0 in 80 of 100 runs.

        Noncentral t, with this run's error and freedom as if they were known: what the
        run could have seen, whatever it saw.
        """
        if np.isnan(self.mean) or not self.freedom > 0:
            return float("nan")
        reach = stdtrit(self.freedom, 0.5 + LEVEL / 2)
        error = self.error * max(self.sides)
        return float(nctdtrinc(self.freedom, 1 - POWER, reach) * error)


def estimate(
    scores: np.ndarray,
    weights: np.ndarray,
    strata: np.ndarray | None = None,
    level: float = LEVEL,
    step: float = 1.0,
    alike: bool = True,
) -> Estimate:
    """Mean over seeds of a weighted mean over test samples, with its interval.

    Args:
        scores: (S, N) score of each test sample under each seed: 1 or 0 for right or
            wrong; differences of two such for a paired comparison (same samples, same
            seeds).
        weights: (N,) summing to 1.
        strata: (N,) group of each sample whose size is fixed by the test set's design:
            its class, where the test set is balanced. Samples vary within theirs. None:
            samples of equal weight are one stratum.
        level: of confidence.
        step: by how much one answer more moves a sample's score: 1 for shares; 0 where
            no events are to be supposed.
        alike: whether samples vary alike in all strata, so that a small one may borrow
            from the others; DeLong's components of two groups do not.

    Returns:
        All NaN where a weight is NaN (an empty group). With one seed the interval
        covers test sampling alone.
    """
    seeds = len(scores)
    if np.isnan(weights).any():
        missing = float("nan")
        return Estimate(*(missing,) * 3, (missing,) * seeds, 0.0, 0.0, missing)
    groups = _strata(weights, strata)
    per_seed = scores @ weights
    seed_variance, shared = 0.0, 0.0
    borrowed = _BORROWED if alike else 0.0
    if seeds > 1:
        seed_variance = float(per_seed.var(ddof=1)) / seeds
        residuals = scores - scores.mean(0)
        luck = [_test_variance(row, weights, groups, borrowed)[0] for row in residuals]
        shared = float(np.mean(luck)) / (seeds - 1)
    both, test_freedom = _test_variance(scores.mean(0), weights, groups, borrowed)
    single = both + (seeds - 1) * shared  # of one seed alone
    moved = step * (both / single if single > 0 else 1.0)
    events = _EVENTS if step else 0.0
    squares = float((weights**2).sum())
    apart = max(both - shared, 0.0) + events * moved**2 * squares**2
    test_variance = apart / (1 + 2 * events * squares)
    sides = (1.0, 1.0)
    if alike and np.ptp(weights[weights > 0]) > 1e-9 * weights.max():
        if seeds > 1:  # less the luck that these samples had, not what luck is usual
            luck_here = weights**2 @ scores.var(0, ddof=1) / seeds
            seed_variance = max(seed_variance - float(luck_here), 0.0)
        alone = step / seeds  # where seeds err on their own, and cancel out
        value, chances = _chances(scores.mean(0), groups, step, moved or alone)
        test_variance, sides = _sides(value, chances, weights, groups, seed_variance)
    total = seed_variance + test_variance
    freedom = _freedom(seed_variance / total if total else 0.0, seeds - 1, test_freedom)
    return _student(per_seed, seed_variance, test_variance, freedom, level, sides)


def _chances(
    scores: np.ndarray, groups: np.ndarray, step: float, moved: float
) -> tuple[np.ndarray, np.ndarray]:
    """By how much a sample may be off its group's mean.

    Args:
        scores: (N,); groups: (N,) stratum, -1 where not counted; step, moved: by how
            much one answer more moves a score under one seed, and the mean over seeds.

    Returns:
        (V,) values, and (C, V) how likely each is in each stratum.
    """
    scores, groups = scores[groups >= 0], groups[groups >= 0]
    size = np.bincount(groups)
    off = scores - (np.bincount(groups, scores) / size)[groups]
    off *= (size / np.maximum(size - 1, 1))[groups] ** 0.5
    furthest = (step * moved) ** 0.5  # seeds that agree move together
    unit = max(float(np.abs(off).max()), furthest) / _VALUES or 1.0
    value = np.arange(-_VALUES, _VALUES + 1)
    at = groups * len(value) + np.round(off / unit).astype(int) + _VALUES
    own = np.bincount(at, minlength=len(size) * len(value))
    own = own.reshape(len(size), -1) / size[:, None]
    known = (size - 1) / (size - 1 + _BORROWED)
    lent = known / (known.sum() or 1.0)
    others = lent @ own
    if step:
        # As of so many samples in so many strata of equal weight (Kish).
        samples = 1 / (float((lent**2 / size).sum()) or np.inf)
        strata = 1 / (float((lent**2).sum()) or np.inf)
        events = np.isin(np.abs(value), round(moved / unit))  # one on either side
        any_share = np.maximum(furthest / unit - np.abs(value), 0.0)
        others = (samples * others + events) / (samples + events.sum())
        others = (strata * others + any_share / any_share.sum()) / (strata + 1)
    known = known[:, None]
    return value * unit, known * own + (1 - known) * others


def _sides(
    value: np.ndarray,
    chances: np.ndarray,
    weights: np.ndarray,
    groups: np.ndarray,
    normal: float,
) -> tuple[float, tuple[float, float]]:
    """How far a weighted sum may be off its mean.

    Args:
        value, chances: as of `_chances`; weights, groups: (N,) of the samples; normal:
            variance of a normal number in the sum.

    Returns:
        Variance of the samples' part; and for the lower and upper end of an interval,
        how many standard errors a normal number's one is.
    """
    centre = chances @ value
    variance = chances @ value**2 - centre**2
    kinds = (groups + 1j * weights)[groups >= 0]  # a stratum and a weight
    kind, number = np.unique(kinds, return_counts=True)
    stratum, weight = kind.real.astype(int), kind.imag
    spread = weight**2 * variance[stratum]
    sampled = float(number @ spread)
    total = sampled + normal
    if total == 0:
        return 0.0, (1.0, 1.0)
    points = _POINTS / total**0.5
    heavy = spread > _HEAVY * total
    light = normal + float(number[~heavy] @ spread[~heavy])
    turned = np.exp(-(points**2) * light / 2).astype(complex)
    for each in np.unique(weight[heavy]):
        of = heavy & (weight == each)
        waves = np.exp(1j * np.outer(points * each, value)) @ chances[stratum[of]].T
        waves *= np.exp(-1j * np.outer(points * each, centre[stratum[of]]))
        turned *= (waves ** number[of]).prod(1)
    below = np.maximum.accumulate(0.5 - (_TURNS @ turned).imag)
    tail = (1 - LEVEL) / 2
    low, high = np.interp([tail, 1 - tail], below, _DISTANCES) / ndtri(1 - tail)
    return sampled, (float(high), -float(low))


def over_seeds(values: Sequence[float | None]) -> Estimate:
    """Mean of one number a seed, with Student's t interval; no end with one seed.

    Args:
        values: (S,); those that are NaN or None do not count.

    Returns:
        All NaN where no value counts; ends without bound where one does.
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    known = known[~np.isnan(known)]
    if len(known) == 0:
        missing = float("nan")
        return Estimate(*(missing,) * 3, (), 0.0, 0.0, missing)
    if len(known) == 1:
        alone, end = float(known[0]), float("inf")
        return Estimate(alone, -end, end, (alone,), 0.0, 0.0, 0.0)
    variance = float(known.var(ddof=1)) / len(known)
    return _student(known, variance, 0.0, len(known) - 1.0)


def _student(
    per_seed: np.ndarray,
    seed_variance: float,
    test_variance: float,
    freedom: float,
    level: float = LEVEL,
    sides: tuple[float, float] = (1.0, 1.0),
) -> Estimate:
    mean = float(per_seed.mean())
    half = float(stdtrit(freedom, 0.5 + level / 2))
    half *= (seed_variance + test_variance) ** 0.5
    return Estimate(
        mean=mean,
        low=mean - sides[0] * half,
        high=mean + sides[1] * half,
        per_seed=tuple(per_seed.tolist()),
        seed_variance=seed_variance,
        test_variance=test_variance,
        freedom=freedom,
        sides=sides,
    )


def _freedom(share: float, of_seeds: int, of_test: float) -> float:
    """Student's freedom between that of the seeds and that of the test samples.

    Args:
        share: of the seeds in the variance, in [0, 1].
        of_seeds: S - 1; 0 where the seeds have no part.
        of_test: of the variance over test samples, at least 1.

    Returns:
        The freedom whose critical value at 95 % is the one between.
    """
    if of_seeds == 0 or of_seeds == of_test:
        return float(of_test)
    tail = 0.5 + LEVEL / 2
    few, many = stdtrit([of_seeds, of_test], tail)
    between = many + share**_BEND * (few - many)
    ends = np.log([of_seeds, of_test])

    def beyond(log_freedom: float) -> float:
        return float(stdtrit(np.exp(log_freedom), tail) - between)

    for end, freedom in zip(ends, (of_seeds, of_test), strict=True):
        if abs(beyond(end)) < 1e-9:
            return float(freedom)
    return float(np.exp(brentq(beyond, ends.min(), ends.max())))


def _strata(weights: np.ndarray, strata: np.ndarray | None) -> np.ndarray:
    """Number each counted sample's stratum; they are one where each has one sample.

    Returns:
        (N,) int, -1 where a sample does not count.
    """
    counted = weights > 0
    groups = np.full(len(weights), -1)
    given = (weights if strata is None else strata)[counted]
    _, number, size = np.unique(given, return_inverse=True, return_counts=True)
    groups[counted] = number if size.max() > 1 else 0
    return groups


def _test_variance(
    scores: np.ndarray, weights: np.ndarray, groups: np.ndarray, borrowed: float
) -> tuple[float, float]:
    """Variance of sum_n w_n s_n over draws of test samples, and its freedom (>= 1).

    Args:
        scores: (N,); weights: (N,), equal within a stratum; groups: (N,) stratum, -1
            where not counted; borrowed: samples that a stratum is given.
    """
    counted = groups >= 0
    scores, weights, groups = scores[counted], weights[counted], groups[counted]
    size = np.bincount(groups)
    centre = np.bincount(groups, scores) / size
    within = np.bincount(groups, (scores - centre[groups]) ** 2)
    freedom = float((size - 1).sum())
    pooled = within.sum() / max(freedom, 1.0)
    each = (within + borrowed * pooled) / np.maximum(size - 1 + borrowed, 1)
    each *= np.bincount(groups, weights**2)
    return float(each.sum()), max(freedom, 1.0)
