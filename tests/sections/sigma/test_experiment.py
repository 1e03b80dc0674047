"""Sect. 3: Eq. 5 against draws, both readings, reach, the sweep and its verdicts."""

import math

import numpy as np
import pytest
import torch

from replication.cascade import PAPER, decide, fit_levels
from replication.core.settings import CascadeSettings
from replication.flow_filter.flow import FlowFilter
from replication.samples.features import Samples, Streamed
from replication.sections.sigma import experiment
from replication.sections.sigma.experiment import MEASURES, Sweep, Swept, Tried
from replication.statistics.results import Cell, pick
from tests.sections.checkout import (
    CLASSIFIER,
    COUNTS,
    DIMENSIONS,
    FILTER,
    HEAD,
    drawn_splits,
)

CLUSTERS = FILTER.num_clusters
CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
FIELDS = ("mean", "low", "high")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- Centres


def test_distance_in_theory_of_one_and_two_dimensions_by_hand() -> None:
    # |N(0, 2 s^2)| has mean 2 s / sqrt(pi); in the plane it is Rayleigh: s sqrt(pi).
    sigma = 0.7
    line = experiment.distance_in_theory(1, sigma)
    assert line["mean"] == pytest.approx(2 * sigma / math.sqrt(math.pi))
    assert line["high"] == pytest.approx(math.sqrt(2) * sigma * 2.241403, rel=1e-6)
    plane = experiment.distance_in_theory(2, sigma)
    assert plane["mean"] == pytest.approx(sigma * math.sqrt(math.pi))
    assert plane["mean_square"] == pytest.approx(4 * sigma**2)


def distances(sigmas: list[float], dimensions: int = 64) -> list[Cell]:
    drawn = experiment.measure_distances(dimensions, sigmas, 2000, generator(1))
    return experiment.ratio_cells(drawn, dimensions)


def test_eq_5_holds_of_drawn_centres_and_a_wrong_one_would_be_noticed() -> None:
    # Intervals of 95 % for both sigmas together; the seed is one of the 19 in 20.
    cells = distances([0.05, 2.0])
    for cell in cells:
        assert cell.low < 1 < cell.high < cell.low + 0.1 and cell.printed == 1
    assert experiment.theory_claims(cells)[2].verdict == "supported"
    scale = (0.051 / 0.05) ** 2  # as if centres were drawn wider
    ends = {name: getattr(cells[0], name) * scale for name in FIELDS}
    wrong = experiment.theory_claims([Cell(**vars(cells[0]) | ends)])[2]
    assert wrong.verdict == "contradicted"


def test_drawn_pairs_are_a_flow_filters_centres_each_in_one_pair() -> None:
    drawn = experiment.draw_distances(3, 0.5, 4, generator(7))
    centres = FlowFilter(3, 8, 0.5, generator(7)).base.centres
    by_hand = (centres[0::2] - centres[1::2]).norm(dim=1)
    assert drawn == pytest.approx(by_hand.numpy(), rel=1e-6)


def test_readings_by_hand() -> None:
    cells = experiment.reading_cells([1024, 2048], 0.05)

    def mean(size: int, reading: str, metric: str) -> float:
        return pick(cells, at=f"D={size}", method=reading, metric=metric).mean

    assert round(mean(1024, "squared", "sigma"), 4) == 0.0383  # sqrt(3 / 2048)
    assert round(mean(2048, "squared", "sigma"), 4) == 0.0271
    assert round(mean(1024, "distance", "sigma"), 4) == 0.0663  # 3 / sqrt(2048)
    assert round(mean(2048, "distance", "sigma"), 4) == 0.0469
    assert mean(1024, "used", "mean_square") == pytest.approx(5.12)  # 2 D 0.0025
    assert mean(2048, "squared", "mean_square") == pytest.approx(3)
    assert mean(2048, "distance", "mean_square") == pytest.approx(9)
    # Half of the distance in standard deviations: 1.5 at a distance of 3.
    assert mean(2048, "distance", "confused") == pytest.approx(0.0668, abs=1e-4)
    printed = [cell for cell in cells if cell.printed]
    assert [(cell.at, cell.method, cell.metric) for cell in printed] == [
        ("D=1024", "squared", "sigma")
    ]


def test_the_sweep_has_each_sigma_once_with_every_reason() -> None:
    found = experiment.sweep_sigmas([2.0, 0.05], 0.05, 0.1, 150)
    assert found == {
        0.05: ["published", "tried"],
        0.1: ["used", "squared"],  # sqrt(3 / 300) is 0.1
        0.173205: ["distance"],
        2.0: ["tried"],
    }
    assert list(found) == sorted(found)


# ---- Where samples lie


def settled(sigma: float, x: torch.Tensor) -> FlowFilter:
    """A filter whose batch-norm has seen x, so that latents are of length sqrt(D)."""
    flow = FlowFilter(DIMENSIONS, CLUSTERS, sigma, generator(3)).to(x.dtype)
    for _ in range(100):
        flow(x)
    return flow.eval()


def test_place_is_the_distance_and_entropy_written_out() -> None:
    x = torch.randn(40, DIMENSIONS, generator=generator(4)).double()
    flow = settled(1.0, x)
    square_distance, entropy = experiment.place(flow, x)
    z = flow.transform(x)[0].detach()
    squares = (z[:, None] - flow.base.centres).square().sum(2)
    # The filter keeps |mu|^2 / 2 as float32 drew it, whose error is 1e-7 of |mu|^2.
    near = {"rtol": 1e-6, "atol": 1e-5}
    torch.testing.assert_close(square_distance, squares.amin(1), **near)
    posterior = torch.distributions.Categorical(logits=-0.5 * squares)
    torch.testing.assert_close(entropy, posterior.entropy(), **near)


def test_reach_by_hand() -> None:
    # The 99.9 % point of chi^2 with two degrees of freedom is -2 ln 0.001 = 13.8155.
    squares = torch.tensor([0.0, 13.81, 13.82, 500.0])
    assert experiment.out_of_reach(squares, 2) == 0.5


def test_samples_of_one_cluster_leave_its_reach_once_in_a_thousand_times() -> None:
    z = torch.randn(100_000, DIMENSIONS, generator=generator(6))
    # 100 are expected; 4 standard deviations of a binomial count are 40.
    share = experiment.out_of_reach(z.square().sum(1), DIMENSIONS)
    assert 60 < 100_000 * share < 140


# ---- One sigma, one seed


def attempt(splits: dict[str, Samples], sigma: float, seed: int) -> Tried:
    sweep = Sweep(splits, len(COUNTS), FILTER, CASCADE, CLASSIFIER)
    return sweep.attempt(sigma, HEAD, seed)


def test_validation_and_test_are_decided_as_if_each_were_alone() -> None:
    splits = drawn_splits()
    found = attempt(splits, 0.3, 2)
    chosen = FILTER.model_copy(update={"sigma": 0.3})
    levels, diagnoses = fit_levels(splits, len(COUNTS), chosen, CASCADE, 2)
    predicted, _ = decide(levels, splits, len(COUNTS), HEAD, CLASSIFIER, PAPER, 2)
    assert np.array_equal(found.predictions["test"], predicted.numpy())
    assert found.predictions["val"].shape == (len(splits["val"].labels),)
    assert found.predictions["val"].min() >= 0
    assert found.numbers["purity"] == diagnoses[0]["purity"]
    assert 0 <= found.numbers["entropy"] <= 1
    assert set(found.numbers) == set(MEASURES)


def test_streamed_features_give_the_same_decisions_and_numbers() -> None:
    splits = drawn_splits()
    streamed = {
        split: Samples(Streamed(part.features, torch.device("cpu")), part.labels)
        for split, part in splits.items()
    }
    expected, found = (attempt(some, 0.3, 2) for some in (splits, streamed))
    for split, predicted in expected.predictions.items():
        assert np.array_equal(found.predictions[split], predicted)
    assert found.numbers == expected.numbers


def test_a_fit_that_fails_names_its_sigma(refused) -> None:
    splits = drawn_splits()
    one_class = torch.zeros_like(splits["train"].labels)
    splits["train"] = Samples(splits["train"].features, one_class)
    assert refused(lambda: attempt(splits, 0.3, 1)) == [
        "sigma 0.3: depth 1, seed 1: filter: expected samples of at least 2 classes to "
        "draw pairs from, got 1"
    ]


# ---- What the sweep says

LABELS = {"val": np.repeat([0, 1], 10), "test": np.repeat([0, 1], 200)}
DATA = {"benchmark": "places_lt", "stand_in": True}


def made(
    val_right: float, test_right: float, entropy: float = 0.9, reach: float = 0.0
) -> dict[int, Tried]:
    """Three seeds with these shares right, on the same samples of each class."""
    predictions = {}
    for split, share in (("val", val_right), ("test", test_right)):
        size = len(LABELS[split]) // 2
        right = np.tile(np.arange(size) < round(share * size), 2)
        predictions[split] = np.where(right, LABELS[split], 1 - LABELS[split])
    numbers = dict.fromkeys(MEASURES, 0.5) | {"leaving_medium": None}
    numbers |= {"entropy": entropy, "out_of_reach": reach}
    return {seed: Tried(numbers, predictions) for seed in (0, 1, 2)}


def swept(tried: dict[float, dict[int, Tried]], labels: dict = LABELS) -> Swept:
    return Swept(tried, labels, np.array([200, 10]), DATA, 0.05)


def claims_of(found: Swept) -> list:
    cells = found.filter_cells(), found.difference_cells()
    return experiment.sweep_claims(*cells, 0.05, DATA, numpy_generator())


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ((0.2, 0.1), "supported"),
        ((0.2, 0.49), "undecided"),
        ((0.2, 0.5), "undecided"),
        ((0.2, 0.8), "contradicted"),
    ],
)
def test_the_best_choice_is_above_all_others_or_it_is_not(others, verdict) -> None:
    tried = {0.05: made(0.5, 0.5)}
    tried |= {1.0 + n: made(0.5, right) for n, right in enumerate(others)}
    assert claims_of(swept(tried))[-1].verdict == verdict


def test_cells_of_a_sweep_by_hand() -> None:
    found = swept({0.05: made(0.5, 0.5), 1.0: made(0.6, 0.3, 0.2)})
    [gap] = found.difference_cells()
    assert (gap.at, gap.minus) == ("sigma=0.05, split=test", "sigma=1")
    assert gap.mean == pytest.approx(0.2)
    means = [
        pick(found.accuracy_cells(), at=f"sigma=1, split={split}", metric=metric).mean
        for split, metric in (("val", "overall"), ("test", "many"), ("test", "medium"))
    ]
    assert means[:2] == pytest.approx([0.6, 0.3]) and math.isnan(means[2])
    numbers = found.filter_cells()
    assert pick(numbers, at="sigma=1", metric="entropy").per_seed == (0.2,) * 3
    assert math.isnan(pick(numbers, at="sigma=1", metric="leaving_medium").mean)


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


def numpy_generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_trend_of_what_rises_falls_and_stays() -> None:
    sigmas = np.array([0.02, 0.05, 0.5, 1.0, 2.0])
    rising = np.array([[1, 2, 3, 4, 5], [0, 1, 2, 3, 9], [5, 6, 7, 8, 9.0]])
    rho, low, high = experiment.trend(sigmas, rising, numpy_generator())
    assert rho == pytest.approx(1) and -1 < low < 0 < high < 1
    assert experiment.judge_trend(1, rho, low, high) == "supported"
    assert experiment.judge_trend(-1, rho, low, high) == "contradicted"
    falling = experiment.trend(sigmas, -rising, numpy_generator())
    assert falling[0] == pytest.approx(-1)
    still = experiment.trend(sigmas, np.ones((3, 5)), numpy_generator())
    assert still == (0.0, 0.0, 0.0)
    assert experiment.judge_trend(1, *still) == "undecided"
    # Ranks 2 1 4 3 against 1 2 3 4: 1 - 6 * 4 / (4 * 15) = 0.6.
    swapped = experiment.trend(
        sigmas[:4], np.array([[2, 1, 4, 3.0]]), numpy_generator()
    )
    assert swapped[0] == pytest.approx(0.6)
    assert experiment.judge_trend(1, *swapped) == "undecided"


def test_claims_of_each_kind() -> None:
    entropies = {0.02: 0.99, 0.05: 0.95, 0.5: 0.5, 1.0: 0.2, 2.0: 0.1}
    tried = {
        sigma: made(0.5, 0.5 if sigma == 0.05 else 0.2, entropy, reach=1 - entropy)
        for sigma, entropy in entropies.items()
    }
    claims = [
        *experiment.theory_claims(distances(list(tried))),
        *claims_of(swept(tried)),
    ]
    assert [(claim.id, claim.verdict) for claim in claims] == [
        ("printed_reading", "supported"),  # sqrt(3 / 2048) = 0.0383 is printed as 0.04
        ("three_sigma_border", "contradicted"),  # its distance is sqrt(3), not 3
        ("eq5", "supported"),
        ("overlap", "supported"),
        ("stuck", "supported"),
        ("best", "supported"),
    ]
    assert claims[0].mean == pytest.approx(0.03827, abs=1e-5)
    assert claims[1].high < 2 < 3
    # What chance alone gives is no interval of the correlation.
    assert claims[3].mean == pytest.approx(-1) and claims[3].low is None
    assert "shuffled sigmas give −0." in claims[3].test
    assert [claim.benchmark for claim in claims] == [None] * 3 + ["places_lt"] * 3
