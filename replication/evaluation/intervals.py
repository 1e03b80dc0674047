"""Intervals that cover seeds and test sampling together.

The mean over S seeds of an accuracy varies for two reasons: other seeds would have
trained other models, and other test images would have been easier or harder. The seeds
share one test set, so the spread between seeds says nothing of the second. Both
variances are estimated and added, less what both contain: luck of one seed on one
sample. Satterthwaite's degrees of freedom make the t interval wide where few seeds
carry the uncertainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Fields: `mean`; `low`, `high` of the 95 % interval; `per_seed`; `seed_variance` and
    `test_variance` of the mean.
    """

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    seed_variance: float
    test_variance: float


def estimate(
    scores: np.ndarray,
    weights: np.ndarray,
    strata: np.ndarray | None = None,
    level: float = 0.95,
) -> Estimate:
    """Mean over seeds of a weighted mean over test samples, with its interval.

    Implements: not in the paper, which prints single runs.

    Args:
        scores: (S, N) score of each test sample under each seed: 1 or 0 for right or
            wrong; differences of two such for a paired comparison (same samples, same
            seeds).
        weights: (N,) summing to 1.
        strata: (N,) group of each sample whose size is fixed by the test set's design:
            its class, where the test set is balanced. Samples vary within theirs. None:
            samples of equal weight are one stratum.
        level: of confidence.

    Returns:
        All NaN where a weight is NaN (an empty group). With one seed the interval
        covers test sampling alone.
    """
    if np.isnan(weights).any():
        missing = float("nan")
        return Estimate(missing, missing, missing, (missing,) * len(scores), 0.0, 0.0)
    groups = _strata(weights, strata)
    per_seed = scores @ weights
    seeds = len(per_seed)
    mean = float(per_seed.mean())
    seed_variance, shared = 0.0, 0.0
    if seeds > 1:
        seed_variance = float(per_seed.var(ddof=1)) / seeds
        residuals = scores - scores.mean(0)
        luck = [_test_variance(row, weights, groups)[0] for row in residuals]
        shared = float(np.mean(luck)) / (seeds - 1)
    test_variance, test_freedom = _test_variance(scores.mean(0), weights, groups)
    test_variance = max(test_variance - shared, 0.0)
    total = seed_variance + test_variance
    half = 0.0
    if total > 0:
        spread = test_variance**2 / test_freedom if test_freedom else 0.0
        spread += seed_variance**2 / (seeds - 1) if seeds > 1 else 0.0
        half = float(stats.t.ppf(0.5 + level / 2, total**2 / spread) * total**0.5)
    return Estimate(
        mean=mean,
        low=mean - half,
        high=mean + half,
        per_seed=tuple(per_seed.tolist()),
        seed_variance=seed_variance,
        test_variance=test_variance,
    )


def over_seeds(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean of one number a seed, with Student's t interval; no end with one seed.

    Implements: not in the paper: for what is not an average over test samples.

    Args:
        values: (S,); those that are NaN or None do not count.
        level: of confidence.
    """
    known = np.array([value for value in values if value is not None], dtype=float)
    known = known[~np.isnan(known)]
    if len(known) == 0:
        return Estimate(*(float("nan"),) * 3, tuple(values), 0.0, 0.0)
    mean, half, variance = float(known.mean()), float("nan"), 0.0
    if len(known) > 1:
        variance = float(known.var(ddof=1)) / len(known)
        half = float(stats.t.ppf(0.5 + level / 2, len(known) - 1)) * variance**0.5
    return Estimate(
        mean, mean - half, mean + half, tuple(known.tolist()), variance, 0.0
    )


def _strata(weights: np.ndarray, strata: np.ndarray | None) -> np.ndarray:
    """Number each counted sample's stratum; those of one sample are taken together.

    Returns:
        (N,) int, -1 where a sample does not count.
    """
    counted = weights > 0
    groups = np.full(len(weights), -1)
    given = (weights if strata is None else strata)[counted]
    _, number, size = np.unique(given, return_inverse=True, return_counts=True)
    number = np.where(size[number] > 1, number, len(size))
    groups[counted] = np.unique(number, return_inverse=True)[1]
    return groups


def _test_variance(
    scores: np.ndarray, weights: np.ndarray, groups: np.ndarray
) -> tuple[float, float]:
    """Variance of sum_n w_n s_n over draws of test samples, and its freedom.

    Args:
        scores: (N,); weights: (N,); groups: (N,) stratum, -1 where not counted.
    """
    counted = groups >= 0
    scores, weights, groups = scores[counted], weights[counted], groups[counted]
    size = np.bincount(groups)
    centre = np.bincount(groups, scores) / size
    residual = weights * (scores - centre[groups])
    each = np.bincount(groups, residual**2) * size / np.maximum(size - 1, 1)
    return float(each.sum()), float((size - 1).sum())
