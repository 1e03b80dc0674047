"""Memory and time of one cluster-aided classifier at iNaturalist 2018's size.

    python -m bench.cluster_aided        (`make bench`)

Synthetic: the 30 % of iNaturalist 2018's training images that leave the first filter,
N = 131,000 samples of D = 2048 and C = 8142 classes in K = 500 clusters. The classifier
is built and fitted by the cascade's own functions, for a number of its steps. Memory is
what the process needs beyond the features: latents, the three maps, a best epoch's copy
and batches. Each protocol runs in a process of its own, so that its peak is its own.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from replication import cascade
from replication.cascade import PROTOCOLS, Level, Samples
from replication.classifiers.heads import Rows, Term, log_prior
from replication.classifiers.stacks import Stack
from replication.core.files import write_text
from replication.core.stage import device_name
from replication.flow_filter.fitting import Fitted
from replication.flow_filter.flow import FlowFilter
from replication.reporting.tables import markdown_table

SAMPLES, DIMENSIONS, CLASSES, CLUSTERS, BATCH = 131_000, 2048, 8142, 500, 128
REPORT = Path(__file__).parent / "cluster_aided.md"


def measure(protocol: str, steps: int) -> dict[str, float]:
    """Peak memory beyond the features, MB, and seconds a step."""
    generator = torch.Generator().manual_seed(0)
    train = Samples(
        torch.rand(SAMPLES, DIMENSIONS, generator=generator),
        torch.randint(CLASSES, (SAMPLES,), generator=generator),
    )
    flow = FlowFilter(DIMENSIONS, CLUSTERS, 0.05, generator)
    everyone = torch.arange(SAMPLES)
    level = Level(
        fitted=Fitted(flow, 1, []),
        threshold=0.0,
        remain={"train": everyone},
        leave={"train": torch.ones(SAMPLES, dtype=torch.bool)},
        cluster={"train": torch.randint(CLUSTERS, (SAMPLES,), generator=generator)},
    )
    before = _peak_mb()
    with torch.no_grad():
        table = cascade.cluster_frequencies(level, train, CLASSES, protocol)
        inputs = cascade.aided_inputs(level, train, everyone, "train", table, protocol)
        head = Term(torch.zeros(CLASSES, DIMENSIONS), torch.zeros(CLASSES))
        terms = [
            head.clone(),
            *cascade.drawn_terms(inputs[1:], CLASSES, generator, head),
        ]
        prior = log_prior(train.labels.bincount(minlength=CLASSES))
        stack = Stack.of([terms], [inputs], [train.labels], [prior])
        start = time.perf_counter()
        for samples in everyone[: steps * BATCH].split(BATCH):
            stack.step(samples[None], 1e-4)
        seconds = (time.perf_counter() - start) / steps
        best = [term.clone() for term in stack.head(0)]  # as where epochs are chosen
    assert len(best) == len(inputs) and isinstance(inputs[0], Rows)
    return {"mb": _peak_mb() - before, "seconds": seconds}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def page(found: dict[str, dict[str, float]]) -> str:
    """The report of `make bench`."""
    rows = [
        [protocol, f"{one['mb']:,.0f}", f"{1000 * one['seconds']:,.0f}"]
        for protocol, one in found.items()
    ]
    header = ["Protocol", "Memory beyond the features, MB", "A step, ms"]
    features = SAMPLES * DIMENSIONS * 4 / 2**20
    return (
        "# The cluster-aided classifier at iNaturalist 2018's size\n\n"
        f"N = {SAMPLES:,}, D = {DIMENSIONS:,}, C = {CLASSES:,}, K = {CLUSTERS}, batch "
        f"{BATCH}; the features themselves are {features:,.0f} MB. "
        f"{device_name(torch.device('cpu'))}, PyTorch {torch.__version__}, Python "
        f"{platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}. "
        f"`python -m bench.cluster_aided`\n\n{markdown_table(header, rows)}\n"
    )


def main() -> None:
    """Measure each protocol in a process of its own, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--protocol", choices=PROTOCOLS)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.protocol:
        print(json.dumps(measure(arguments.protocol, arguments.steps)))
        return
    found = {}
    for protocol in PROTOCOLS:
        command = [sys.executable, "-m", "bench.cluster_aided", "--protocol", protocol]
        command += ["--steps", str(arguments.steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[protocol] = json.loads(done.stdout)
    write_text(REPORT, page(found))
    print(page(found))


if __name__ == "__main__":
    main()
