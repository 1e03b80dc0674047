"""Every figure runs at a tiny size, ours and the reference; counts as worked."""

import pytest
import torch
from PIL import Image

from bench.figures import FIGURES, OWN_OPERATIONS, flow_operations, without
from bench.loading import write_photographs
from bench.measuring import take
from replication.flow_filter.flow import FlowFilter

CPU = torch.device("cpu")
TINY = {"N": 40, "B": 8, "K": 3, "D": 4, "C": 5, "layers": 50, "pixels": 32}
TINY |= {"width": 64, "height": 48}


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in FIGURES for way in FIGURES[name].ways]
)
def test_a_figure_runs_every_way(name, way) -> None:
    figure = FIGURES[name]
    size = TINY | ({"N": 200} if "latents" in name else {})
    assert take(figure.ways[way](size, CPU), 2, CPU).seconds > 0
    assert figure.operations(TINY) >= 0 and figure.moved(TINY) >= 0


@pytest.mark.parametrize("kind", OWN_OPERATIONS)
def test_without_an_own_operation_it_is_the_same_filter(kind) -> None:
    """Density and gradients, in training, to rounding."""
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0)).double()
    flows = [
        FlowFilter(8, 3, 0.5, torch.Generator().manual_seed(1)).double()
        for _ in range(2)
    ]
    changed = without(kind, flows[1])
    given = []
    for flow in (flows[0], changed):
        density = flow.train()(x)
        (density.log_likelihood.sum() + density.log_posterior[:, 0].sum()).backward()
        weights = [weight.grad for weight in flow.parameters()]
        given.append([density.log_likelihood, *weights])
    torch.testing.assert_close(given[0], given[1])


def test_operations_of_a_sample_worked() -> None:
    # Two MADEs: D x D twice and D x 2D once each is 4 D^2; then K products of D.
    assert flow_operations({"D": 4, "K": 3}) == 2 * (2 * 4 * 16 + 3 * 4)


def test_operations_of_a_step_worked() -> None:
    # Two batches of 8; a forward pass, and a gradient of twice that.
    step = FIGURES["filter step"].operations(TINY)
    assert step == 3 * 2 * 8 * flow_operations(TINY)


def test_operations_of_resnet50_are_those_known() -> None:
    """4.1 billion multiply-adds at 224 x 224 (He et al., Table 1: 3.8; v1.5: 4.1)."""
    size = {"B": 1, "layers": 50, "pixels": 224}
    found = FIGURES["extraction"].operations(size)
    assert found == pytest.approx(2 * 4.1e9, rel=0.02)


def test_photographs_are_as_large_as_photographs(tmp_path) -> None:
    """ImageNet's have 110 kB on average."""
    size = {"B": 2, "width": 500, "height": 375}
    paths = write_photographs(tmp_path, size)
    assert len(paths) == 2
    for path in paths:
        assert Image.open(path).size == (500, 375)
        assert 60_000 < path.stat().st_size < 160_000


def test_loading_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    FIGURES["load to train"].ways["suite"](TINY, CPU)()
    assert torch.get_num_threads() == before
