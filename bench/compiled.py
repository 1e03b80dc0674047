"""Whether compiling a Flow Filter's step pays, and capturing it as a graph.

    python -m bench.compiled [--device auto]        (`make bench`)

The suite runs the step as it is written. Here the same step, forward, backward and SGD,
is compiled too (`torch.compile`; on a GPU also with its launches captured as a CUDA
graph, mode `reduce-overhead`).
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.measuring import about_machine, now, take
from replication.core.files import write_text
from replication.core.settings import FilterSettings
from replication.core.stage import pick_device
from replication.flow_filter.fitting import objective_terms
from replication.flow_filter.flow import FlowFilter
from replication.reporting.tables import markdown_table

CLUSTERS, BATCH = 500, 512
SETTINGS = FilterSettings(
    lambda_mle=1.0,
    lambda_bal=1.0,
    lambda_pure=0.05,
    num_clusters=CLUSTERS,
    sigma=0.05,
    eta=0.7,
    weight_exponent=2.0,
    lr=0.1,
    batch_size=BATCH,
    epochs=1,
)
REPORT = Path(__file__).parent / "compiled.md"


class Cost(NamedTuple):
    """Seconds of a step, and of the first call, in which it is compiled."""

    step: float
    first: float


def kinds(device: torch.device) -> dict[str, Callable[..., Any]]:
    """The step's forward pass as it is, and compiled, by the name on the page."""
    found = {"as written": objective_terms, "compiled": torch.compile(objective_terms)}
    if device.type == "cuda":
        found["captured as a graph"] = torch.compile(
            objective_terms, mode="reduce-overhead"
        )
    return found


def measure(
    terms_of: Callable[..., Any],
    dimensions: int,
    device: torch.device,
    repeats: int = 12,
) -> Cost:
    """Time a step at K = 500, batch 512."""
    generator = torch.Generator().manual_seed(0)
    flow = FlowFilter(dimensions, CLUSTERS, 0.05, generator).to(device).train()
    pair = torch.randn(2, BATCH, dimensions, generator=generator).to(device)
    weights = torch.rand(BATCH, generator=generator).to(device)
    share = torch.zeros(CLUSTERS, device=device)
    optimiser = torch.optim.SGD(flow.parameters(), lr=1e-3)

    def step() -> None:
        terms, _ = terms_of(flow, *pair, weights, share, 3, SETTINGS)
        optimiser.zero_grad()
        terms.sum().backward()
        optimiser.step()

    start = now(device)
    step()
    first = time.perf_counter() - start
    return Cost(take(step, repeats, device).seconds, first)


def page(found: Mapping[int, Mapping[str, Cost]], machine: Mapping[str, Any]) -> str:
    """The report of `make bench`."""
    rows = [
        [
            f"{dimensions:,}",
            kind,
            f"{1e3 * cost.step:,.1f}",
            f"{costs['as written'].step / cost.step:.2f}",
            f"{cost.first:,.1f}",
        ]
        for dimensions, costs in found.items()
        for kind, cost in costs.items()
    ]
    header = ["D", "Step", "ms a step", "Times as fast as written", "First call, s"]
    return (
        "# A Flow Filter's step, compiled\n\n"
        f"K = {CLUSTERS}, batch {BATCH}; forward, backward, SGD. The suite runs it as "
        "it is written: every map that is worth fusing has its gradient written out. "
        "The first call compiles; it takes several times as long on a machine that has "
        "not compiled this step before. "
        f"{machine['device']}, PyTorch {machine['torch']}, Python {machine['python']}, "
        f"{machine['date']}. `python -m bench.compiled`\n\n"
        f"{markdown_table(header, rows, words=2)}\n"
    )


def main() -> None:
    """Measure at three widths, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    device = pick_device(parser.parse_args().device)
    found = {
        dimensions: {
            name: measure(terms_of, dimensions, device, max(12, 6400 // dimensions))
            for name, terms_of in kinds(device).items()
        }
        for dimensions in (64, 512, 2048)
    }
    text = page(found, about_machine(device))
    write_text(REPORT, text)
    print(text)


if __name__ == "__main__":
    main()
