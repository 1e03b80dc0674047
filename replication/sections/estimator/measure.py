"""Sect. 2 on one benchmark: its equations by simulation, its premise in real fits."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from replication.classifiers.loading import read_splits
from replication.core.files import read_json, write_json
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.scaling import Size
from replication.core.stage import OUTPUTS, Stage
from replication.samples.features import Samples
from replication.sections.basis import read_basis, read_data
from replication.sections.estimator.experiment import (
    POPULATION,
    TRUTH_BATCHES,
    equality_claims,
    fit_cells,
    fit_claims,
    fit_curves,
    identity_errors,
    order_claims,
    population,
    probe_fit,
    recursion_errors,
    simulate,
    simulation_cells,
)
from replication.statistics.results import Measurement


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Simulate the equations, and probe a fit of every seed."""
    settings = stage.settings.estimator()
    seeds = stage.settings.seeds()
    device = stage.uses()
    data = read_data(stage, benchmark)
    features = OUTPUTS / benchmark / "paco" / "features"
    train = read_splits(stage, features, ("train",), device)["train"]
    size = Size(sum(data["class_counts"]), train.features.shape[1])
    filter_settings = stage.settings.filter(benchmark, size)
    etas = sorted({*settings.etas, filter_settings.eta})
    generator = torch.Generator().manual_seed(settings.seed)
    clusters, last = settings.clusters, max(settings.steps)
    sizes = sorted({2, clusters, filter_settings.num_clusters})
    identity = identity_errors(sizes, generator)
    recursion = recursion_errors(etas, last, clusters, generator)
    simulated = simulate(
        population(POPULATION, clusters, generator),
        etas,
        settings.steps,
        settings.batch_size,
        settings.draws,
        generator,
    )
    probes = _probes(stage, train, filter_settings, settings.probes, seeds)
    recipe = stage.settings.recipe(benchmark)
    basis = read_basis(stage, "estimator", benchmark, "paco/features", recipe=recipe)
    return basis.measured(
        [*simulation_cells(simulated), *fit_cells(probes, basis)],
        [
            *equality_claims(identity, recursion, simulated),
            *order_claims(simulated, etas, last),
            *fit_claims(probes, basis),
        ],
        {
            "curves": fit_curves(probes),
            "truth_batches": TRUTH_BATCHES,
            "settings": {
                "estimator": settings.model_dump() | {"etas": etas},
                "filter": filter_settings.model_dump(),
                "seeds": list(seeds),
            },
        },
    )


def _probes(
    stage: Stage, train: Samples, settings: Any, probes: int, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Probe a fit of every seed, but for those that a run before this one left."""
    resume = stage.resume_folder(settings, probes, train.labels.device.type)
    files = {seed: resume / f"seed-{seed}.json" for seed in seeds}

    def make(number: int, seed: int, file: Path, tell: Tell) -> None:
        def told(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            done = {"L_bal": metrics["loss_bal"]}
            tell(number * epochs + epoch, len(seeds) * epochs, done)

        made = probe_fit(train.features, train.labels, settings, probes, seed, told)
        write_json(file, made)

    pieces = {
        file: partial(make, number, seed, file)
        for number, (seed, file) in enumerate(files.items())
    }
    with progress(stage.name) as tell:
        dimensions, device = train.features.shape[1], train.labels.device
        run_pieces(pieces, dimensions, device, tell)
    return [record for file in files.values() for record in read_json(file)]
