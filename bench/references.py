"""Plain references, written to the paper's equations; tests hold them to the suite.

nflows as it comes, autograd, concatenated inputs. The square of z - mu is expanded, as
anyone who is short of memory does.
"""

import math
from collections.abc import Sequence

import torch
from nflows.transforms import (
    BatchNorm,
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    ReversePermutation,
    Transform,
)
from torch import Tensor, nn
from torch.nn import functional as F

from replication.core.settings import FilterSettings


def plain_flow(dimensions: int) -> Transform:
    """The flow of the released configuration, of nflows' parts as they come."""

    def block() -> list[nn.Module]:
        return [
            MaskedAffineAutoregressiveTransform(
                features=dimensions,
                hidden_features=dimensions,
                num_blocks=1,
                use_residual_blocks=False,
                activation=F.relu,
            ),
            BatchNorm(dimensions),
        ]

    return CompositeTransform([*block(), ReversePermutation(dimensions), *block()])


def log_joint(transform: Transform, centres: Tensor, x: Tensor) -> Tensor:
    """log P(x, h = k), (B, D) -> (B, K), nats."""
    z, log_det = transform(x)
    square = z.square().sum(1)[:, None] - 2 * z @ centres.T + centres.square().sum(1)
    clusters, dimensions = centres.shape
    constant = 0.5 * dimensions * math.log(2 * math.pi) + math.log(clusters)
    return -0.5 * square - constant + log_det[:, None]


def objective(
    transform: Transform,
    centres: Tensor,
    pairs: Sequence[Tensor],
    weights: Tensor,
    share: Tensor,
    step: int,
    settings: FilterSettings,
) -> tuple[Tensor, Tensor]:
    """L_MLE, L_bal, L_pure (3,) and p~_t (K,), each as it is printed.

    `pairs`: x+ and x-, (B, D); x+ alone where L_pure does not count.
    """
    joint = [log_joint(transform, centres, x) for x in pairs]
    likelihood = joint[0].logsumexp(1)
    posterior = torch.softmax(joint[0], 1)
    share = settings.eta * share + (1 - settings.eta) * posterior.mean(0)
    estimate = share / (1 - settings.eta**step)
    balance = math.log(len(share)) + (estimate * estimate.log()).sum()
    purity = posterior.new_zeros(())
    if len(joint) > 1:
        purity = (posterior.detach() * torch.log_softmax(joint[1], 1)).sum(1).mean()
    mle = -(weights * likelihood).mean()
    return torch.stack([mle, balance, purity]), share.detach()


@torch.no_grad()
def read(
    transform: Transform,
    centres: Tensor,
    features: Tensor,
    batch: int = 512,
) -> tuple[Tensor, Tensor]:
    """log P(x) (N,) and the most likely cluster (N,)."""
    transform.eval()
    joint = torch.cat(
        [log_joint(transform, centres, part) for part in features.split(batch)]
    )
    return joint.logsumexp(1), joint.argmax(1)


def classifier_epoch(
    layer: nn.Linear,
    inputs: Tensor,
    labels: Tensor,
    order: Tensor,
    log_counts: Tensor,
    lr: float,
    batch: int,
) -> None:
    """Balanced Softmax on concatenated inputs (N, D_in), by autograd, in place."""
    optimiser = torch.optim.SGD(layer.parameters(), lr=lr)
    for samples in order.split(batch):
        loss = F.cross_entropy(layer(inputs[samples]) + log_counts, labels[samples])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
