"""The objective of a Flow Filter: one function for each equation. Lower is better."""

import math

import torch
from torch import Tensor

SMALLEST = 1e-12


def class_weights(counts: Tensor, exponent: float) -> Tensor:
    """Weight of each class in L_MLE, on top of class-uniform draws.

    Implements: w_y proportional to n_y^-q, summing to 1 over the classes at hand
    (released code; the supplement names neither q nor the normalisation). A class
    without samples weighs nothing. (C,) -> (C,), in torch's default type.
    """
    present = counts > 0
    # Relative to the smallest class, so that no power underflows.
    smallest = counts[present].min()
    ratio = smallest / counts.clamp_min(1).to(torch.get_default_dtype())
    weights = torch.where(present, ratio**exponent, 0.0)
    return weights / weights.sum()


def likelihood_loss(log_likelihood: Tensor, weights: Tensor) -> Tensor:
    """Class-weighted negative log-likelihood.

    Implements: L_MLE = -E[w_y log P(x)], both (B,).
    """
    return -(weights * log_likelihood).mean()


def momentum_estimate(
    previous: Tensor, batch_share: Tensor, eta: float, step: int
) -> tuple[Tensor, Tensor]:
    """Estimate P(h | X) from this batch and the ones before.

    Implements: Eq. 2, 3: p~_t = eta p~_(t-1) + (1 - eta) P(h | B_t), and the unbiased
    p~_t / (1 - eta^t). The gradient passes through the current batch alone.

    Args:
        previous: (K,) p~_(t-1); zeros at first.
        batch_share: (K,) P(h | B_t), the mean posterior of the batch.
        step: t, from 1.

    Returns:
        The estimate p^ (K,), and p~_t (K,) detached, for the next step.
    """
    running = eta * previous + (1 - eta) * batch_share
    return running / (1 - eta**step), running.detach()


def balance_loss(share: Tensor) -> Tensor:
    """Divergence of the clusters' shares from uniform.

    Implements: Eq. 1: KL[P(h | X) || u] = log K - Ent[P(h | X)], of the estimate (K,).
    """
    share = share.clamp_min(SMALLEST)
    return math.log(len(share)) + (share * share.log()).sum()


def purity_loss(posterior_pos: Tensor, log_posterior_neg: Tensor) -> Tensor:
    """Agreement of the clusters of two samples of different classes.

    Implements: L_pure = mean sum_k P(h = k | x+) log P(h = k | x-); both (B, K), x- of
    another class than x+ row by row. The gradient passes through x- alone.
    """
    products = torch.dot(posterior_pos.flatten(), log_posterior_neg.flatten())
    return products / len(posterior_pos)
