"""Intervals that cover seeds and test sampling together.

The mean over S seeds of an accuracy varies for two reasons: other seeds would have
trained other models, and other test images would have been easier or harder. The seeds
share one test set, so the spread between seeds says nothing of the second. Both
variances are estimated and added; Satterthwaite's degrees of freedom make the t
interval wide where few seeds carry the uncertainty.
"""

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


def estimate(scores: np.ndarray, weights: np.ndarray, level: float = 0.95) -> Estimate:
    """Mean over seeds of a weighted mean over test samples, with its interval.

    Implements: not in the paper, which prints single runs.

    Args:
        scores: (S, N) score of each test sample under each seed: 1 or 0 for right or
            wrong; differences of two such for a paired comparison (same samples, same
            seeds).
        weights: (N,) summing to 1; samples of equal weight are one stratum (the classes
            of a balanced test set), within which they are exchangeable.
        level: of confidence.

    Returns:
        All NaN where a weight is NaN (an empty group). With one seed the interval
        covers test sampling alone.
    """
    if np.isnan(weights).any():
        missing = float("nan")
        return Estimate(missing, missing, missing, (missing,) * len(scores), 0.0, 0.0)
    per_seed = scores @ weights
    seeds = len(per_seed)
    mean = float(per_seed.mean())
    seed_variance = float(per_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    test_variance, test_freedom = _test_variance(scores.mean(0), weights)
    total = seed_variance + test_variance
    if total == 0.0:
        half = 0.0
    else:
        spread = test_variance**2 / test_freedom if test_freedom else 0.0
        spread += seed_variance**2 / (seeds - 1) if seeds > 1 else 0.0
        half = float(stats.t.ppf(0.5 + level / 2, total**2 / spread) * total**0.5)
    return Estimate(
        mean, mean - half, mean + half, tuple(per_seed.tolist()), seed_variance,
        test_variance,
    )  # fmt: skip


def _test_variance(scores: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Variance of sum_n w_n s_n over draws of test samples, and its freedom.

    Args:
        scores: (N,) mean over seeds; weights: (N,).
    """
    counted = weights > 0
    scores, weights = scores[counted], weights[counted]
    if len(scores) < 2:
        return 0.0, 0.0
    centre = scores @ weights
    size = len(scores)
    residual = weights * (scores - centre)
    return float(size / (size - 1) * (residual**2).sum()), float(size - 1)
