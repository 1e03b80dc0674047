"""Coverage of the intervals by simulation, and their worked cases.

In the simulations a test sample has a difficulty and a seed an effect of its own; given
both, right or wrong is a coin toss. The truth is the mean over all test samples and all
seeds. 2,000 repetitions of a 95 % interval have a standard error of 0.5 points; 93 to
97 % are four of them either way.
"""

import math

import numpy as np
import pytest
from scipy import stats

from replication.evaluation.intervals import estimate, over_seeds

REPETITIONS = 2000
TESTED = 300
DIFFICULTY = 2.0  # spread of the logits over test samples


def chance(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def mean_chance(centre: float, spread: float) -> float:
    """E[chance(centre + spread N(0, 1))] by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return float(weights @ chance(centre + spread * nodes) / weights.sum())


def coverage(
    seeds: int, seed_spread: float, gains: tuple[float, ...]
) -> tuple[float, float]:
    """Share of the intervals that hold the truth; variance stated over variance found.

    Args:
        seeds: S.
        seed_spread: of the logits over seeds.
        gains: of one method; or of two, whose paired difference is estimated.
    """
    generator = np.random.default_rng(seeds)
    signs = (1, -1)[: len(gains)]
    spread = math.hypot(DIFFICULTY, seed_spread)
    truth = sum(
        sign * mean_chance(gain, spread)
        for sign, gain in zip(signs, gains, strict=True)
    )
    weights = np.full(TESTED, 1 / TESTED)
    held, means, stated = 0, [], []
    for _ in range(REPETITIONS):
        difficulty = DIFFICULTY * generator.standard_normal(TESTED)
        scores = np.zeros((seeds, TESTED))
        for sign, gain in zip(signs, gains, strict=True):
            effect = seed_spread * generator.standard_normal((seeds, 1))
            right = generator.random((seeds, TESTED)) < chance(
                gain + difficulty + effect
            )
            scores += sign * right
        found = estimate(scores, weights)
        held += found.low <= truth <= found.high
        means.append(found.mean)
        stated.append(found.seed_variance + found.test_variance)
    return held / REPETITIONS, float(np.mean(stated) / np.var(means))


# Logits of 0.05 and 0.25 over seeds are about 0.7 and 3.5 points of accuracy.
@pytest.mark.parametrize("seed_spread", [0.05, 0.25])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "gains", [(0.4,), (0.4, 0.0)], ids=["one method", "paired difference"]
)
def test_95_percent_intervals_hold_the_truth_95_times_in_100(
    gains: tuple[float, ...], seeds: int, seed_spread: float
) -> None:
    """Seeds and test samples both vary, and the interval covers both."""
    held, ratio = coverage(seeds, seed_spread, gains)
    assert 0.93 <= held <= 0.97, f"held {held:.4f}, variance stated / found {ratio:.3f}"


@pytest.mark.parametrize(
    "gains", [(0.4,), (0.4, 0.0)], ids=["one method", "paired difference"]
)
def test_with_one_seed_the_interval_covers_test_sampling(
    gains: tuple[float, ...],
) -> None:
    """One seed without an effect of its own: the truth is held 95 times in 100."""
    held, ratio = coverage(1, 0.0, gains)
    assert 0.93 <= held <= 0.97, f"held {held:.4f}, variance stated / found {ratio:.3f}"


def test_samples_of_equal_weight_are_a_stratum() -> None:
    """Two strata of fixed size, far apart: only the spread within them is uncertain.

    300 samples that are right 95 times in 100 and 100 that are 30 times in 100, each
    stratum half of the weight.
    """
    generator = np.random.default_rng(0)
    sizes, chances = (300, 100), np.repeat([0.95, 0.30], [300, 100])
    weights = np.repeat([0.5 / size for size in sizes], sizes)
    held = 0
    for _ in range(REPETITIONS):
        found = estimate((generator.random((1, 400)) < chances).astype(float), weights)
        held += found.low <= chances @ weights <= found.high
    assert 0.93 <= held / REPETITIONS <= 0.97


def test_one_seed_is_students_interval_of_a_mean() -> None:
    """Equal weights, one seed: mean +- t s / sqrt(N), freedom N - 1."""
    scores = np.random.default_rng(1).random((1, 50)) < 0.6
    found = estimate(scores.astype(float), np.full(50, 1 / 50))
    low, high = stats.t.interval(
        0.95, 49, loc=scores.mean(), scale=stats.sem(scores[0].astype(float))
    )
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.seed_variance == 0
    assert found.per_seed == pytest.approx((scores.mean(),))


def test_seeds_alone_are_students_interval_of_their_means() -> None:
    """No spread between test samples: mean +- t s / sqrt(S), freedom S - 1."""
    means = np.array([0.40, 0.45, 0.47])
    found = estimate(np.repeat(means[:, None], 20, 1), np.full(20, 1 / 20))
    low, high = stats.t.interval(0.95, 2, loc=means.mean(), scale=stats.sem(means))
    assert (found.mean, found.low, found.high) == pytest.approx(
        (means.mean(), low, high)
    )
    assert found.per_seed == pytest.approx(tuple(means))
    assert found.test_variance == pytest.approx(0, abs=1e-18)


def test_no_spread_at_all_is_a_point() -> None:
    """Always right: the interval is the mean."""
    found = estimate(np.ones((3, 8)), np.full(8, 1 / 8))
    assert (found.mean, found.low, found.high) == (1, 1, 1)


def test_samples_without_weight_do_not_count() -> None:
    """A group's interval is that of its own samples, whatever the others do."""
    generator = np.random.default_rng(2)
    scores = (generator.random((3, 60)) < 0.5).astype(float)
    weights = np.where(np.arange(60) < 20, 1 / 20, 0.0)
    alone = estimate(scores[:, :20], np.full(20, 1 / 20))
    found = estimate(scores, weights)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    assert found.per_seed == pytest.approx(alone.per_seed)


def test_a_higher_level_is_wider_and_the_mean_is_its_middle() -> None:
    generator = np.random.default_rng(2)
    scores = (generator.random((4, 60)) < 0.5).astype(float)
    weights = np.full(60, 1 / 60)
    widths = []
    for level in (0.5, 0.9, 0.95, 0.99):
        found = estimate(scores, weights, level=level)
        assert (found.low + found.high) / 2 == pytest.approx(found.mean)
        assert found.mean == pytest.approx(scores.mean())
        widths.append(found.high - found.low)
    assert widths == sorted(set(widths))


def test_an_empty_group_is_nan_for_every_seed() -> None:
    found = estimate(np.ones((3, 8)), np.full(8, np.nan))
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high))
    assert len(found.per_seed) == 3
    assert all(math.isnan(value) for value in found.per_seed)


# --- one number a seed


def test_over_seeds_by_hand() -> None:
    """1, 2, 3: s = 1, t(0.975, 2) = 4.3027, half-width 4.3027 / sqrt(3) = 2.4841."""
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx(
        (2.0, -0.4841, 4.4841), abs=1e-4
    )
    assert found.per_seed == (1.0, 2.0, 3.0)
    assert (found.seed_variance, found.test_variance) == pytest.approx((1 / 3, 0.0))


def test_over_seeds_is_estimate_without_spread_over_test_samples() -> None:
    means = [0.40, 0.45, 0.47]
    found = over_seeds(means)
    other = estimate(np.repeat(np.array(means)[:, None], 20, 1), np.full(20, 1 / 20))
    assert (found.low, found.high) == pytest.approx((other.low, other.high))


def test_one_seed_has_no_interval() -> None:
    found = over_seeds([0.3])
    assert found.mean == 0.3 and found.per_seed == (0.3,)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_seeds_that_are_missing_do_not_count() -> None:
    """1 and 3: s / sqrt(2) = 1, t(0.975, 1) = 12.7062."""
    found = over_seeds([1.0, math.nan, 3.0, None])
    assert found == over_seeds([1.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx(
        (2.0, -10.7062, 14.7062), abs=1e-4
    )
    alone = over_seeds([None, 0.3, math.nan])
    assert alone.mean == 0.3 and math.isnan(alone.low)


@pytest.mark.parametrize("values", [[], [math.nan, math.nan], [None], [None, math.nan]])
def test_without_any_seed_nothing_is_known(values: list) -> None:
    found = over_seeds(values)
    assert all(math.isnan(value) for value in (found.mean, found.low, found.high))


def test_seeds_that_agree_are_a_point_and_a_higher_level_is_wider() -> None:
    same = over_seeds([0.25, 0.25, 0.25])
    assert (same.mean, same.low, same.high) == (0.25, 0.25, 0.25)
    widths = [
        (found := over_seeds([1.0, 2.0, 4.0], level)).high - found.low
        for level in (0.5, 0.9, 0.95, 0.99)
    ]
    assert widths == sorted(set(widths))
