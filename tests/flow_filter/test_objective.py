"""A step of a fit is that of autograd through nflows' own parts, in float64."""

import pytest
import torch
from torch import Tensor, nn

from bench import references
from replication.core.settings import FilterSettings
from replication.flow_filter.fitting import descend, read_clusters
from replication.flow_filter.flow import FlowFilter

LAMBDAS = torch.tensor([1.3, 2.0, 0.3], dtype=torch.float64)
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def filter_settings(**changes: float) -> FilterSettings:
    values = {
        "lambda_mle": 1.3, "lambda_bal": 2.0, "lambda_pure": 0.3, "num_clusters": 4,
        "sigma": 0.5, "eta": 0.7, "weight_exponent": 2.0, "lr": 0.1, "batch_size": 20,
        "epochs": 1,
    }  # fmt: skip
    return FilterSettings(**(values | changes))


def new_filter(dimensions: int) -> FlowFilter:
    """In float64; batch-norm divides by something else in each dimension."""
    flow = FlowFilter(dimensions, 4, 0.5, torch.Generator().manual_seed(0)).double()
    # half_square was rounded to float32 with the centres; redo it in float64.
    flow.base.half_square.copy_(0.5 * flow.base.centres.square().sum(1))
    for block in flow.blocks:
        block.norm.unconstrained_weight += torch.arange(dimensions) / dimensions
        block.norm.bias += torch.arange(dimensions) / dimensions
    return flow


def alternating(rows: Tensor) -> Tensor:
    """Rows of all scales and then all shifts -> in turn, as nflows has them."""
    return rows.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)


def as_nflows(flow: FlowFilter) -> nn.Module:
    """nflows' own parts with the filter's weights, hidden units sorted by degree."""
    plain = references.plain_flow(flow.base.centres.shape[1]).double()
    transforms = list(plain._transforms)
    for ours, affine, norm in zip(
        flow.blocks, transforms[::3], transforms[1::3], strict=True
    ):
        made = affine.autoregressive_net
        hidden = made.initial_layer.degrees.sort().values
        out, given = made.final_layer.degrees, torch.arange(1, len(hidden) + 1)
        made.initial_layer.mask.copy_(hidden[:, None] >= given)
        made.blocks[0].linear.mask.copy_(hidden[:, None] >= hidden)
        made.final_layer.mask.copy_(out[:, None] > hidden)
        for theirs, layer, turned in (
            (made.initial_layer, ours.first, torch.as_tensor),
            (made.blocks[0].linear, ours.second, torch.as_tensor),
            (made.final_layer, ours.final, alternating),
        ):
            theirs.weight.data.copy_(turned(layer.weight))
            theirs.bias.data.copy_(turned(layer.bias))
        norm.load_state_dict(ours.norm.state_dict())
    return plain


# Below and above the width of a block of rows (256); 600 is cut into 2 and 4.
@pytest.mark.parametrize("dimensions", [12, 600])
@pytest.mark.parametrize("purity", [0.3, 0.0])
def test_a_step_is_that_of_autograd_through_nflows(
    dimensions: int, purity: float
) -> None:
    """Terms, p~_t, every weight and batch-norm's statistics after two steps."""
    flow, settings = new_filter(dimensions), filter_settings(lambda_pure=purity)
    with torch.random.fork_rng(devices=[]):
        plain = as_nflows(flow)
    generator = torch.Generator().manual_seed(1)
    draw = {"generator": generator, "dtype": torch.float64}
    optimiser = torch.optim.SGD(plain.parameters(), lr=settings.lr)
    share = share_plain = torch.rand(4, **draw).softmax(0)
    for step in (3, 4):
        pair = torch.randn(2, 20, dimensions, **draw)
        weights = torch.rand(20, **draw)
        x = pair.flatten(0, 1) if purity else pair[0]
        at = descend(flow, x, weights, share, step, settings)
        terms, share_plain = references.objective(
            plain, flow.base.centres, pair if purity else pair[:1], weights,
            share_plain, step, settings,
        )  # fmt: skip
        optimiser.zero_grad()
        (terms @ LAMBDAS).backward()
        optimiser.step()
        share = at.share
        torch.testing.assert_close(at.terms, terms.detach(), **CLOSE)
        torch.testing.assert_close(share, share_plain, **CLOSE)
        assert all(value.grad.abs().max() > 1e-4 for value in plain.parameters())
    torch.testing.assert_close(
        dict(as_nflows(flow).state_dict()), dict(plain.state_dict()), **CLOSE
    )


def test_a_cluster_that_is_empty_has_no_gradient() -> None:
    """Eq. 1 at p^ = 0: clamped, so that the step is finite."""
    flow = new_filter(6)
    flow.base.centres[0] += 1e3
    flow.base.half_square.copy_(0.5 * flow.base.centres.square().sum(1))
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator())
    ones, share = torch.ones(20).double(), torch.zeros(4).double()
    at = descend(flow, x, ones, share, 1, filter_settings(lambda_pure=0.0))
    assert at.share[0] == 0
    assert at.grad.isfinite().all()


def test_reading_is_that_of_nflows() -> None:
    """log P(x) and the most likely cluster, in eval mode, after a step."""
    flow = new_filter(6)
    x = torch.randn(40, 6, dtype=torch.float64, generator=torch.Generator())
    descend(flow, x, torch.ones(20).double(), torch.zeros(4).double(), 1,
            filter_settings())  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        plain = as_nflows(flow)
    reading = read_clusters(flow, x)
    likelihood, cluster = references.read(plain, flow.base.centres, x, 7)
    torch.testing.assert_close(reading.log_likelihood, likelihood, **CLOSE)
    assert torch.equal(reading.cluster, cluster)
