"""Sect. 3: Eq. 5 against draws, both readings, reach, the sweep and its verdicts."""

import json
import math

import numpy as np
import pytest
import torch

from replication.cascade import Samples, decide, fit_levels
from replication.classifiers.heads import Term
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.flow_filter.flow import FlowFilter
from replication.samples.features import Streamed
from replication.sections.sigma import experiment
from replication.sections.sigma.experiment import Tried

CLASSES, DIMENSIONS, CLUSTERS = 6, 8, 5
FILTER = FilterSettings(
    lambda_mle=1.0,
    lambda_bal=1.0,
    lambda_pure=0.02,
    num_clusters=CLUSTERS,
    sigma=0.05,
    eta=0.7,
    weight_exponent=2.0,
    lr=0.1,
    batch_size=64,
    epochs=3,
)
CASCADE = CascadeSettings(depth=2, leaving_share=0.3)
CLASSIFIER = ClassifierSettings(lr=0.05, batch_size=32, epochs=3, evaluate_every=1)
SETTINGS = (FILTER, CASCADE, CLASSIFIER)
COUNTS = np.array([150, 120, 60, 30, 12, 6])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(counts: list[int], seed: int) -> Samples:
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    centres = torch.randn(CLASSES, DIMENSIONS, generator=generator(100))
    noise = torch.randn(len(labels), DIMENSIONS, generator=generator(seed))
    return Samples(centres[labels] + noise, labels)


def made_splits(val: int = 4) -> dict[str, Samples]:
    return {
        "train": samples(COUNTS.tolist(), 1),
        "val": samples([val] * CLASSES, 2),
        "test": samples([20] * CLASSES, 3),
    }


def head() -> Term:
    weight = 0.3 * torch.randn(CLASSES, DIMENSIONS, generator=generator(5))
    return Term(weight, torch.zeros(CLASSES))


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


@pytest.mark.parametrize("dimensions", [4, 64])
def test_eq_5_holds_of_drawn_centres(dimensions: int) -> None:
    # Intervals of 95 % for both sigmas together; the seed is one of the 19 in 20.
    found = experiment.measure_distances(dimensions, [0.05, 2.0], 2000, generator(1))
    for one in found:
        assert one["ratio_low"] < 1 < one["ratio_high"]
        assert one["ratio_high"] - one["ratio_low"] < 0.1
        assert sum(one["histogram"]["counts"]) == one["draws"] == 2000
        for name in ("mean_square", "mean", "low", "high"):
            gap = one["drawn"][name] - one["theory"][name]
            assert abs(gap) < 4 * one["error"][name]
    assert [one["theory"]["mean_square"] for one in found] == pytest.approx(
        [2 * dimensions * 0.05**2, 2 * dimensions * 4]
    )


def test_a_wrong_eq_5_would_be_noticed() -> None:
    found = experiment.measure_distances(64, [0.05], 2000, generator(1))
    drawn_wider = {**found[0], "sigma": 0.051}
    scale = (0.051 / 0.05) ** 2
    for name in ("ratio", "ratio_low", "ratio_high"):
        drawn_wider[name] = found[0][name] * scale
    assert experiment._equation_5(found)["verdict"] == "supported"
    assert experiment._equation_5([drawn_wider])["verdict"] == "contradicted"


def test_drawn_pairs_are_a_flow_filters_centres_each_in_one_pair() -> None:
    drawn = experiment.draw_distances(3, 0.5, 4, generator(7))
    centres = FlowFilter(3, 8, 0.5, generator(7)).base.centres
    by_hand = (centres[0::2] - centres[1::2]).norm(dim=1)
    assert drawn == pytest.approx(by_hand.numpy(), rel=1e-6)


def test_readings_by_hand() -> None:
    at_1024, at_2048 = experiment.readings([1024, 2048], 0.05)
    assert round(at_1024["squared"]["sigma"], 4) == 0.0383  # sqrt(3 / 2048)
    assert round(at_2048["squared"]["sigma"], 4) == 0.0271
    assert round(at_1024["distance"]["sigma"], 4) == 0.0663  # 3 / sqrt(2048)
    assert round(at_2048["distance"]["sigma"], 4) == 0.0469
    assert at_1024["used"]["mean_square"] == pytest.approx(5.12)  # 2 * 1024 * 0.0025
    assert at_2048["used"]["mean_square"] == pytest.approx(10.24)
    for row in (at_1024, at_2048):
        assert row["squared"]["mean_square"] == pytest.approx(3)
        assert row["distance"]["mean_square"] == pytest.approx(9)
        # Half of the distance in standard deviations: 1.5 at a distance of 3.
        assert row["distance"]["confused"] == pytest.approx(0.0668, abs=1e-4)


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
    placed = experiment.place(flow, x)
    z = flow.transform(x)[0].detach()
    squares = (z[:, None] - flow.base.centres).square().sum(2)
    # The filter keeps |mu|^2 / 2 as float32 drew it, whose error is 1e-7 of |mu|^2.
    near = {"rtol": 1e-6, "atol": 1e-5}
    torch.testing.assert_close(placed.square_distance, squares.amin(1), **near)
    posterior = torch.distributions.Categorical(logits=-0.5 * squares)
    torch.testing.assert_close(placed.entropy, posterior.entropy(), **near)


def test_centres_on_top_of_each_other_leave_the_posterior_uniform() -> None:
    x = torch.randn(30, DIMENSIONS, generator=generator(4))
    near = experiment.place(settled(1e-6, x), x)
    torch.testing.assert_close(near.entropy, torch.full((30,), math.log(CLUSTERS)))
    far = experiment.place(settled(1e3, x), x)
    assert far.entropy.mean() < 0.01


def test_reach_by_hand() -> None:
    # The 99.9 % point of chi^2 with two degrees of freedom is -2 ln 0.001 = 13.8155.
    squares = torch.tensor([0.0, 13.81, 13.82, 500.0])
    assert experiment.out_of_reach(squares, 2) == 0.5
    assert math.isnan(experiment.out_of_reach(squares[:0], 2))


def test_samples_of_one_cluster_leave_its_reach_once_in_a_thousand_times() -> None:
    z = torch.randn(100_000, DIMENSIONS, generator=generator(6))
    # 100 are expected; 4 standard deviations of a binomial count are 40.
    share = experiment.out_of_reach(z.square().sum(1), DIMENSIONS)
    assert 60 < 100_000 * share < 140


# ---- One sigma, one seed


def test_validation_and_test_are_decided_as_if_each_were_alone() -> None:
    splits = made_splits()
    found = experiment.try_sigma(splits, CLASSES, head(), SETTINGS, 0.3, 2)
    chosen = FILTER.model_copy(update={"sigma": 0.3})
    levels, diagnoses = fit_levels(splits, CLASSES, chosen, CASCADE, 2)
    predicted, _ = decide(levels, splits, CLASSES, head(), CLASSIFIER, "paper", 2)
    assert np.array_equal(found.predictions["test"], predicted.numpy())
    assert found.predictions["val"].shape == (len(splits["val"].labels),)
    assert found.predictions["val"].min() >= 0
    assert [one["purity"] for one in found.record["filters"]] == [
        one["purity"] for one in diagnoses
    ]
    assert 0 <= found.record["entropy"]["test"] <= 1
    json.dumps(found.record)


def test_streamed_features_give_the_same_decisions_and_record() -> None:
    splits = made_splits()
    streamed = {
        split: Samples(Streamed(part.features, torch.device("cpu")), part.labels)
        for split, part in splits.items()
    }
    expected, found = (
        experiment.try_sigma(some, CLASSES, head(), SETTINGS, 0.3, 2)
        for some in (splits, streamed)
    )
    for split, predicted in expected.predictions.items():
        assert np.array_equal(found.predictions[split], predicted)
    assert found.record == expected.record


def test_put_together_every_sample_is_still_decided_at_one_depth() -> None:
    splits = made_splits()
    levels, _ = fit_levels(splits, CLASSES, FILTER, CASCADE, 2)
    levels, both = experiment.validation_as_test(levels, splits)
    decided = torch.cat(
        [level.leaving("test") for level in levels] + [levels[-1].staying("test")]
    )
    assert torch.equal(decided.sort().values, torch.arange(len(both["test"].labels)))
    assert both["val"] is splits["val"] and both["train"] is splits["train"]


def test_without_validation_samples_only_test_is_decided() -> None:
    splits = made_splits(val=0)
    found = experiment.try_sigma(splits, CLASSES, head(), SETTINGS, 0.05, 0)
    assert len(found.predictions["val"]) == 0
    assert len(found.predictions["test"]) == len(splits["test"].labels)
    assert math.isnan(found.record["entropy"]["val"])


def test_a_fit_that_fails_names_its_sigma(refused) -> None:
    splits = made_splits()
    one_class = torch.zeros_like(splits["train"].labels)
    splits["train"] = Samples(splits["train"].features, one_class)
    problems = refused(
        lambda: experiment.try_sigma(splits, CLASSES, head(), SETTINGS, 0.3, 1)
    )
    assert problems == [
        "sigma 0.3: depth 1, seed 1: filter: expected samples of at least 2 classes to "
        "draw pairs from, got 1"
    ]


# ---- What the sweep says

LABELS = {"val": np.repeat([0, 1], 10), "test": np.repeat([0, 1], 200)}
TRAIN_COUNTS = np.array([200, 10])


def made(
    val_right: float, test_right: float, entropy: float, reach: float | None = 0.0
) -> dict[int, Tried]:
    """Three seeds with these shares right, on the same samples of each class."""
    predictions = {}
    for split, share in (("val", val_right), ("test", test_right)):
        size = len(LABELS[split]) // 2
        right = np.tile(np.arange(size) < round(share * size), 2)
        predictions[split] = np.where(right, LABELS[split], 1 - LABELS[split])
    part = {
        "samples": 1,
        "log_likelihood": -3.0,
        "leaving": 0.4,
        "leaving_by_group": {"many": 0.1, "medium": None, "few": 0.7},
        "auroc_tail": 0.8,
    }
    record = {
        "filters": [
            {
                "empty_clusters": 3,
                "pure_clusters": 4,
                "purity": 0.5,
                "splits": dict.fromkeys(experiment.SPLITS, part),
            }
        ],
        "entropy": dict.fromkeys(experiment.SPLITS, entropy),
        "out_of_reach": dict.fromkeys(experiment.SPLITS, reach),
    }
    return {seed: Tried(record, predictions) for seed in (0, 1, 2)}


def sweep(tried: dict[float, dict[int, Tried]], labels=LABELS) -> list[dict]:
    reasons = {sigma: ["tried"] for sigma in tried}
    return experiment.sweep_records(tried, labels, TRAIN_COUNTS, 0.05, reasons)


def best_verdict(**others: float) -> str:
    tried = {0.05: made(0.5, 0.5, 0.9)}
    for number, right in enumerate(others.values(), start=1):
        tried[float(number)] = made(0.5, right, 0.9)
    return experiment._best_claim(sweep(tried), 0.05)["verdict"]


def test_the_best_choice_is_above_all_others_or_it_is_not() -> None:
    assert best_verdict(a=0.2, b=0.1) == "supported"
    assert best_verdict(a=0.2, b=0.49) == "undecided"
    assert best_verdict(a=0.2, b=0.5) == "undecided"
    assert best_verdict(a=0.2, b=0.8) == "contradicted"


def test_sweep_record_by_hand() -> None:
    tried = {0.05: made(0.5, 0.5, 0.9), 1.0: made(0.6, 0.3, 0.2)}
    published, other = sweep(tried)
    assert published["published_minus"] is None
    assert other["published_minus"]["mean"] == pytest.approx(0.2)
    assert other["accuracy"]["val"]["overall"]["mean"] == pytest.approx(0.6)
    assert other["accuracy"]["test"]["many"]["mean"] == pytest.approx(0.3)
    assert math.isnan(other["accuracy"]["test"]["medium"]["mean"])
    assert other["measures"]["entropy"]["per_seed"] == [0.2] * 3
    assert other["measures"]["entropy"]["mean"] == pytest.approx(0.2)
    assert math.isnan(other["measures"]["leaving_medium"]["mean"])
    assert other["held_out"] == "val"


def test_intervals_widen_with_the_number_of_sigmas() -> None:
    few = {0.05: made(0.5, 0.5, 0.9), 1.0: made(0.5, 0.3, 0.9)}
    many = few | {2.0 + n: made(0.5, 0.3, 0.9) for n in range(9)}
    widths = [
        gap["high"] - gap["low"]
        for gap in (sweep(few)[1]["published_minus"], sweep(many)[1]["published_minus"])
    ]
    # 200 samples of a class: t is nearly normal, 2.81 at 99.5 % against 1.96 at 95 %.
    assert widths[1] / widths[0] == pytest.approx(2.81 / 1.96, rel=0.02)


def test_best_sigma_is_chosen_on_validation_samples_alone() -> None:
    tried = {
        0.05: made(0.5, 0.9, 0.9),
        1.0: made(0.8, 0.2, 0.9),
        2.0: made(0.4, 0.1, 0.9),
    }
    best = experiment.best_sigma(tried, LABELS, TRAIN_COUNTS)
    assert best == {"sigma": 1.0, "val": pytest.approx(0.8), "not_worse": [0.05, 1.0]}


def test_without_validation_samples_nothing_is_chosen() -> None:
    labels = LABELS | {"val": LABELS["val"][:0]}
    tried = {
        sigma: {
            seed: Tried(one.record, one.predictions | {"val": labels["val"]})
            for seed, one in made(0.5, right, 0.9).items()
        }
        for sigma, right in ((0.05, 0.5), (1.0, 0.4))
    }
    assert experiment.best_sigma(tried, labels, TRAIN_COUNTS) is None
    first = sweep(tried, labels)[0]
    assert first["accuracy"]["val"] is None and first["held_out"] == "train"


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


def test_a_missing_value_leaves_a_trend_not_run() -> None:
    found = experiment.trend(
        np.arange(3.0), np.array([[1, np.nan, 2]]), numpy_generator()
    )
    assert experiment.judge_trend(1, *found) == "not run"


def test_claims_of_each_kind_on_made_records() -> None:
    tried = {
        0.02: made(0.5, 0.2, 0.99, 0.0),
        0.05: made(0.5, 0.5, 0.95, 0.0),
        0.5: made(0.5, 0.2, 0.5, 0.1),
        1.0: made(0.5, 0.2, 0.2, 0.2),
        2.0: made(0.5, 0.2, 0.1, 0.3),
    }
    distances = experiment.measure_distances(16, list(tried), 500, generator(2))
    claims = experiment.sigma_claims(sweep(tried), distances, 0.05, numpy_generator())
    assert [(one["kind"], one["verdict"]) for one in claims] == [
        ("exact", "supported"),  # sqrt(3 / 2048) = 0.0383 is printed as 0.04
        ("exact", "contradicted"),  # its distance is sqrt(3), not 3
        ("drawn", "supported"),
        ("trend", "supported"),
        ("trend", "supported"),
        ("difference", "supported"),
    ]
    assert claims[0]["mean"] == pytest.approx(0.03827, abs=1e-5)
    assert claims[1]["high"] < 2 < 3
    assert claims[3]["mean"] == pytest.approx(-1)
