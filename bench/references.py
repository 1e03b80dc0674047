"""Plain references, written to the paper's equations; slow and large on purpose.

What one writes first: nflows as it comes, (B, K, D) differences, one Python call for
each sample drawn, concatenated inputs and autograd. Tests hold them against the suite.
"""

import math
import random
from collections.abc import Callable

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
    """log P(x, h = k), (B, D) -> (B, K), by the differences z - mu_k, (B, K, D)."""
    z, log_det = transform(x)
    clusters, dimensions = centres.shape
    square = (z[:, None] - centres[None]).square().sum(2)
    constant = 0.5 * dimensions * math.log(2 * math.pi) + math.log(clusters)
    return -0.5 * square - constant + log_det[:, None]


def objective(
    transform: Transform,
    centres: Tensor,
    pairs: tuple[Tensor, Tensor],
    weights: Tensor,
    share: Tensor,
    step: int,
    settings: FilterSettings,
) -> tuple[Tensor, Tensor]:
    """L_MLE, L_bal, L_pure (3,) and p~_t (K,), each as it is printed."""
    joint = [log_joint(transform, centres, x) for x in pairs]
    likelihood = joint[0].logsumexp(1)
    posterior = [torch.softmax(one, 1) for one in joint]
    running = settings.eta * share + (1 - settings.eta) * posterior[0].mean(0)
    estimate = running / (1 - settings.eta**step)
    balance = math.log(len(share)) + (estimate * estimate.log()).sum()
    purity = (posterior[0].detach() * torch.log_softmax(joint[1], 1)).sum(1).mean()
    mle = -(weights * likelihood).mean()
    return torch.stack([mle, balance, purity]), running.detach()


def draw_pairs(
    by_class: dict[int, list[int]], size: int, generator: random.Random
) -> tuple[list[int], list[int]]:
    """Samples of two different classes, one Python call after the other."""
    pairs = []
    for _ in range(size):
        one, other = generator.sample(list(by_class), 2)
        pairs.append(
            (generator.choice(by_class[one]), generator.choice(by_class[other]))
        )
    return [one for one, _ in pairs], [other for _, other in pairs]


def filter_step(
    transform: Transform, centres: Tensor, settings: FilterSettings
) -> Callable[[Tensor, Tensor, Tensor], None]:
    """A step of the fit: objective, gradient, update."""
    optimiser = torch.optim.SGD(transform.parameters(), lr=settings.lr)
    scale = centres.new_tensor(
        [settings.lambda_mle, settings.lambda_bal, settings.lambda_pure]
    )
    state = {"share": centres.new_zeros(len(centres)), "step": 0}

    def step(x_pos: Tensor, x_neg: Tensor, weights: Tensor) -> None:
        state["step"] += 1
        terms, state["share"] = objective(
            transform, centres, (x_pos, x_neg), weights, state["share"],
            state["step"], settings,
        )  # fmt: skip
        optimiser.zero_grad()
        (terms @ scale).backward()
        optimiser.step()

    return step


@torch.no_grad()
def read(
    transform: Transform, centres: Tensor, features: Tensor, batch: int = 512
) -> tuple[Tensor, Tensor]:
    """log P(x) (N,) and the most likely cluster (N,)."""
    transform.eval()
    joint = [log_joint(transform, centres, part) for part in features.split(batch)]
    return torch.cat([one.logsumexp(1) for one in joint]), torch.cat(
        [one.argmax(1) for one in joint]
    )


def classifier_epoch(
    layer: nn.Linear,
    inputs: Tensor,
    labels: Tensor,
    order: Tensor,
    log_counts: Tensor,
    lr: float,
    batch: int,
) -> None:
    """Balanced Softmax on concatenated inputs (N, D_in), by autograd, in place.

    Args:
        order: (N,) of the samples; a batch is stacked sample by sample.
    """
    optimiser = torch.optim.SGD(layer.parameters(), lr=lr)
    for samples in order.split(batch):
        rows = torch.stack([inputs[sample] for sample in samples.tolist()])
        loss = F.cross_entropy(layer(rows) + log_counts, labels[samples])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
