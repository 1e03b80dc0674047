"""Time and memory of one Flow Filter step, beside what its matrix products must cost.

    python -m bench.flow_filter        (`make bench`)

A step is a pair of batches: forward, backward, update. The floor is the time of the
same dense products alone at this machine's measured rate; a step can undercut it, since
the half of each product that MADE's masks forbid is not computed. Each size runs in a
process of its own, so that its peak memory is its own.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from replication.files import write_text
from replication.flow_filter.fitting import objective_terms
from replication.flow_filter.flow import NUM_BLOCKS, FlowFilter
from replication.reporting.tables import markdown_table
from replication.settings import FilterSettings
from replication.stages.running import device_name, pick_device

SIZES = (64, 512, 2048)
CLUSTERS = 500
BATCH = 512
REPORT = Path(__file__).parent / "flow_filter.md"


def step_flops(dimensions: int, clusters: int, batch: int) -> float:
    """Floating-point operations of a step's dense products: both batches, 3 passes."""
    made = NUM_BLOCKS * 4 * dimensions**2
    return 3 * 2 * (2 * batch) * (made + clusters * dimensions)


def product_rate(device: torch.device, size: int = 2048, repeats: int = 8) -> float:
    """Measured operations a second of a (1024, size) x (size, size) product."""
    left = torch.randn(1024, size, device=device)
    right = torch.randn(size, size, device=device)
    times = []
    for _ in range(repeats):
        start = _now(device)
        torch.mm(left, right)
        times.append(_now(device) - start)
    return 2 * 1024 * size**2 / statistics.median(times)


def measure(dimensions: int, steps: int, device: torch.device) -> dict[str, float]:
    """Median seconds of a step, and peak memory beyond model and data, in MB."""
    settings = FilterSettings(
        lambda_mle=1.0,
        lambda_bal=2.0,
        lambda_pure=0.03,
        num_clusters=CLUSTERS,
        sigma=0.05,
        eta=0.7,
        weight_exponent=2.0,
        lr=0.1,
        batch_size=BATCH,
        epochs=1,
    )
    generator = torch.Generator().manual_seed(0)
    flow = FlowFilter(dimensions, CLUSTERS, settings.sigma, generator).to(device)
    optimiser = torch.optim.SGD(flow.parameters(), lr=settings.lr)
    positive, negative = torch.randn(2, BATCH, dimensions, device=device)
    weights = torch.full((BATCH,), 1 / 365, device=device)
    scale = torch.tensor([1.0, 2.0, 0.03], device=device)
    share = torch.zeros(CLUSTERS, device=device)
    before = _memory(device)
    times = []
    for step in range(1, steps + 1):
        start = _now(device)
        terms, share = objective_terms(
            flow, positive, negative, weights, share, step, settings
        )
        optimiser.zero_grad(set_to_none=True)
        (terms @ scale).backward()
        optimiser.step()
        times.append(_now(device) - start)
    return {
        "seconds": statistics.median(times[2:]),
        "memory_mb": _memory(device) - before,
        "parameters_mb": sum(p.numel() * 4 for p in flow.parameters()) / 2**20,
        "rate": product_rate(device),
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure every size in a process of its own and write the table."""
    parser = argparse.ArgumentParser(description="Flow Filter step: time and memory")
    parser.add_argument("--dimensions", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    if arguments.dimensions:
        print(json.dumps(measure(arguments.dimensions, arguments.steps, device)))
        return
    rows = []
    for dimensions in SIZES:
        command = [sys.executable, "-m", "bench.flow_filter"]
        command += ["--dimensions", str(dimensions), "--steps", str(arguments.steps)]
        command += ["--device", arguments.device]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        floor = step_flops(dimensions, CLUSTERS, BATCH) / found["rate"]
        rows.append(
            [
                str(dimensions),
                f"{1e3 * found['seconds']:.0f}",
                f"{1e3 * floor:.0f}",
                f"{100 * floor / found['seconds']:.0f}",
                f"{found['memory_mb']:.0f}",
                f"{found['parameters_mb']:.1f}",
            ]
        )
        print(rows[-1], flush=True)
    header = ["D", "Step, ms", "Dense products alone, ms", "Products / step, %"]
    header += ["Memory beyond model and data, MB", "Parameters, MB"]
    stamp = datetime.now(UTC).strftime("%Y-%m-%d")
    write_text(
        REPORT,
        "# One Flow Filter step\n\n"
        f"K = {CLUSTERS}, a pair of batches of {BATCH}: forward, backward, update. "
        f"{device_name(device)}; PyTorch {torch.__version__}, Python "
        f"{platform.python_version()}; {stamp}; `make bench`.\n\n"
        f"{markdown_table(header, rows)}\n\n"
        "Dense products alone: the time of the same products, masks ignored, at the "
        "rate measured on this machine. A share above 100 % means that leaving out the "
        "masked half gains more than everything else costs.\n",
    )


if __name__ == "__main__":
    main()
