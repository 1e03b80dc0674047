"""Coverage of the intervals by simulation, and their worked cases.

The simulation is that of `bench/statistics.py`, whose report goes through many more
cases. 2,000 repetitions of a 95 % interval have a standard error of 0.5 points; a
coverage fails that is outside 93 to 97 % by more than two of them.
"""

import math
from functools import partial
from itertools import islice

import numpy as np
import pytest
from scipy import optimize, stats

from bench.statistics import (
    RULES,
    UNBALANCED,
    Case,
    coverage,
    draws,
    intervals,
    limit,
    power,
)
from replication.statistics.intervals import estimate, over_seeds

REPETITIONS = 2000


@pytest.mark.parametrize("ratio", [0.0, 1.5])
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("gap", [None, 0.02], ids=["one method", "paired difference"])
def test_95_percent_intervals_hold_the_truth_95_times_in_100(
    gap: float | None, seeds: int, ratio: float
) -> None:
    """Seeds and test samples both vary; ratio of their standard deviations.

    Classes differ and are strata; seeds agree on most images.
    """
    found = coverage(Case(seeds, 30, 10, 0.5, gap, ratio), REPETITIONS)
    assert not found.outside, found


@pytest.mark.parametrize(
    "case",
    [
        Case(1, 30, 10, 0.5),
        Case(1, 30, 10, 0.9, 0.02),
        Case(1, 30, 10, 0.97),  # 9 wrong answers expected
        Case(1, 100, 3, 0.99),  # 3 expected, 3 images of each class
        Case(3, 100, 3, 0.99),
        Case(3, 30, 10, 0.97, 0.01),
        Case(3, 5, 10, 0.9),  # a group of few classes
        Case(3, 20, 100, 0.5, 0.02, 1.0),
    ],
    ids=str,
)
def test_intervals_hold_with_one_seed_in_small_groups_and_near_1(case: Case) -> None:
    """One seed, without an effect of its own: test sampling alone is covered."""
    found = coverage(case, REPETITIONS)
    assert not found.outside, found


@pytest.mark.parametrize("case", [Case(1, 2, 10, 0.97), Case(3, 3, 20, 0.99)], ids=str)
def test_where_nothing_is_wrong_more_often_than_not_the_interval_is_not_a_point(
    case: Case,
) -> None:
    """0.6 wrong answers expected: too wide rather than, as without two events more,
    a point that leaves the truth out of every second interval."""
    found = coverage(case, 500)
    assert found.held > 0.97, found


@pytest.mark.parametrize(
    ("seeds", "least", "most"), [(2, 0.929, 0.972), (3, 0.945, 0.966), (10, 0.95, 0.96)]
)
def test_which_freedom_holds(seeds: int, least: float, most: float) -> None:
    """By quadrature, over every part that seeds can have.

    Ours is never as narrow as Satterthwaite's nor as wide as Cochran's.
    """
    low, high = limit("share to the 5/4", seeds)
    assert least - 1e-4 < low and high < most
    assert limit("Satterthwaite", seeds)[0] < low
    assert limit("share (Cochran)", seeds)[1] > high


def test_the_freedom_is_where_the_quadrature_has_it() -> None:
    """A half-width at 95 % is t(test) + share^(5/4) (t(S - 1) - t(test)) errors."""
    _, scores = draws(Case(3, 5, 10, 0.5, None, 2.0), np.random.default_rng(0))
    shares = []
    for one in islice(scores, 20):
        found = estimate(one, np.full(50, 0.02), np.repeat(np.arange(5), 10))
        share = found.seed_variance / found.error**2
        few, many = stats.t.ppf(0.975, [2, 45])
        reach = many + share ** RULES["share to the 5/4"] * (few - many)
        assert found.high - found.mean == pytest.approx(reach * found.error)
        assert 2 <= found.freedom <= 45
        shares.append(share)
    assert min(shares) < 0.2 and max(shares) > 0.8


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_what_a_run_says_it_could_have_seen_it_sees_80_times_in_100(
    ratio: float,
) -> None:
    """Less often by what five seeds do not know of their own spread."""
    found = power(Case(5, 30, 10, 0.5, 0.0, ratio), 1000)
    assert 0.75 <= found <= 0.83, found


def test_one_seed_by_hand() -> None:
    """30 of 50 right: 30 * 0.4^2 + 20 * 0.6^2 = 12, times 50 / 49, and 2 for the two
    right and two wrong answers more; over 50 * 54. Freedom 49."""
    scores = np.repeat([1.0, 0.0], [30, 20])[None]
    found = estimate(scores, np.full(50, 1 / 50))
    variance = (12 * 50 / 49 + 2) / (50 * 54)
    half = 2.00958 * variance**0.5
    assert (found.mean, found.test_variance) == pytest.approx((0.6, variance))
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-5)
    assert found.seed_variance == 0 and found.freedom == 49
    assert found.per_seed == pytest.approx((0.6,))


@pytest.mark.parametrize("seeds", [1, 4])
def test_all_right_is_not_certain(seeds: int) -> None:
    """Two events on either side: 2 / (8 * 12), freedom 7; whatever the seeds."""
    found = estimate(np.ones((seeds, 8)), np.full(8, 1 / 8))
    half = 2.36462 * (2 / 96) ** 0.5
    assert found.mean == 1
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), abs=1e-5)


def test_an_event_counts_as_much_as_seeds_agree_on_it() -> None:
    """Of 4 seeds each errs on one sample: the same, or each on its own.

    The same: 0 seed variance; 1 * 100 / 99 * 99 / 100 = 1, and 2. Each on its own: a
    sample's mean moves by 1/4, so that 2 events count 2 / 16.
    """
    same, own = np.ones((4, 100)), np.ones((4, 100))
    same[:, 0] = 0
    own[np.arange(4), np.arange(4)] = 0
    weights = np.full(100, 1 / 100)
    together, apart = (estimate(scores, weights) for scores in (same, own))
    assert together.test_variance == pytest.approx((1 + 2) / 10400)
    # Means are off by 1/4 on 4 samples of 100, by 1/100 on average; of one seed alone
    # 1 on one sample. Its luck on one sample is all there is: only two events are left.
    both = (4 / 16 - 100 / 100**2) * 100 / 99
    single = (1 - 1 / 100) * 100 / 99
    luck = (single - both) / 3
    assert apart.test_variance == pytest.approx(
        (max(both - luck, 0) + 2 * (both / single) ** 2) / 10400
    )
    assert both / single == pytest.approx(1 / 4, abs=0.01)


def test_a_smaller_step_is_a_smaller_event() -> None:
    """Scores and step ten times smaller: the interval too."""
    scores = (np.random.default_rng(2).random((3, 60)) < 0.9).astype(float)
    weights = np.full(60, 1 / 60)
    whole = estimate(scores, weights)
    tenth = estimate(scores / 10, weights, step=0.1)
    assert tenth.high - tenth.low == pytest.approx((whole.high - whole.low) / 10)
    assert tenth.freedom == pytest.approx(whole.freedom)


def test_seeds_alone_are_students_interval_of_their_means() -> None:
    """No spread between test samples, of which there are many: freedom S - 1."""
    means = np.array([0.40, 0.45, 0.47])
    found = estimate(np.repeat(means[:, None], 10**6, 1), np.full(10**6, 1e-6))
    low, high = stats.t.interval(0.95, 2, loc=means.mean(), scale=stats.sem(means))
    assert (found.mean, found.low, found.high) == pytest.approx(
        (means.mean(), low, high), abs=1e-6
    )
    assert found.freedom == pytest.approx(2, abs=1e-6)
    assert found.per_seed == pytest.approx(tuple(means))
    assert found.test_variance < 1e-11


# --- tests of a difference


@pytest.mark.parametrize("images", [10, (40, 20, 3, 2, 1)])
def test_p_value_is_5_percent_where_the_interval_touches_zero(images) -> None:
    """At any level, ends alike or not: 1 - p is the level whose interval ends at 0."""
    for seed in range(20):
        case = Case(3, 5, images, 0.5, 0.1, 1.0)
        _, (found,) = intervals(case, 1, seed)
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
        _, scores = draws(case, np.random.default_rng(seed))
        strata = np.repeat(np.arange(5), case.sizes)
        touching = estimate(next(scores), case.weights, strata, 1 - found.p_value)
        assert min(abs(touching.low), abs(touching.high)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(60, 40), (45, 20), (30, 28), (12, 3)])
def test_p_value_beside_mcnemar_and_sign_flips(gained: int, lost: int) -> None:
    """One seed: McNemar's exact test (mid-p) and a permutation of the pairs' signs."""
    scores = np.zeros((1, 400))
    scores[0, :gained], scores[0, gained : gained + lost] = 1, -1
    ours = estimate(scores, np.full(400, 1 / 400)).p_value
    count = gained + lost
    mid = 2 * (stats.binom.sf(gained, count, 0.5)
               + 0.5 * stats.binom.pmf(gained, count, 0.5))  # fmt: skip
    flips = 2 * np.random.default_rng(0).binomial(count, 0.5, 100_000) - count
    beyond = np.mean(np.abs(flips) >= gained - lost)
    equal = np.mean(np.abs(flips) == gained - lost)
    assert beyond - equal / 2 == pytest.approx(mid, abs=0.005)
    assert ours == pytest.approx(mid, abs=0.03)
    assert (ours < 0.05) == (mid < 0.05)


def test_p_value_over_seeds_is_students() -> None:
    values = [0.02, 0.05, -0.01, 0.04]
    found = over_seeds(values)
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    negative = over_seeds([-value for value in values])
    assert negative.p_value == pytest.approx(found.p_value)


def test_p_value_and_detectable_where_there_is_no_test() -> None:
    """An empty group and one seed: NaN. Seeds that agree: certain, one way or other."""
    empty = estimate(np.ones((3, 8)), np.full(8, np.nan))
    assert math.isnan(empty.mean) and np.isnan(empty.per_seed).tolist() == [True] * 3
    for found in (empty, over_seeds([]), over_seeds([0.3])):
        assert math.isnan(found.p_value) and math.isnan(found.detectable)
    assert over_seeds([0.25, 0.25]).p_value == 0
    assert over_seeds([0.0, 0.0]).p_value == 1
    assert over_seeds([0.25, 0.25]).detectable == 0


@pytest.mark.parametrize("values", [(1, 2, 3), (0, 0, 0, 0, 3)])
def test_detectable_is_that_of_students_test(values: tuple[float, ...]) -> None:
    """80 % power by the noncentral t."""
    found = over_seeds(values)
    reach = stats.t.ppf(0.975, found.freedom)
    seen = stats.nct.sf(reach, found.freedom, found.detectable / found.error)
    assert seen == pytest.approx(0.8, abs=1e-5)


# --- worked cases


def test_samples_without_weight_do_not_count() -> None:
    """A group's interval is that of its own samples, whatever the others do."""
    generator = np.random.default_rng(2)
    scores = (generator.random((3, 60)) < 0.5).astype(float)
    weights = np.where(np.arange(60) < 20, 1 / 20, 0.0)
    alone = estimate(scores[:, :20], np.full(20, 1 / 20))
    found = estimate(scores, weights)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    assert found.per_seed == pytest.approx(alone.per_seed)


# --- one number a seed


def test_over_seeds_by_hand() -> None:
    """1, 2, 3: s = 1, t(0.975, 2) = 4.3027, half-width 4.3027 / sqrt(3) = 2.4841."""
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high) == pytest.approx(
        (2.0, -0.4841, 4.4841), abs=1e-4
    )
    assert found.per_seed == (1.0, 2.0, 3.0)
    assert (found.seed_variance, found.test_variance) == pytest.approx((1 / 3, 0.0))


def test_one_seed_has_an_interval_without_end_and_seeds_that_agree_a_point() -> None:
    found, same = over_seeds([0.3]), over_seeds([0.25, 0.25, 0.25])
    assert found.mean == 0.3 and found.per_seed == (0.3,)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert same.mean == same.low == same.high == 0.25


def test_seeds_that_are_missing_do_not_count_and_without_any_nothing_is_known() -> None:
    assert over_seeds([1.0, math.nan, 3.0, None]) == over_seeds([1.0, 3.0])
    for values in ([], [math.nan, None]):
        found = over_seeds(values)
        assert all(math.isnan(value) for value in (found.mean, found.low, found.high))


def test_no_accuracy_is_below_0_or_above_1() -> None:
    """What is cut off cannot hold the truth: mean, p-value and freedom stay."""
    right = np.zeros((3, 40))
    right[:, 0] = 1
    plain = estimate(right, np.full(40, 1 / 40))
    cut = plain.within(0.0, 1.0)
    assert plain.low < 0 == cut.low and cut.high == plain.high
    assert (cut.mean, cut.p_value) == (plain.mean, plain.p_value)
    nothing = estimate(right, np.full(40, np.nan)).within(0.0, 1.0)
    assert np.isnan([nothing.low, nothing.high]).all()


# --- unbalanced test sets


@pytest.mark.parametrize("right", [50, 90])
def test_a_single_image_that_decides_a_tenth(right: int) -> None:
    """By hand: nine classes of 100 images, as many of them right, and one of one image.

    An image that is right in p of all cases is 1 - p off, or p on the other side, and
    sqrt(100 / 99) of it where its class's mean is estimated; so the mean is off by a
    tenth of it, and by a normal number. 2.5 % lie beyond either end.
    """
    labels = np.repeat(np.arange(10), [100] * 9 + [1])
    weights = 1 / np.bincount(labels)[labels] / 10
    scores = (np.arange(901) % 100 < right)[None].astype(int)
    got = estimate(scores, weights, labels, step=0.0)
    share = right / 100
    spread = (9 * share * (1 - share) / 99 / 100) ** 0.5
    off = np.array([1 - share, -share]) / 10 * (100 / 99) ** 0.5
    student = stats.t.ppf(0.975, 891) / 1.95996
    for end, tail in ((got.mean - got.low, 0.975), (got.mean - got.high, 0.025)):
        beyond = partial(mixture, [share, 1 - share], off, spread, tail)
        assert end == pytest.approx(optimize.brentq(beyond, -1, 1) * student, rel=0.03)
    assert (got.high - got.mean > 2 * (got.mean - got.low)) == (right == 90)


def mixture(
    shares: list[float], means: np.ndarray, spread: float, tail: float, end: float
) -> float:
    """How much more than the tail lies below an end, of normal distributions."""
    return float(stats.norm.cdf(end, means, spread) @ shares) - tail


def test_one_answer_more_on_either_side_is_lent() -> None:
    """By hand: 9 images and 1, all right; what is known of the one, the nine tell.

    Lent is by half what nine and one answer more on either side show, and by half a
    group of any share, whose images are off as a triangle is (1/6, on a grid of 25
    values). The nine know as much themselves as their eight lent ones.
    """
    labels = np.repeat([0, 1], [9, 1])
    got = estimate(np.ones((1, 10)), 1 / np.repeat([18, 2], [9, 1]), labels)
    lent = (2 / 11 + (1 - 1 / 25**2) / 6) / 2
    assert got.test_variance == pytest.approx((1 / 9 / 2 + 1) * lent / 4)


def test_equal_strata_are_as_without_a_pool() -> None:
    """The balanced test sets of the field: the sum of the classes' own variances."""
    scores = np.array([[1, 1, 0, 1, 0, 0]])
    got = estimate(scores, np.full(6, 1 / 6), np.repeat([0, 1], 3), step=0.0)
    assert got.test_variance == pytest.approx((1 / 3 + 1 / 3) * 3 / 36)


def test_seeds_that_cancel_out_on_every_sample_leave_an_interval() -> None:
    """Two methods differ, once this way and once that: by half a sample at a time."""
    labels = np.repeat([0, 1, 2], [40, 20, 3])
    weights = 1 / np.bincount(labels)[labels] / 3
    scores = np.zeros((2, 63))
    scores[:, [0, 45]] = [[1, -1], [-1, 1]]
    got = estimate(scores, weights, labels)
    assert got.mean == pytest.approx(0)
    assert -got.low == pytest.approx(got.high)
    assert 0.02 < got.high < 0.2


@pytest.mark.parametrize(("seeds", "share"), [(1, 0.9), (3, 0.5)])
@pytest.mark.parametrize("images", UNBALANCED, ids=UNBALANCED.get)
def test_unbalanced_test_sets_are_covered(
    images: tuple[int, ...], seeds: int, share: float
) -> None:
    """Two standard errors beside 93 to 97 %, or to 99 where an image decides much."""
    case = Case(seeds, len(images), images, share)
    found = coverage(case, 400)
    sure = share == 0.9 and case.weights.max() > 0.09
    assert 0.905 <= found.held <= (1.0 if sure else 0.99), found
