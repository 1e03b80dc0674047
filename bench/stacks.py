"""Heads fitted side by side against one by one: when a stack is faster.

    python -m bench.stacks [--device auto]        (`make bench`)

Steps of a cluster-aided classifier's first two terms, [x; z], at batch 128. Operators
are those that PyTorch runs on the device's behalf; on a GPU each is at least one
launch.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.measuring import about_machine, take
from replication.classifiers.heads import Rows, Term
from replication.classifiers.stacks import Stack, stack_size
from replication.core.files import write_text
from replication.core.stage import pick_device
from replication.reporting.tables import markdown_table

BATCH, SAMPLES = 128, 4096
# CIFAR-100-LT's classes and width; between; Places-LT's.
SHAPES = ((100, 64), (100, 512), (365, 2048))
HEADS = (1, 2, 3, 6)
REPORT = Path(__file__).parent / "stacks.md"


class Step(NamedTuple):
    """What a step takes a head: seconds, and operators."""

    seconds: float
    operators: float


class _Counted(TorchDispatchMode):
    """Counts operators that are not views."""

    number = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.number += not func.is_view
        return func(*args, **(kwargs or {}))


def stack_of(heads: int, classes: int, dimensions: int, device: torch.device) -> Stack:
    """Heads with a shared x and a z of their own."""
    x, *latents = torch.randn(heads + 1, SAMPLES, dimensions, device=device)

    def term() -> Term:
        weight = torch.zeros(classes, dimensions, device=device)
        return Term(weight, torch.zeros(classes, device=device))

    def bare() -> Term:
        return Term(torch.zeros(classes, dimensions, device=device), None)

    return Stack.of(
        [[term(), bare()] for _ in range(heads)],
        [[Rows(x), Rows(z)] for z in latents],
        [torch.randint(classes, (SAMPLES,), device=device) for _ in range(heads)],
        [torch.zeros(classes, device=device) for _ in range(heads)],
    )


def measure(
    heads: int, classes: int, dimensions: int, device: torch.device, repeats: int = 6
) -> Step:
    """Seconds and operators of a step, for each head of a stack."""
    stack = stack_of(heads, classes, dimensions, device)
    orders = torch.stack(
        [torch.randperm(SAMPLES, device=device) for _ in range(heads)]
    ).split(BATCH, 1)

    def epoch() -> None:
        for samples in orders:
            stack.step(samples, 1e-4)

    with _Counted() as counted:
        stack.step(orders[0], 1e-4)
    seconds = take(epoch, repeats, device).seconds
    return Step(seconds / len(orders) / heads, counted.number / heads)


def page(
    found: Mapping[tuple[int, int], Mapping[int, Step]], machine: Mapping[str, Any]
) -> str:
    """The report of `make bench`."""
    device = torch.device(machine["kind"])
    rows = []
    for (classes, dimensions), steps in found.items():
        limit = stack_size(device, 2 * classes * dimensions)
        rows += [
            [
                f"{classes:,} × 2 · {dimensions:,}",
                str(heads),
                f"{1e6 * step.seconds:,.0f}",
                f"{steps[1].seconds / step.seconds:.2f}",
                f"{step.operators:.1f}",
                "yes" if heads <= limit else "no",
            ]
            for heads, step in steps.items()
        ]
    header = ["C × D", "Heads in a stack", "Step, µs a head", "Times as fast as alone"]
    header += ["Operators a head", "Within the suite's limit"]
    return (
        "# Heads fitted side by side\n\n"
        f"A step of SGD at batch {BATCH}, on [x; z]. A stack of H heads runs as many "
        "operators as one head: where launches are what a step costs, it is up to H "
        "times as fast; where products are, it gains little or loses. So the suite "
        "stacks all seeds on a GPU (assumed: none was measured), and on a CPU as many "
        "as a core's cache holds, unless each seed has a core of its own. "
        f"{machine['device']}, PyTorch {machine['torch']}, Python {machine['python']}, "
        f"{machine['date']}. `python -m bench.stacks`\n\n"
        f"{markdown_table(header, rows, words=1)}\n"
    )


def main() -> None:
    """Measure at three shapes, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    device = pick_device(parser.parse_args().device)
    found = {
        shape: {heads: measure(heads, *shape, device) for heads in HEADS}
        for shape in SHAPES
    }
    text = page(found, about_machine(device))
    write_text(REPORT, text)
    print(text)


if __name__ == "__main__":
    main()
