"""Intervals that cover seeds and test sampling together.

The mean over S seeds of an accuracy varies for two reasons: other seeds would have
trained other models, and other test images would have been easier or harder. The seeds
share one test set, so the spread between seeds says nothing of the second. Both
variances are estimated and added, less what both contain: luck of one seed on one
sample.

Three choices make a 95 % interval hold the truth 93 to 97 times in 100, or nearly;
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
  Where weights differ an event has the cube root of sum w^2 times sum w^3: more than
  the mean weight, since the few heavy samples can go wrong by themselves.
- **Strata.** Samples vary within the groups whose size the test set fixes. Of a group
  with few test samples little is known, of one with a single sample nothing: each is
  given one sample more, which varies as those of all groups do within theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import nctdtrinc, stdtr, stdtrit

LEVEL = 0.95
POWER = 0.80
_EVENTS = 2.0  # supposed on either side, as Agresti and Coull do
_BEND = 1.25  # 1 would be Cochran's rule


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Fields: `mean`; `low`, `high` of the interval; `per_seed`; `seed_variance` and
    `test_variance` of the mean, which add up to the square of its standard error;
    Student's `freedom`.
    """

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    seed_variance: float
    test_variance: float
    freedom: float

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return (self.seed_variance + self.test_variance) ** 0.5

    def ends(self, level: float) -> tuple[float, float]:
        """Ends of the interval at another level."""
        if not self.freedom > 0:
            return self.low, self.high
        half = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        return self.mean - half, self.mean + half

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
        return float(2 * stdtr(self.freedom, -abs(self.mean) / self.error))

    @property
    def detectable(self) -> float:
        """The least true mean that a 95 % interval tells from 0 in 80 of 100 runs.

        Noncentral t, with this run's error and freedom as if they were known: what the
        run could have seen, whatever it saw.
        """
        if np.isnan(self.mean) or not self.freedom > 0:
            return float("nan")
        reach = stdtrit(self.freedom, 0.5 + LEVEL / 2)
        return float(nctdtrinc(self.freedom, 1 - POWER, reach) * self.error)


def estimate(
    scores: np.ndarray,
    weights: np.ndarray,
    strata: np.ndarray | None = None,
    level: float = LEVEL,
    step: float = 1.0,
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
    if seeds > 1:
        seed_variance = float(per_seed.var(ddof=1)) / seeds
        residuals = scores - scores.mean(0)
        luck = [_test_variance(row, weights, groups)[0] for row in residuals]
        shared = float(np.mean(luck)) / (seeds - 1)
    both, test_freedom = _test_variance(scores.mean(0), weights, groups)
    single = both + (seeds - 1) * shared  # of one seed alone
    moved = step * (both / single if single > 0 else 1.0)
    events = _EVENTS if step else 0.0
    squares, cubes = float((weights**2).sum()), float((weights**3).sum())
    apart = max(both - shared, 0.0)
    apart += events * moved**2 * (squares * cubes) ** (2 / 3)
    test_variance = apart / (1 + 2 * events * squares)
    total = seed_variance + test_variance
    freedom = _freedom(seed_variance / total if total else 0.0, seeds - 1, test_freedom)
    return _student(per_seed, seed_variance, test_variance, freedom, level)


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
) -> Estimate:
    mean = float(per_seed.mean())
    half = float(stdtrit(freedom, 0.5 + level / 2))
    half *= (seed_variance + test_variance) ** 0.5
    return Estimate(
        mean=mean,
        low=mean - half,
        high=mean + half,
        per_seed=tuple(per_seed.tolist()),
        seed_variance=seed_variance,
        test_variance=test_variance,
        freedom=freedom,
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
    scores: np.ndarray, weights: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    """Variance of sum_n w_n s_n over draws of test samples, and its freedom (>= 1).

    Args:
        scores: (N,); weights: (N,), equal within a stratum; groups: (N,) stratum, -1
            where not counted.
    """
    counted = groups >= 0
    scores, weights, groups = scores[counted], weights[counted], groups[counted]
    size = np.bincount(groups)
    centre = np.bincount(groups, scores) / size
    within = np.bincount(groups, (scores - centre[groups]) ** 2)
    freedom = float((size - 1).sum())
    pooled = within.sum() / max(freedom, 1.0)
    each = (within + pooled) / size * np.bincount(groups, weights**2)
    return float(each.sum()), max(freedom, 1.0)
