"""Sect. 3: Eq. 5 against draws, both readings, reach, the sweep and its verdicts."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch

from replication.cascade import Classifiers, fit_levels
from replication.core.settings import CascadeSettings
from replication.flow_filter.flow import FlowFilter
from replication.protocols import VALIDATED
from replication.samples.features import Samples, Streamed
from replication.sections.sigma import experiment
from replication.sections.sigma.experiment import Sweep, Swept, Tried
from replication.statistics.results import pick
from tests.made import basis, generator
from tests.sections.checkout import (
    CLASSIFIER,
    COUNTS,
    DIMENSIONS,
    FILTER,
    HEAD,
    drawn_splits,
)

CASCADE = CascadeSettings(depth=2, leaving_share=0.3)


# ---- Centres


def test_distance_in_theory_of_one_and_two_dimensions_by_hand() -> None:
    # |N(0, 2 s^2)| has mean 2 s / sqrt(pi); in the plane it is Rayleigh: s sqrt(pi).
    sigma = 0.7
    line = experiment.distance_in_theory(1, sigma)
    assert line["mean"] == pytest.approx(2 * sigma / math.sqrt(math.pi))
    assert line["high"] == pytest.approx(math.sqrt(2) * sigma * 2.241403, rel=1e-6)
    plane = experiment.distance_in_theory(2, sigma)
    assert plane["mean"] == pytest.approx(sigma * math.sqrt(math.pi))


def test_eq_5_holds_of_drawn_centres_and_a_wrong_one_would_be_noticed() -> None:
    # Intervals of 95 % for both sigmas together; the seed is one of the 19 in 20.
    ratios = experiment.eq5_ratios(64, [0.05, 2.0], 2000, generator(1))
    for ratio in ratios:
        assert ratio["low"] < 1 < ratio["high"] < ratio["low"] + 0.1
    reading, border, eq5 = experiment.theory_claims(ratios)
    assert (reading.verdict, border.verdict) == ("supported", "contradicted")
    assert reading.mean == pytest.approx(0.03827, abs=1e-5)  # printed as 0.04
    assert border.high < 2 < 3  # its distance is sqrt(3), not 3
    assert eq5.verdict == "supported"
    wider = {end: value * (0.051 / 0.05) ** 2 for end, value in ratios[0].items()}
    assert experiment.theory_claims([wider])[2].verdict == "contradicted"


def test_readings_by_hand() -> None:
    cells = experiment.reading_cells([1024, 2048], 0.05)

    def mean(size: int, reading: str, metric: str) -> float:
        return pick(cells, at=f"D={size}", method=reading, metric=metric).mean

    assert round(mean(1024, "squared", "sigma"), 4) == 0.0383  # sqrt(3 / 2048)
    assert round(mean(2048, "distance", "sigma"), 4) == 0.0469  # 3 / sqrt(4096)
    # Half of the distance in standard deviations: 1.5 at a distance of 3.
    assert mean(2048, "distance", "confused") == pytest.approx(0.0668, abs=1e-4)
    [printed] = [cell for cell in cells if cell.printed]
    assert (printed.at, printed.method, printed.printed) == ("D=1024", "squared", 0.04)


def test_the_sweep_has_each_sigma_once_with_every_reason() -> None:
    reasons = experiment.sweep_sigmas([2.0, 0.05], 0.05, 0.1, 150)
    assert list(reasons.items()) == [
        (0.05, ["published", "tried"]),
        (0.1, ["used", "squared"]),  # sqrt(3 / 300) is 0.1
        (0.173205, ["distance"]),
        (2.0, ["tried"]),
    ]


# ---- Where samples lie


def test_place_is_the_distance_and_entropy_written_out() -> None:
    x = torch.randn(40, DIMENSIONS, generator=generator(4)).double()
    flow = FlowFilter(DIMENSIONS, FILTER.num_clusters, 1.0, generator(3)).double()
    for _ in range(100):  # batch-norm sees x, so that latents are of length sqrt(D)
        flow(x)
    square_distance, entropy = experiment.place(flow, x)
    z = flow.transform(x)[0].detach()
    squares = (z[:, None] - flow.base.centres).square().sum(2)
    # The filter keeps |mu|^2 / 2 as float32 drew it, whose error is 1e-7 of |mu|^2.
    near = {"rtol": 1e-6, "atol": 1e-5}
    torch.testing.assert_close(square_distance, squares.amin(1), **near)
    posterior = torch.distributions.Categorical(logits=-0.5 * squares)
    torch.testing.assert_close(entropy, posterior.entropy(), **near)


def test_samples_of_one_cluster_leave_its_reach_once_in_a_thousand_times() -> None:
    z = torch.randn(100_000, DIMENSIONS, generator=generator(6))
    # 100 are expected; 4 standard deviations of a binomial count are 40.
    share = experiment.out_of_reach(z.square().sum(1), DIMENSIONS)
    assert 60 < 100_000 * share < 140


# ---- One sigma, one seed


def test_validation_and_test_are_decided_as_if_each_were_alone() -> None:
    """And features that are streamed to the device change nothing."""
    splits = drawn_splits()
    streamed = {
        split: Samples(Streamed(part.features, torch.device("cpu")), part.labels)
        for split, part in splits.items()
    }
    sweep = Sweep(streamed, len(COUNTS), FILTER, CASCADE, CLASSIFIER)
    tried = sweep.attempt(0.3, HEAD, 2)
    chosen = FILTER.model_copy(update={"sigma": 0.3})
    levels = fit_levels(splits, len(COUNTS), chosen, CASCADE, VALIDATED, 2).levels
    classifiers = Classifiers(HEAD, splits, CLASSIFIER, VALIDATED)
    predicted = classifiers.decide_as_dlsa(levels, 2).predicted
    assert np.array_equal(tried.predictions["test"], predicted.numpy())
    assert tried.predictions["val"].shape == (len(splits["val"].labels),)
    assert tried.predictions["val"].min() >= 0
    assert 0 <= tried.numbers["entropy"] <= 1


def test_a_fit_that_fails_names_its_sigma(refused) -> None:
    splits = drawn_splits()
    one_class = torch.zeros_like(splits["train"].labels)
    splits["train"] = Samples(splits["train"].features, one_class)
    sweep = Sweep(splits, len(COUNTS), FILTER, CASCADE, CLASSIFIER)
    assert refused(lambda: sweep.attempt(0.3, HEAD, 1)) == [
        "sigma 0.3: depth 1, seed 1: filter: expected samples of at least 2 classes to "
        "draw pairs from, got 1; have fewer filters (cascade.depth), or let fewer "
        "samples leave at each (cascade.leaving_share)"
    ]


# ---- What the sweep says

LABELS = {"val": np.repeat([0, 1], 10), "test": np.repeat([0, 1], 200)}
BASIS = basis("sigma", counts=[200, 10], stand_in=True)


def made(val_right: float, test_right: float, entropy: float = 0.9) -> dict[int, Tried]:
    """Three seeds with these shares right, on the same samples of each class."""
    predictions = {}
    for split, share in (("val", val_right), ("test", test_right)):
        size = len(LABELS[split]) // 2
        right = np.tile(np.arange(size) < round(share * size), 2)
        predictions[split] = np.where(right, LABELS[split], 1 - LABELS[split])
    numbers = {"entropy": entropy, "out_of_reach": 1 - entropy}
    return {seed: Tried(numbers, predictions) for seed in (0, 1, 2)}


def swept(tried: dict[float, dict[int, Tried]], labels: dict = LABELS) -> Swept:
    return Swept(tried, labels, 0.05, BASIS)


def drawing() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [(0.1, "supported"), (0.5, "undecided"), (0.8, "contradicted")],
)
def test_the_best_choice_is_above_all_others_or_it_is_not(other, verdict) -> None:
    tried = {0.05: made(0.5, 0.5), 1.0: made(0.5, 0.2), 2.0: made(0.5, other)}
    cells = swept(tried).filter_cells(), swept(tried).difference_cells()
    [*_, best] = experiment.sweep_claims(*cells, (0.05, 0.05), BASIS, drawing())
    assert (best.id, best.verdict, best.grade) == ("best", verdict, "stand-in")


def test_cells_of_a_sweep_by_hand() -> None:
    sweep = swept({0.05: made(0.5, 0.5), 1.0: made(0.6, 0.3, 0.2)})
    [gap] = sweep.difference_cells()
    assert (gap.at, gap.minus) == ("sigma=0.05, split=test", "sigma=1")
    assert gap.mean == pytest.approx(0.2)
    means = [
        pick(sweep.accuracy_cells(), at=f"sigma=1, split={split}", metric=metric).mean
        for split, metric in (("val", "overall"), ("test", "many"), ("test", "medium"))
    ]
    assert means[:2] == pytest.approx([0.6, 0.3]) and math.isnan(means[2])
    entropy = pick(sweep.filter_cells(), at="sigma=1", metric="entropy")
    assert entropy.per_seed == (0.2,) * 3


def test_intervals_widen_with_the_number_of_sigmas() -> None:
    few = {0.05: made(0.5, 0.5), 1.0: made(0.5, 0.3)}
    many = few | {2.0 + n: made(0.5, 0.3) for n in range(9)}
    gaps = [swept(tried).difference_cells()[0] for tried in (few, many)]
    widths = [gap.high - gap.low for gap in gaps]
    # 200 samples of a class: t is nearly normal, 2.81 at 99.5 % against 1.96 at 95 %.
    assert widths[1] / widths[0] == pytest.approx(2.81 / 1.96, rel=0.02)


def test_best_sigma_is_chosen_on_validation_samples_alone() -> None:
    tried = {0.05: made(0.5, 0.9), 1.0: made(0.8, 0.2), 2.0: made(0.4, 0.1)}
    best = swept(tried).best()
    assert best == {"sigma": 1.0, "val": 0.8, "not_worse": [0.05, 1.0]}
    without = swept(tried, LABELS | {"val": LABELS["val"][:0]})
    assert without.best() is None


def test_trend_of_what_rises_stays_and_is_swapped() -> None:
    """Of the 120 orders of five, two are as far from chance, and three seeds agree."""
    rising = np.array([[1, 2, 3, 4, 5], [0, 1, 2, 3, 9], [5, 6, 7, 8, 9.0]])
    rho, p_value = experiment.trend(rising, drawing())
    assert rho == pytest.approx(1) and p_value < 0.001
    assert experiment.judge_trend(1, rho, p_value) == "supported"
    assert experiment.judge_trend(-1, rho, p_value) == "contradicted"
    assert experiment.trend(np.ones((3, 5)), drawing()) == (0.0, 1.0)
    assert experiment.judge_trend(1, 0.0, 1.0) == "undecided"
    # Ranks 2 1 4 3 against 1 2 3 4: 1 - 6 * 4 / (4 * 15) = 0.6.
    rho, p_value = experiment.trend(np.array([[2, 1, 4, 3.0]]), drawing())
    assert rho == pytest.approx(0.6)
    assert p_value == pytest.approx(
        sum(
            abs(1 - 6 * sum((a - b) ** 2 for a, b in enumerate(order)) / 60)
            > 0.6 - 1e-9
            for order in permutations(range(4))
        )
        / 24,
        abs=0.03,
    )
