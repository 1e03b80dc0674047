"""Laws of the Flow Filter's density, in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from replication.flow_filter.flow import (
    FlowFilter,
    GaussianMixture,
    MaskedLinear,
    _softplus,
)
from tests.made import draw, generator


def settled_filter(dimensions: int, clusters: int, sigma: float = 0.5) -> FlowFilter:
    """A float64 filter whose batch-norms have seen data, in eval mode."""
    flow = FlowFilter(dimensions, clusters, sigma, generator()).double()
    # half_square was rounded to float32 with the centres; redo it in float64.
    flow.base.half_square.copy_(0.5 * flow.base.centres.square().sum(1))
    for step in range(30):
        fit_likelihood(flow, 1.5 * draw(64, dimensions, seed=step) + 0.3)
    return flow.eval()


def fit_likelihood(flow: FlowFilter, x: Tensor) -> None:
    """A step of SGD on the mean log-likelihood of a batch."""
    z, _, passed = flow.transform(x)
    scores = flow.base.scores(z)
    grad = (z - scores.softmax(1) @ flow.base.centres) / len(x)
    flow.descend(passed, grad, x.new_full((len(x),), -1 / len(x)), 0.05)


# --- log-determinant and mass


def test_log_determinant_is_that_of_the_jacobian() -> None:
    """log P(x) - log P(z) = log |det dz/dx|, sample by sample; dz/dx by differences."""
    flow, small = settled_filter(7, 4), 1e-6
    x = 1.5 * draw(5, 7, seed=99) + 0.3
    z, log_det, _ = flow.transform(x)
    moved = small * torch.eye(7, dtype=torch.float64)[:, None]
    ahead, behind = (
        flow.transform((x + by).flatten(0, 1))[0] for by in (moved, -moved)
    )
    jacobian = (ahead - behind).view(7, 5, 7).transpose(0, 1) / (2 * small)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert expected.std() > 1e-3  # the flow is not merely affine
    torch.testing.assert_close(log_det, expected, rtol=1e-7, atol=1e-7)
    density = flow(x)
    torch.testing.assert_close(density.latent, z)
    torch.testing.assert_close(
        density.log_likelihood, flow.base(z)[0] + expected, rtol=1e-9, atol=1e-9
    )


def test_density_of_the_flow_integrates_to_one() -> None:
    """The integral of P(x) over the plane is 1."""
    flow = settled_filter(2, 3)
    step = 0.05
    axis = torch.arange(-16, 16, step, dtype=torch.float64) + step / 2
    mass = flow(torch.cartesian_prod(axis, axis)).log_likelihood.exp().sum()
    assert (mass * step**2).item() == pytest.approx(1, abs=1e-3)


# --- The mixture


def test_mixture_equals_torch_distributions() -> None:
    """Sect. 3: components N(mu_k, I) of equal weight."""
    clusters, dimensions = 9, 6
    centres = 3 * draw(clusters, dimensions)
    z = 2 * draw(40, dimensions, seed=1)
    mixture = MixtureSameFamily(
        Categorical(torch.ones(clusters, dtype=torch.float64)),
        Independent(Normal(centres, torch.ones_like(centres)), 1),
    )
    base = GaussianMixture(centres)
    expected = mixture.log_prob(z)
    joint = mixture.component_distribution.log_prob(z[:, None]) - math.log(clusters)
    close = {"rtol": 1e-12, "atol": 1e-11}
    log_likelihood, log_posterior = base(z)
    torch.testing.assert_close(log_likelihood, expected, **close)
    torch.testing.assert_close(log_posterior, joint - expected[:, None], **close)


def test_centres_spread_as_sigma_and_never_move() -> None:
    """Sect. 3: each dimension of a centre is from N(0, sigma^2); centres are fixed."""
    flow = FlowFilter(64, 400, 0.05, generator())
    # 25,600 draws: standard error of the deviation 0.05 / sqrt(2 * 25600) = 0.00022.
    assert flow.base.centres.std().item() == pytest.approx(0.05, abs=4 * 0.00022)
    assert flow.base.centres.mean().item() == pytest.approx(0, abs=4 * 0.05 / 160)
    before = flow.base.centres.clone()
    fit_likelihood(flow, torch.randn(8, 64, generator=generator(1)))
    assert torch.equal(flow.base.centres, before)


def test_a_filter_follows_its_generator_and_leaves_the_global_one_alone() -> None:
    """Same generator, same filter; another, another; global state untouched."""
    state = torch.random.get_rng_state()
    first, again, other = (FlowFilter(5, 3, 1.0, generator(s)) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = zip(first.state_dict().items(), again.state_dict().values(), strict=True)
    assert all(torch.equal(mine, its) for (_, mine), its in pairs)
    assert not torch.equal(first.base.centres, other.base.centres)
    pairs = zip(first.named_parameters(), other.parameters(), strict=True)
    linear = [pair for pair in pairs if "norm" not in pair[0][0]]
    assert len(linear) == 12
    assert all(not torch.equal(mine, its) for (_, mine), its in linear)


# --- The masked layers


@pytest.mark.parametrize("dimensions", [12, 300])
def test_masked_weights_stay_exactly_zero_under_sgd(dimensions: int) -> None:
    """What the mask forbids is zero before and after steps; the rest learns.

    A unit sees no dimension after its own: z_d stands still when a later x_e moves.
    """
    flow = FlowFilter(dimensions, 4, 0.05, generator())
    layers = [layer for layer in flow.modules() if isinstance(layer, MaskedLinear)]
    assert len(layers) == 6
    before = [layer.weight.clone() for layer in layers]
    for step in range(4):
        fit_likelihood(flow, torch.randn(16, dimensions, generator=generator(step)))
    for layer, was in zip(layers, before, strict=True):
        assert torch.equal(layer.weight == 0, was == 0)
        assert 0.4 < (was == 0).double().mean() < 0.6
        assert (layer.weight != was)[was != 0].double().mean() > 0.5


# --- Memory


class LargestArray(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        self.numel = max([self.numel, *sizes])
        return out


def test_no_array_is_as_large_as_samples_times_clusters_times_dimensions() -> None:
    """The square is expanded: forward and backward stay at (B, K), never (B, K, D)."""
    batch, clusters, dimensions = 50, 60, 12
    flow = FlowFilter(dimensions, clusters, 0.05, generator())
    x = torch.randn(batch, dimensions, generator=generator(1))
    with LargestArray() as seen:
        fit_likelihood(flow, x)
        flow(x)
    assert seen.numel == batch * clusters
    with LargestArray() as control:
        (x[:, None] - flow.base.centres).square().sum(2)
    assert control.numel == batch * clusters * dimensions


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_scales_are_softplus_to_the_last_bits(kind: torch.dtype) -> None:
    x = torch.linspace(-60, 120, 10_001, dtype=kind)
    exact = torch.where(x < 20, x.double().exp().log1p(), x + (-x.double()).exp())
    torch.testing.assert_close(
        _softplus(x).double(), exact, rtol=3 * torch.finfo(kind).eps, atol=0
    )
