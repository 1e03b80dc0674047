"""Laws of the Flow Filter's density, in float64."""

import math

import pytest
import torch
from nflows.transforms import BatchNorm, MaskedAffineAutoregressiveTransform
from torch import Tensor
from torch.autograd.functional import jacobian
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
)
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from replication.flow_filter.flow import (
    AffineAutoregressive,
    BatchNormTransform,
    FlowFilter,
    GaussianMixture,
    TriangularLinear,
    _order_by_degree,
)

# Below and above the width of a block of rows (256); 600 is cut into 2 and 4.
WIDTHS = pytest.mark.parametrize("dimensions", [12, 600])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def settled_filter(dimensions: int, clusters: int, sigma: float = 0.5) -> FlowFilter:
    """A float64 filter whose batch-norms have seen data, in eval mode."""
    flow = FlowFilter(dimensions, clusters, sigma, generator()).double()
    # half_square was rounded to float32 with the centres; redo it in float64.
    flow.base.half_square.copy_(0.5 * flow.base.centres.square().sum(1))
    optimiser = torch.optim.SGD(flow.parameters(), lr=0.05)
    for step in range(30):
        x = 1.5 * draw(64, dimensions, seed=step) + 0.3
        loss = -flow(x).log_likelihood.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return flow.eval()


def triangular_layers(flow: FlowFilter) -> list[TriangularLinear]:
    return [layer for layer in flow.modules() if isinstance(layer, TriangularLinear)]


# --- log-determinant and mass


def test_log_determinant_is_that_of_autograds_jacobian() -> None:
    """log P(x) - log P(z) = log |det dz/dx|, sample by sample."""
    flow = settled_filter(7, 4)
    x = 1.5 * draw(5, 7, seed=99) + 0.3
    z, log_det = flow.transform(x)
    expected = torch.stack(
        [
            torch.linalg.slogdet(
                jacobian(lambda one: flow.transform(one[None])[0][0], row)
            ).logabsdet
            for row in x
        ]
    )
    assert expected.std() > 1e-3  # the flow is not merely affine
    torch.testing.assert_close(log_det, expected, rtol=1e-9, atol=1e-9)
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
    with torch.no_grad():
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
    assert not any("base" in name for name, _ in flow.named_parameters())
    before = flow.base.centres.clone()
    flow(torch.randn(8, 64, generator=generator(1))).log_likelihood.mean().backward()
    torch.optim.SGD(flow.parameters(), lr=1.0).step()
    assert torch.equal(flow.base.centres, before)


def test_a_filter_follows_its_generator_and_leaves_the_global_one_alone() -> None:
    """Same generator, same filter; another, another; global state untouched."""
    state = torch.random.get_rng_state()
    first, again, other = (FlowFilter(5, 3, 1.0, generator(s)) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = zip(first.state_dict().items(), again.state_dict().values(), strict=True)
    assert all(torch.equal(mine, its) for (_, mine), its in pairs)
    assert not torch.equal(first.base.centres, other.base.centres)
    layers = zip(triangular_layers(first), triangular_layers(other), strict=True)
    assert all(not torch.equal(mine.weight, its.weight) for mine, its in layers)


# --- The masked layers


def reference_block(
    block: MaskedAffineAutoregressiveTransform, dimensions: int
) -> MaskedAffineAutoregressiveTransform:
    """nflows' own block with hidden units sorted by degree, and the same weights."""
    own = MaskedAffineAutoregressiveTransform(
        features=dimensions,
        hidden_features=dimensions,
        num_blocks=1,
        use_residual_blocks=False,
        activation=F.relu,
    ).double()
    theirs, ours = own.autoregressive_net, block.autoregressive_net
    degrees = theirs.initial_layer.degrees.sort().values
    given = torch.arange(1, dimensions + 1)
    out = theirs.final_layer.degrees
    masks = (
        degrees[:, None] >= given,
        degrees[:, None] >= degrees,
        out[:, None] > degrees,
    )
    pairs = (
        (theirs.initial_layer, ours.initial_layer),
        (theirs.blocks[0].linear, ours.blocks[0].linear),
        (theirs.final_layer, ours.final_layer),
    )
    for (layer, triangular), mask in zip(pairs, masks, strict=True):
        in_turn = alternating if layer is theirs.final_layer else torch.as_tensor
        layer.mask.copy_(mask)
        layer.weight.data.copy_(in_turn(triangular.weight))
        layer.bias.data.copy_(in_turn(triangular.bias))
    return own


def alternating(rows: Tensor) -> Tensor:
    """Rows of all scales and then all shifts -> in turn, as nflows has them."""
    return rows.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)


def fresh_block(dimensions: int) -> MaskedAffineAutoregressiveTransform:
    torch.manual_seed(0)
    block = AffineAutoregressive(
        features=dimensions,
        hidden_features=dimensions,
        num_blocks=1,
        use_residual_blocks=False,
        activation=F.relu,
    )
    _order_by_degree(block.autoregressive_net)
    return block.double()


@WIDTHS
def test_triangular_block_equals_nflows_in_value_and_gradient(dimensions: int) -> None:
    """The half that is skipped is the half that nflows multiplies by zero."""
    with torch.random.fork_rng(devices=[]):
        ours = fresh_block(dimensions)
        theirs = reference_block(ours, dimensions)
    x_ours = draw(10, dimensions).requires_grad_()
    x_theirs = x_ours.detach().clone().requires_grad_()
    close = {"rtol": 1e-10, "atol": 1e-10}
    weights = draw(10, dimensions, seed=3)
    for block, x in ((ours, x_ours), (theirs, x_theirs)):
        z, log_det = block(x)
        ((weights * z).sum() + log_det.square().sum() / dimensions).backward()
    for mine, its in zip(ours(x_ours), theirs(x_theirs), strict=True):
        torch.testing.assert_close(mine, its, **close)
    torch.testing.assert_close(x_ours.grad, x_theirs.grad, **close)
    gradients = {name: value.grad for name, value in theirs.named_parameters()}
    compared = 0
    for name, value in ours.named_parameters():
        assert gradients[name].abs().max() > 0
        in_turn = alternating if "final_layer" in name else torch.as_tensor
        torch.testing.assert_close(in_turn(value.grad), gradients[name], **close)
        compared += 1
    assert compared == len(gradients) == 6


@pytest.mark.parametrize("batch", [2, 64])
def test_batch_norm_equals_nflows_in_value_gradient_and_statistics(batch: int) -> None:
    """The kernel's biased variance is turned into the unbiased one that nflows uses."""
    ours, theirs = BatchNormTransform(5).double(), BatchNorm(5).double()
    x_ours = (2 + 3 * draw(batch, 5, seed=batch)).requires_grad_()
    x_theirs = x_ours.detach().clone().requires_grad_()
    weights = draw(batch, 5, seed=3)
    close = {"rtol": 1e-9, "atol": 1e-9}
    for part, x in ((ours, x_ours), (theirs, x_theirs)):
        part.unconstrained_weight.data += torch.arange(5) / 5
        for _ in range(2):  # the second batch finds the first one's statistics
            z, log_det = part(x)
        ((weights * z).sum() + (weights[:, 0] * log_det).sum()).backward()
        part.eval()
    torch.testing.assert_close(x_ours.grad, x_theirs.grad, **close)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert its.grad.abs().max() > 0
        torch.testing.assert_close(mine.grad, its.grad, **close)
    for mine, its in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, its, **close)
    for mine, its in zip(ours(x_ours), theirs(x_theirs), strict=True):
        torch.testing.assert_close(mine, its, **close)


@pytest.mark.parametrize("dimensions", [12, 300])
def test_masked_weights_stay_exactly_zero_under_sgd(dimensions: int) -> None:
    """What the mask forbids is zero before and after steps; the rest learns."""
    flow = FlowFilter(dimensions, 4, 0.05, generator())
    layers = triangular_layers(flow)
    assert len(layers) == 6
    before = [layer.weight.detach().clone() for layer in layers]
    optimiser = torch.optim.SGD(flow.parameters(), lr=0.01)
    for step in range(4):
        x = torch.randn(16, dimensions, generator=generator(step))
        loss = -flow(x).log_likelihood.mean() / dimensions
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for layer, was in zip(layers, before, strict=True):
        assert (~layer.mask).any()
        assert (layer.weight[~layer.mask] == 0).all()
        assert (layer.weight[layer.mask] != was[layer.mask]).any()


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
        density = flow(x)
        (density.log_likelihood.mean() + density.log_posterior.mean()).backward()
    assert seen.numel == batch * clusters
    with LargestArray() as control:
        (x[:, None] - flow.base.centres).square().sum(2)
    assert control.numel == batch * clusters * dimensions
