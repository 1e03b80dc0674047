"""Worked cases of the objective, named after the supplement's equations."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from replication.flow_filter.losses import (
    balance_loss,
    class_weights,
    likelihood_loss,
    momentum_estimate,
    purity_loss,
)

ETA = 0.7


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def estimates(batches: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """Run the estimator over (T, K) batch shares: estimate and p~_t of the last."""
    running = torch.zeros_like(batches[0])
    estimate = running
    for step, share in enumerate(batches, start=1):
        estimate, running = momentum_estimate(running, share, eta, step)
    return estimate, running


def phi(step: int, eta: float = ETA) -> float:
    return (1 - eta**step) / (1 + eta**step)


# --- Eq. 1


@pytest.mark.parametrize("share", [(0.25, 0.25, 0.25, 0.25), (0.7, 0.1, 0.15, 0.05)])
def test_equation_1_balance_is_the_divergence_from_uniform(
    share: tuple[float, ...],
) -> None:
    """L_bal = KL[P(h | X) || u] = log K - Ent[P(h | X)]."""
    uniform = np.full(len(share), 1 / len(share))
    loss = balance_loss(doubles(*share)).item()
    assert loss == pytest.approx(stats.entropy(share, uniform), abs=1e-14)
    assert loss == pytest.approx(math.log(len(share)) - stats.entropy(share), abs=1e-14)


# --- Eq. 2, 3


@pytest.mark.parametrize("eta", [0.0, ETA])
@pytest.mark.parametrize("steps", [1, 9])
def test_equation_2_the_recursion_is_the_closed_sum(eta: float, steps: int) -> None:
    """p~_t = sum_i (1 - eta) eta^(t - i) P(h | B_i)."""
    generator = torch.Generator().manual_seed(steps)
    batches = torch.rand(steps, 6, dtype=torch.float64, generator=generator).softmax(1)
    factors = doubles(*[(1 - eta) * eta ** (steps - i) for i in range(1, steps + 1)])
    expected = factors @ batches
    estimate, running = estimates(batches, eta)
    torch.testing.assert_close(running, expected, rtol=1e-12, atol=1e-14)
    corrected = expected / (1 - eta**steps)
    torch.testing.assert_close(estimate, corrected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 5])
def test_equation_3_corrected_estimate_sums_to_one_and_is_unbiased(steps: int) -> None:
    """E[p~_t / (1 - eta^t)] = P(h | X), within 4 standard errors."""
    truth = doubles(0.5, 0.3, 0.15, 0.05)
    repetitions = 20_000
    draws = torch.distributions.Multinomial(32, truth)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(steps)
        batches = draws.sample((steps, repetitions)) / 32
    estimate, _ = estimates(batches, ETA)
    ones = torch.ones(repetitions, dtype=torch.float64)
    torch.testing.assert_close(estimate.sum(1), ones, rtol=1e-12, atol=1e-12)
    error = estimate.std(0) / repetitions**0.5
    assert ((estimate.mean(0) - truth).abs() < 4 * error).all()


# --- Eq. 4


def test_equation_4_closed_form_and_limit() -> None:
    """Sum of squared factors over (1 - eta^t)^2 is phi(1) / phi(t); it only falls."""
    ratios = []
    for steps in (1, 2, 5, 20):
        squares = sum(
            ((1 - ETA) * ETA ** (steps - i)) ** 2 for i in range(1, steps + 1)
        )
        identity = torch.eye(steps, dtype=torch.float64)
        estimate, _ = estimates(identity, ETA)
        measured = estimate.square().sum().item()
        assert measured == pytest.approx(squares / (1 - ETA**steps) ** 2, rel=1e-12)
        assert measured == pytest.approx(phi(1) / phi(steps), rel=1e-12)
        ratios.append(measured)
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == pytest.approx(1, abs=1e-15)
    assert ratios[-1] == pytest.approx((1 - ETA) / (1 + ETA), rel=2e-3)


def test_gradient_passes_through_the_current_batch_alone() -> None:
    """d estimate / d P(h | B_t) = (1 - eta) / (1 - eta^t); earlier batches get none."""
    first = doubles(0.6, 0.4).requires_grad_()
    second = doubles(0.2, 0.8).requires_grad_()
    _, running = momentum_estimate(torch.zeros(2).double(), first, ETA, 1)
    assert not running.requires_grad
    estimate, running = momentum_estimate(running, second, ETA, 2)
    assert not running.requires_grad
    estimate[0].backward()
    assert first.grad is None
    expected = doubles((1 - ETA) / (1 - ETA**2), 0)
    torch.testing.assert_close(second.grad, expected, rtol=1e-14, atol=0)


# --- L_MLE


def test_class_weights_worked_by_hand() -> None:
    """q = 2, n = (4, 2, 1): 1/16, 1/4, 1 over 21/16; a class without samples: 0."""
    weights = class_weights(torch.tensor([4, 2, 1, 0]), 2)
    torch.testing.assert_close(weights, torch.tensor([1 / 21, 4 / 21, 16 / 21, 0]))


def test_likelihood_loss_by_hand() -> None:
    """L_MLE = -E[w log P(x)] = -(0.5 * -2 + 0.25 * 4 + 2.25 * -1) / 3 = 0.75."""
    loss = likelihood_loss(doubles(-2, 4, -1), doubles(0.5, 0.25, 2.25))
    assert loss.item() == pytest.approx(0.75, abs=1e-15)


# --- L_pure


def test_purity_loss_by_hand() -> None:
    """mean of sum_k P(h = k | x+) log P(h = k | x-) over two pairs."""
    positive = doubles(0.5, 0.5, 0.9, 0.1).view(2, 2)
    negative = doubles(0.25, 0.75, 0.2, 0.8).view(2, 2)
    first = 0.5 * math.log(0.25) + 0.5 * math.log(0.75)
    second = 0.9 * math.log(0.2) + 0.1 * math.log(0.8)
    loss = purity_loss(positive, negative.log())
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-15)
