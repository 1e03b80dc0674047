"""What rounder products would do to a Flow Filter's density.

    python -m bench.precision        (`make bench`)

A filter is fitted in float32, as the suite does, to synthetic features; then the same
weights are read in float64, in float32, and in float32 with the factors of every matrix
product rounded as TF32 (10 bits) and bfloat16 (7 bits) have them; sums stay in float32,
as a GPU's tensor cores keep them. So it can be measured without such a GPU.
"""

import argparse
import copy
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from replication.core.files import write_text
from replication.core.settings import FilterSettings
from replication.core.stage import device_name
from replication.flow_filter.fitting import fit_flow_filter
from replication.flow_filter.flow import FlowFilter, TriangularLinear
from replication.reporting.tables import markdown_table

SAMPLES, CLASSES, CLUSTERS, BATCH = 4096, 100, 500, 512
SHARE = 0.3  # that leaves a filter, as published
REPORT = Path(__file__).parent / "precision.md"


class Apart(NamedTuple):
    """How far a reading is from float64's.

    Fields: `likelihood` largest error of log P(x), and `posterior` of log P(h | x),
    nats; `spread` standard deviation of log P(x) over the samples, nats; `clusters`
    share of samples whose most likely cluster is another; `leave` share of samples that
    would leave and do not, or the other way round.
    """

    likelihood: float
    posterior: float
    spread: float
    clusters: float
    leave: float


def rounded(bits: int) -> Callable[[Tensor], Tensor]:
    """Round float32 to so many bits after the point, to the nearest, ties to even.

    Args:
        bits: of the mantissa: 10 is TF32's, 7 is bfloat16's.
    """
    drop = 23 - bits

    def rounding(x: Tensor) -> Tensor:
        whole = x.contiguous().view(torch.int32)
        half = (1 << (drop - 1)) - 1 + ((whole >> drop) & 1)
        return ((whole + half) >> drop << drop).view(torch.float32)

    return rounding


class _Rounded(torch.nn.Module):
    """A masked layer whose factors are rounded before they are multiplied."""

    def __init__(
        self, layer: TriangularLinear, rounding: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        self.weight, self.bias = rounding(layer.weight.detach()), layer.bias
        self.rounding = rounding

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(self.rounding(inputs), self.weight, self.bias)


def with_rounded_products(
    flow: FlowFilter, rounding: Callable[[Tensor], Tensor]
) -> FlowFilter:
    """A copy that rounds the factors of all its products."""
    flow = copy.deepcopy(flow)
    for module in list(flow.modules()):
        for name, child in module.named_children():
            if isinstance(child, TriangularLinear):
                setattr(module, name, _Rounded(child, rounding))
    base = flow.base
    centres = rounding(base.centres)
    base._scores = lambda z: torch.addmm(-base.half_square, rounding(z), centres.T)
    return flow


def fitted(dimensions: int, epochs: int) -> tuple[FlowFilter, Tensor]:
    """A filter after some epochs, and the features it was fitted to."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    centres = torch.randn(CLASSES, dimensions, generator=generator)
    features = centres[labels] + torch.randn(SAMPLES, dimensions, generator=generator)
    settings = FilterSettings(
        lambda_mle=1.0, lambda_bal=2.0, lambda_pure=0.03, num_clusters=CLUSTERS,
        sigma=0.05, eta=0.7, weight_exponent=2.0, lr=0.01, batch_size=BATCH,
        epochs=epochs,
    )  # fmt: skip
    found = fit_flow_filter(features.relu_(), labels, settings, seed=0)
    return found.flow.eval(), features


@torch.no_grad()
def apart(flow: FlowFilter, exact: FlowFilter, features: Tensor) -> Apart:
    """Hold a filter against its copy in float64."""
    is_now, truth = flow(features), exact(features.double())
    likelihood = truth.log_likelihood
    leaves = [
        one.log_likelihood >= one.log_likelihood.double().quantile(1 - SHARE)
        for one in (is_now, truth)
    ]
    clusters = [one.log_posterior.argmax(1) for one in (is_now, truth)]
    return Apart(
        likelihood=(is_now.log_likelihood - likelihood).abs().max().item(),
        posterior=(is_now.log_posterior - truth.log_posterior).abs().max().item(),
        spread=likelihood.std().item(),
        clusters=(clusters[0] != clusters[1]).double().mean().item(),
        leave=(leaves[0] != leaves[1]).double().mean().item(),
    )


def measure(dimensions: int, epochs: int) -> dict[str, Apart]:
    """Each kind of product against float64."""
    flow, features = fitted(dimensions, epochs)
    exact = copy.deepcopy(flow).double()
    kinds = {
        "float32": flow,
        "TF32": with_rounded_products(flow, rounded(10)),
        "bfloat16": with_rounded_products(flow, rounded(7)),
    }
    return {name: apart(one, exact, features) for name, one in kinds.items()}


def page(found: dict[int, dict[str, Apart]], epochs: int) -> str:
    """The report of `make bench`."""
    rows = [
        [
            kind,
            f"{dimensions:,}",
            f"{one.likelihood:.2g}",
            f"{one.spread:.2g}",
            f"{one.posterior:.2g}",
            f"{100 * one.clusters:.2f}",
            f"{100 * one.leave:.2f}",
        ]
        for dimensions, kinds in found.items()
        for kind, one in kinds.items()
    ]
    header = ["Products", "D", "Largest error of log P(x), nats"]
    header += ["Spread of log P(x), nats", "Largest error of log P(h|x), nats"]
    header += ["Other cluster, % of samples", "Leaves or stays otherwise, %"]
    return (
        "# What rounder products would do to the density\n\n"
        f"A Flow Filter fitted in float32 for {epochs} epochs to {SAMPLES:,} synthetic "
        f"samples of {CLASSES} classes, K = {CLUSTERS}; its density against the same "
        "weights in float64. TF32 and bfloat16: the factors of every product rounded, "
        "sums in float32, as a GPU's tensor cores do it; computed on a CPU, so that "
        "nothing here says how fast they are. The suite fits and reads filters in "
        f"float32. {device_name(torch.device('cpu'))}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}. "
        f"`python -m bench.precision`\n\n{markdown_table(header, rows)}\n"
    )


def main() -> None:
    """Measure at the sizes of the paper's features, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--dimensions", type=int, nargs="*", default=[64, 512, 2048])
    arguments = parser.parse_args()
    found = {one: measure(one, arguments.epochs) for one in arguments.dimensions}
    text = page(found, arguments.epochs)
    write_text(REPORT, text)
    print(text)


if __name__ == "__main__":
    main()
