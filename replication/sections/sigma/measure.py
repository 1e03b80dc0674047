"""sigma: the selection of Sect. 3 on one benchmark, every sigma and seed."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from replication.classifiers.loading import head_of, read_splits
from replication.core.device import pick_device
from replication.core.files import (
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.stage import OUTPUTS, Stage, run
from replication.samples.predictions import predictions_table
from replication.sections.sigma.experiment import (
    DECIDED,
    PRINTED_DIMENSIONS,
    RESNET_DIMENSIONS,
    SPLITS,
    Tried,
    best_sigma,
    measure_distances,
    readings,
    sigma_claims,
    sweep_records,
    sweep_sigmas,
    try_sigma,
)

_BEHIND = ("prepare", "backbone_paco", "features_paco", "heads_paco")


def main(stage: Stage, benchmark: str) -> None:
    """Write sigma.json, and the test predictions of each sigma."""
    filter_settings = stage.settings.filter(benchmark)
    cascade = stage.settings.cascade(benchmark)
    classifier = stage.settings.classifier(benchmark)
    published = stage.settings.choices(benchmark, "filter", ("sigma",))["sigma"]
    sweep, seeds = stage.settings.sweep(), stage.settings.seeds()
    folder = OUTPUTS / benchmark / "paco"
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    splits = read_splits(stage, folder / "features", SPLITS, device)
    heads = read_arrays(stage.reads(folder / "heads" / "start.safetensors"))
    dimensions = splits["train"].features.shape[1]
    reasons = sweep_sigmas(
        sweep.sigmas, published.published, filter_settings.sigma, dimensions
    )
    # A file is named by its sigma and seed: with other sigmas, those there still serve.
    common = filter_settings.model_dump(exclude={"sigma"})
    resume = stage.resume_folder(common, cascade, classifier, device.type)
    tried: dict[float, dict[int, Tried]] = {sigma: {} for sigma in reasons}
    done = {
        (sigma, seed): resume / f"sigma-{sigma:g}-seed-{seed}.safetensors"
        for sigma in reasons
        for seed in seeds
    }

    def one(number: int, sigma: float, seed: int, file: Path, tell: Tell) -> None:
        found = try_sigma(
            splits,
            data["classes"],
            head_of(heads, device, seed),
            (filter_settings, cascade, classifier),
            sigma,
            seed,
        )
        write_arrays(file, found.predictions, found.record)
        tell(number, len(done), {"sigma": sigma, "seed": seed})

    pieces = [
        partial(one, number, *which, file)
        for number, (which, file) in enumerate(done.items())
        if not file.is_file()
    ]
    with progress(stage.name) as tell:
        run_pieces(pieces, len(done), device, tell)
    for (sigma, seed), file in done.items():
        tried[sigma][seed] = Tried(read_about(file), read_arrays(file))
    labels = {split: splits[split].labels.cpu().numpy() for split in DECIDED}
    for sigma, of_seed in tried.items():
        write_table(
            folder / "sigma" / f"{sigma:g}.predictions.safetensors",
            predictions_table(
                labels["test"],
                {
                    (seed, "paper"): one.predictions["test"]
                    for seed, one in of_seed.items()
                },
            ),
        )
    counts = np.array(data["class_counts"])
    reference = next(sigma for sigma, why in reasons.items() if "published" in why)
    records = sweep_records(tried, labels, counts, reference, reasons)
    distances = measure_distances(
        dimensions,
        list(reasons),
        sweep.draws,
        torch.Generator().manual_seed(seeds[0]),
    )
    at = sorted({PRINTED_DIMENSIONS, RESNET_DIMENSIONS, dimensions})
    write_json(
        OUTPUTS / "tables" / benchmark / "sigma.json",
        {
            "benchmark": benchmark,
            "runs": stage.behind(*(f"{name}@{benchmark}" for name in _BEHIND)),
            "data": {key: data[key] for key in data if key != "class_names"},
            "readings": readings(at, reference),
            "distances": distances,
            "sweep": records,
            "best": best_sigma(tried, labels, counts),
            "claims": sigma_claims(
                records, distances, reference, np.random.default_rng(seeds[0])
            ),
            "settings": {
                "published": reference,
                "used": filter_settings.sigma,
                "dimensions": dimensions,
                "seeds": list(seeds),
                "filter": filter_settings.model_dump(),
                "cascade": cascade.model_dump(),
                "classifier": classifier.model_dump(),
                "sweep": sweep.model_dump(),
            },
        },
    )
    stage.notes(sweep=sweep.model_dump(), sigmas=list(reasons))
    stage.finish()


if __name__ == "__main__":
    run(main, lambda benchmark: f"sigma@{benchmark}")
