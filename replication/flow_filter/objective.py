"""The objective of a batch of pairs and its gradient, in few passes over (B, K)."""

from typing import NamedTuple

import torch
from torch import Tensor

from replication.core.products import linear
from replication.core.settings import FilterSettings
from replication.flow_filter.flow import GaussianMixture
from replication.flow_filter.losses import (
    SMALLEST,
    balance_loss,
    likelihood_loss,
    momentum_estimate,
    purity_loss,
)


class Objective(NamedTuple):
    """Of a batch: the terms L_MLE, L_bal, L_pure (3,), p~_t (K,), and gradients.

    Fields: `grad` of the weighted sum of the terms by z, shaped as z; `grad_log_det`,
    by log P(x+) (B,), and so by log |det|.
    """

    terms: Tensor
    share: Tensor
    grad: Tensor
    grad_log_det: Tensor


def objective(
    base: GaussianMixture,
    z: Tensor,
    log_det: Tensor,
    weights: Tensor,
    share: Tensor,
    step: int,
    settings: FilterSettings,
) -> Objective:
    """The objective at latents, and its gradient.

    Implements: L_MLE and L_bal on x+, L_pure on (x+, x-), where z has x- at all: by a
    score s_k = log P(z, h = k), with p = P(h | x) and g = dL/dp^ dp^/dp, the gradients
    are -w p / B, p (g - p.g) and (p+ - p-) / B, of L_pure by x- alone.

    Args:
        z: (B, D) of x+; or (2 B, D), of x+ and then of x-, of other classes row by row.
        log_det: (B,) log |det| of x+; weights: (B,) its class weight.
        share: (K,) p~ before this batch, the t-th; step: t, from 1.
    """
    number = len(weights)
    scores = base.scores(z)
    posterior = scores.softmax(1)
    # Of the most likely cluster, log P(h | x) = score - total; it never underflows.
    total = scores.amax(1) - posterior.amax(1).log_()
    likelihood = total[:number] + base.offset(z[:number]) + log_det
    positive, spare = posterior[:number], scores[:number]
    estimate, share = momentum_estimate(share, positive.mean(0), settings.eta, step)
    mle, balance = likelihood_loss(likelihood, weights), balance_loss(estimate)
    purity = mle.new_zeros(())
    if len(z) > number:
        negative = scores[number:].sub_(total[number:, None])
        purity = purity_loss(positive, negative)
        other = posterior[number:]
        torch.sub(positive, other, out=other)
    by_likelihood = weights * (-settings.lambda_mle / number)
    by_share = estimate.clamp_min(SMALLEST).log_().add_(1).mul_(estimate >= SMALLEST)
    by_share *= settings.lambda_bal * (1 - settings.eta) / (1 - settings.eta**step)
    by_share /= number
    common = torch.mv(positive, by_share) - by_likelihood
    positive *= torch.sub(by_share, common[:, None], out=spare)
    grad = linear(posterior, base.centres.T)
    grad[number:] *= settings.lambda_pure / number
    grad[:number].addcmul_(by_likelihood[:, None], z[:number], value=-1)
    return Objective(torch.stack([mle, balance, purity]), share, grad, by_likelihood)
