"""Fitting linear classifiers on toy data: what is kept, and what is lifted."""

import math

import pytest
import torch
from torch import Tensor

from replication.classifiers.fitting import (
    FittedHead,
    Problem,
    Watched,
    fit_balanced_softmax_head,
    fit_classifiers,
    fit_softmax_head,
)
from replication.classifiers.heads import Rows, Term, predict
from replication.core.files import BadInput
from replication.core.settings import ClassifierSettings, HeadSettings
from tests.made import generator


def head_settings(**changes: float) -> HeadSettings:
    values = {"epochs": 20, "lr": 0.1, "batch_size": 32}
    values |= {"momentum": 0.9, "weight_decay": 5e-4}
    return HeadSettings(**(values | changes))


def classifier_settings(**changes: float) -> ClassifierSettings:
    values = {"lr": 0.1, "batch_size": 32, "epochs": 6, "evaluate_every": 1}
    values |= {"second_terms": "drawn"}
    return ClassifierSettings(**(values | changes))


def overlapping(counts: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Classes of unit Gaussians around the corners of a simplex, 1.5 apart or so."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = torch.randn(len(labels), len(counts), generator=generator(seed))
    return noise + 1.2 * torch.eye(len(counts))[labels], labels


def zero_term(classes: int, dimensions: int) -> Term:
    return Term(torch.zeros(classes, dimensions), torch.zeros(classes))


def recall(terms: list[Term], features: Tensor, labels: Tensor, label: int) -> float:
    predicted = predict(terms, [Rows(features)], torch.arange(len(labels)))
    return (predicted == labels)[labels == label].float().mean().item()


# --- Balanced Softmax head


def test_balanced_softmax_lifts_rare_classes_over_plain_cross_entropy() -> None:
    """With the prior in training only, rare classes win recall and common ones pay.

    Plain cross-entropy is the same fit with equal counts. Differences count from 4
    standard errors of two shares of 500 samples.
    """
    counts = torch.tensor([600, 60, 12])
    features, labels = overlapping(counts.tolist(), seed=1)
    test_features, test_labels = overlapping([500, 500, 500], seed=2)
    heads = {
        name: fit_balanced_softmax_head(
            features, labels, zero_term(3, 3), prior, head_settings(), 0
        )
        for name, prior in (("balanced", counts), ("plain", torch.ones(3).long()))
    }
    recalls = {
        name: [recall([head], test_features, test_labels, c) for c in range(3)]
        for name, head in heads.items()
    }
    margin = 4 * math.sqrt(2 * 0.25 / 500)
    assert recalls["balanced"][2] > recalls["plain"][2] + margin
    assert recalls["balanced"][1] > recalls["plain"][1] + margin
    assert recalls["balanced"][0] < recalls["plain"][0] - margin
    assert sum(recalls["balanced"]) > sum(recalls["plain"]) + margin


def test_head_follows_its_seed_and_leaves_its_start_alone() -> None:
    features, labels = overlapping([60, 20], seed=1)
    start, counts = zero_term(2, 2), labels.bincount()
    first, again, other = (
        fit_balanced_softmax_head(features, labels, start, counts, head_settings(), s)
        for s in (3, 3, 4)
    )
    assert torch.equal(first.weight, again.weight)
    assert torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weight, other.weight)
    assert not start.weight.any()
    assert not start.bias.any()


def test_head_refuses_a_loss_that_is_not_finite() -> None:
    features, labels = overlapping([20, 20], seed=1)
    features[3, 1] = float("nan")
    with pytest.raises(BadInput) as refusal:
        fit_balanced_softmax_head(
            features, labels, zero_term(2, 2), labels.bincount(), head_settings(), 0
        )
    assert str(refusal.value) == (
        "head: the loss is not finite in epoch 1; a smaller head.lr may help"
    )


# --- Softmax head


def test_softmax_head_is_balanced_softmax_with_even_counts() -> None:
    """A prior that is the same for every class lifts nothing."""
    features, labels = overlapping([60, 20, 8], seed=1)
    plain = fit_softmax_head(features, labels, zero_term(3, 3), head_settings(), 0)
    even, uneven = (
        fit_balanced_softmax_head(
            features, labels, zero_term(3, 3), counts, head_settings(), 0
        )
        for counts in (torch.full((3,), 40), labels.bincount())
    )
    torch.testing.assert_close(plain.weight, even.weight)
    torch.testing.assert_close(plain.bias, even.bias)
    assert not torch.allclose(plain.weight, uneven.weight, atol=0.01)


# --- fit_classifiers

# One feature: 1 for class 0, -1 for class 1; the fit drives weight[0] up for good.
TRAIN = torch.tensor([[1.0], [-1.0]]).repeat(16, 1)
TRAIN_LABELS = torch.tensor([0, 1]).repeat(16)


def fit_line(
    watched: Watched | None, start: Term | None = None, **changes: float
) -> FittedHead:
    problem = Problem(
        [[start or zero_term(2, 1)]], [Rows(TRAIN)], TRAIN_LABELS,
        TRAIN_LABELS.bincount()[None], watched, 5,
    )  # fmt: skip
    [fitted] = fit_classifiers(problem, classifier_settings(**changes))
    return fitted


def watched_at(values: list[float], labels: list[int]) -> Watched:
    return Watched([Rows(torch.tensor(values)[:, None])], torch.tensor(labels))


def worsening_start() -> Term:
    """Starts wrong by a little, so that both signs of the weight are passed."""
    return Term(torch.tensor([[-0.12], [0.12]]), torch.zeros(2))


def test_the_best_watched_epoch_is_kept_when_later_ones_are_worse() -> None:
    """Watched labels that contradict the training make every later epoch worse."""
    watched = watched_at([1.0, -1.0], [1, 0])
    fitted = fit_line(watched, worsening_start(), epochs=6)
    assert list(fitted.looks) == [1, 2, 3, 4, 5, 6]
    assert fitted.looks[1] == 1
    assert fitted.looks[6] == 0
    assert fitted.epoch == 1
    stopped = fit_line(None, worsening_start(), epochs=1)
    assert torch.equal(fitted.terms[0].weight, stopped.terms[0].weight)
    assert torch.equal(fitted.terms[0].bias, stopped.terms[0].bias)


def test_the_first_of_equally_good_epochs_is_kept() -> None:
    """Agreeing labels: wrong at first, right from some epoch on; that one is kept."""
    fitted = fit_line(watched_at([1.0, -1.0], [0, 1]), worsening_start(), epochs=6)
    right = [epoch for epoch, share in fitted.looks.items() if share == 1]
    assert 1 < right[0] < right[-1] == 6
    assert fitted.epoch == right[0]
    stopped = fit_line(None, worsening_start(), epochs=right[0])
    assert torch.equal(fitted.terms[0].weight, stopped.terms[0].weight)


def test_each_of_several_classifiers_keeps_its_own_best_epoch() -> None:
    """Under labels that contradict the training the later one to turn is kept later."""
    watched = watched_at([1.0, -1.0], [0, 1])
    starts = [worsening_start(), zero_term(2, 1)]
    alone = [fit_line(watched, start) for start in starts]
    problem = Problem(
        [[start] for start in starts], [Rows(TRAIN)], TRAIN_LABELS,
        TRAIN_LABELS.bincount().expand(2, 2), watched, 5,
    )  # fmt: skip
    stacked = fit_classifiers(problem, classifier_settings())
    assert [fitted.epoch for fitted in stacked] == [fitted.epoch for fitted in alone]
    assert alone[0].epoch > alone[1].epoch == 1
    for fitted, other in zip(stacked, alone, strict=True):
        assert fitted.looks == other.looks
        torch.testing.assert_close(fitted.terms[0].weight, other.terms[0].weight)


def test_looks_come_every_few_epochs_and_at_the_last() -> None:
    watched = watched_at([1.0, -1.0], [0, 1])
    fitted = fit_line(watched, epochs=5, evaluate_every=3)
    assert list(fitted.looks) == [3, 5]


def test_an_empty_training_part_keeps_the_start() -> None:
    start = Term(torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 4.0]))
    nothing = torch.empty(0, dtype=torch.int64)
    problem = Problem(
        [[start]], [Rows(TRAIN, nothing)], nothing, torch.zeros(1, 2).long(),
        watched_at([1.0], [0]), 0,
    )  # fmt: skip
    [fitted] = fit_classifiers(problem, classifier_settings())
    assert (fitted.epoch, fitted.looks) == (0, {})
    assert fitted.terms[0] is start
    assert torch.equal(start.weight, torch.tensor([[1.0], [2.0]]))
    assert torch.equal(start.bias, torch.tensor([3.0, 4.0]))


def test_the_classifiers_prior_is_that_of_the_counts_given() -> None:
    """Features say nothing: the logits take up what the prior leaves over.

    Labels are even; with counts 3 : 1 the fitted difference of biases is log(1 / 3).
    """
    problem = Problem(
        [[zero_term(2, 1)]], [Rows(torch.zeros(32, 1))], TRAIN_LABELS,
        torch.tensor([[24, 8]]), None, 0,
    )  # fmt: skip
    [fitted] = fit_classifiers(problem, classifier_settings(lr=1.0, epochs=200))
    gap = (fitted.terms[0].bias[0] - fitted.terms[0].bias[1]).item()
    assert gap == pytest.approx(math.log(1 / 3), abs=1e-4)


def test_classifier_refuses_a_loss_that_is_not_finite() -> None:
    """It is noticed at the next look; the epoch of that look is named."""
    features = TRAIN.clone()
    features[0] = float("inf")
    problem = Problem(
        [[zero_term(2, 1)]], [Rows(features)], TRAIN_LABELS,
        TRAIN_LABELS.bincount()[None], None, 0,
    )  # fmt: skip
    with pytest.raises(BadInput) as refusal:
        fit_classifiers(problem, classifier_settings(evaluate_every=3))
    assert str(refusal.value) == (
        "classifier: the loss is not finite in epoch 3; "
        "a smaller classifier.lr may help"
    )
