"""The selection of sigma (Sect. 3) on one benchmark, every sigma and seed."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from replication.classifiers.heads import Term
from replication.classifiers.loading import head_of, read_splits
from replication.core.files import read_about, read_arrays, write_arrays, write_table
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.scaling import Size
from replication.core.stage import OUTPUTS, Stage
from replication.protocols import VALIDATED
from replication.samples.predictions import predictions_table
from replication.sections.basis import read_basis, read_data
from replication.sections.sigma.experiment import (
    PRINTED_DIMENSIONS,
    RESNET_DIMENSIONS,
    SPLITS,
    Sweep,
    Swept,
    Tried,
    eq5_ratios,
    reading_cells,
    sweep_claims,
    sweep_sigmas,
    theory_claims,
)
from replication.statistics.results import Measurement

Attempts = dict[float, dict[int, Tried]]


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Try every sigma under every seed; write the test predictions of each."""
    settings, seeds = stage.settings.sweep(), stage.settings.seeds()
    folder = OUTPUTS / benchmark / "paco"
    device = stage.uses()
    data = read_data(stage, benchmark)
    splits = read_splits(stage, folder / "features", SPLITS, device)
    arrays = read_arrays(stage.reads(folder / "heads" / "start.safetensors"))
    dimensions = splits["train"].features.shape[1]
    size = Size(sum(data["class_counts"]), dimensions)
    chosen = stage.settings.choices(benchmark, "filter", ("sigma",), size=size)
    choice = chosen["sigma"]
    sweep = Sweep(
        splits,
        data["classes"],
        stage.settings.filter(benchmark, size),
        stage.settings.cascade(benchmark),
        stage.settings.classifier(benchmark, size),
    )
    reasons = sweep_sigmas(settings.sigmas, choice.published, choice.value, dimensions)
    sigmas = list(reasons)
    heads = {seed: head_of(arrays, device, seed) for seed in seeds}
    tried = _attempts(stage, sweep, sigmas, heads)
    labels = {split: splits[split].labels.cpu().numpy() for split in ("val", "test")}
    _write_predictions(stage.makes(folder / "sigma"), tried, labels["test"])
    # What print has at its own dimensions is, scaled, another number at these.
    role = "used" if choice.origin == "scaled" else "published"
    compared = next(sigma for sigma, why in reasons.items() if role in why)
    recipe = stage.settings.recipe(benchmark)
    basis = read_basis(stage, "sigma", benchmark, "paco/heads", recipe=recipe)
    swept = Swept(tried, labels, compared, basis)
    filters, differences = swept.filter_cells(), swept.difference_cells()
    generator = torch.Generator().manual_seed(seeds[0])
    ratios = eq5_ratios(dimensions, sigmas, settings.draws, generator)
    sizes = sorted({PRINTED_DIMENSIONS, RESNET_DIMENSIONS, dimensions})
    best, chance = (choice.published, compared), np.random.default_rng(seeds[0])
    return basis.measured(
        [
            *reading_cells(sizes, choice.published),
            *filters,
            *swept.accuracy_cells(),
            *differences,
        ],
        [
            *theory_claims(ratios),
            *sweep_claims(filters, differences, best, basis, chance),
        ],
        {
            "sweep": [{"sigma": sigma, "why": why} for sigma, why in reasons.items()],
            "draws": settings.draws,
            "best": swept.best(),
            "published": choice.published,
            "compared": compared,
            "dimensions": dimensions,
            "readings_at": sizes,
            "seeds": list(seeds),
            "clusters": sweep.filter_settings.num_clusters,
        },
    )


def _attempts(
    stage: Stage, sweep: Sweep, sigmas: list[float], heads: Mapping[int, Term]
) -> Attempts:
    """Try every sigma under every seed, but for what a run before this one left.

    A file is named by its sigma and seed: with other sigmas, those there still serve.
    """
    common = sweep.filter_settings.model_dump(exclude={"sigma"})
    device = sweep.splits["train"].labels.device
    resume = stage.resume_folder(common, sweep.cascade, sweep.classifier, device.type)
    files = {
        (sigma, seed): resume / f"sigma-{sigma:g}-seed-{seed}.safetensors"
        for sigma in sigmas
        for seed in heads
    }

    def make(number: int, sigma: float, seed: int, file: Path, tell: Tell) -> None:
        attempt = sweep.attempt(sigma, heads[seed], seed)
        write_arrays(file, attempt.predictions, attempt.numbers)
        tell(number, len(files), {"sigma": sigma, "seed": seed})

    pieces = {
        file: partial(make, number, *which, file)
        for number, (which, file) in enumerate(files.items())
    }
    with progress(stage.name) as tell:
        dimensions = sweep.splits["train"].features.shape[1]
        run_pieces(pieces, dimensions, device, tell)
    return {
        sigma: {
            seed: Tried(read_about(files[sigma, seed]), read_arrays(files[sigma, seed]))
            for seed in heads
        }
        for sigma in sigmas
    }


def _write_predictions(folder: Path, tried: Attempts, labels: np.ndarray) -> None:
    """A table a sigma, of the test samples."""
    for sigma, seeds in tried.items():
        predictions = {
            (seed, VALIDATED.key): attempt.predictions["test"]
            for seed, attempt in seeds.items()
        }
        table = predictions_table(labels, predictions)
        write_table(folder / f"{sigma:g}.predictions.safetensors", table)
