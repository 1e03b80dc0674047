"""Fig. 2's experiment on one benchmark: every p, boundary and seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.classifiers.loading import read_splits
from replication.core.device import pick_device
from replication.core.files import read_about, read_arrays, read_json, write_arrays
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.settings import Fig2Settings
from replication.core.stage import OUTPUTS, Stage
from replication.images.batches import read_split, worker_count
from replication.samples.features import Samples
from replication.sections.separation.experiment import (
    GROUPS,
    LinearClassifiers,
    Networks,
    accuracy_cells,
    fits_of,
    head_classes,
    larger_p_claims,
    route_splits,
    step_cells,
)
from replication.statistics.results import Measurement, without_names

SPLITS = ("train", "test")
Classifiers = Networks | LinearClassifiers


@dataclass(frozen=True)
class Fit:
    """Both groups' classifiers at one p under one seed, and the file that keeps them.

    Fields: `head` (C,) bool, the head classes.
    """

    classifiers: Classifiers
    head: np.ndarray
    boundary: str
    p: float
    seed: int
    file: Path

    def make(self, labels: Mapping[str, torch.Tensor], tell: Tell) -> None:
        """Route the samples, fit both classifiers, write what they predict."""
        head = torch.from_numpy(self.head)
        routed = route_splits(
            labels["train"], labels["test"], head, self.p, self.seed, self.boundary
        )
        answers = self.classifiers.predict(routed, self.seed, tell)
        sizes = torch.bincount(routed.train, minlength=len(GROUPS)).tolist()
        about = {"losses": answers.losses, "sizes": sizes}
        write_arrays(self.file, {"predictions": answers.predictions.numpy()}, about)


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Fit every group's classifiers; accuracies over p, and what is said of them."""
    settings = stage.settings.fig2(benchmark)
    seeds = stage.settings.seeds()
    device = stage.uses(pick_device(stage.settings.device()))
    folder = OUTPUTS / benchmark
    data = read_json(stage.reads(folder / "data" / "summary.json"))
    counts = np.array(data["class_counts"])
    heads = {name: head_classes(counts, name) for name in settings.boundaries}
    splits = read_splits(stage, folder / "paco" / "features", SPLITS, device)
    labels = {split: splits[split].labels.cpu() for split in SPLITS}
    variants, keys = _variants(stage, benchmark, settings, splits, data["classes"])
    resume = stage.resume_folder(settings, device.type, *keys)
    fits = {
        (variant, boundary, p): [
            Fit(classifiers, heads[boundary], boundary, p, seed, file)
            for seed, file in _files(resume, variant, boundary, p, settings, seeds)
        ]
        for variant, classifiers in variants.items()
        for boundary in _boundaries(variant, settings)
        for p in sorted(set(settings.probabilities))
    }
    _make(stage, fits, labels, device)
    predictions = {
        curve: np.stack([read_arrays(fit.file)["predictions"] for fit in some])
        for curve, some in fits.items()
    }
    trained = fits_of(
        {curve: [read_about(fit.file) for fit in some] for curve, some in fits.items()}
    )
    answers = labels["test"].numpy()
    steps = step_cells(predictions, answers, data)
    values = accuracy_cells(predictions, answers, counts, heads, data)
    return Measurement(
        section="separation",
        benchmark=benchmark,
        cells=(*values, *steps),
        claims=tuple(larger_p_claims(predictions, answers, steps, trained, data)),
        data=without_names(data),
        about=stage.about(folder / "paco" / "features"),
        details={
            "variants": list(variants),
            "probabilities": sorted(set(settings.probabilities)),
            "boundaries": [_sizes(name, heads[name], counts) for name in heads],
            "fits": trained,
            "seeds": list(seeds),
            "settings": settings.model_dump(),
        },
    )


def _variants(
    stage: Stage,
    benchmark: str,
    settings: Fig2Settings,
    splits: Mapping[str, Samples],
    num_classes: int,
) -> tuple[dict[str, Classifiers], list[Any]]:
    """The kinds of classifiers, the paper's first; and what networks depend on."""
    train, test = (splits[split] for split in SPLITS)
    linear = LinearClassifiers(train, test, num_classes, settings)
    if settings.inputs == "features":
        return {"linear": linear}, []
    index = stage.reads(OUTPUTS / benchmark / "data" / "index.csv")
    root = stage.settings.images_root(benchmark)
    view = stage.settings.backbone(benchmark)
    networks = Networks(
        *(read_split(index.parent, split, root) for split in SPLITS),
        num_classes,
        settings,
        view,
        train.labels.device,
        worker_count(stage.settings.workers()),
    )
    return {"images": networks, "linear": linear}, [view]


def _boundaries(variant: str, settings: Fig2Settings) -> list[str]:
    """Where head classes end; networks are trained for the first reading alone."""
    return settings.boundaries[:1] if variant == "images" else settings.boundaries


def _files(
    resume: Path,
    variant: str,
    boundary: str,
    p: float,
    settings: Fig2Settings,
    seeds: tuple[int, ...],
) -> list[tuple[int, Path]]:
    """A file a seed. At p = 0.5 coins ignore the class: one serves every boundary."""
    drawn_by = boundary if p > 0.5 else settings.boundaries[0]
    return [
        (seed, resume / f"{variant}-{drawn_by}-{p}-{seed}.safetensors")
        for seed in seeds
    ]


def _make(
    stage: Stage,
    fits: Mapping[Any, list[Fit]],
    labels: Mapping[str, torch.Tensor],
    device: torch.device,
) -> None:
    """Make the fits that no run before this one left."""
    needed = {fit.file: fit for some in fits.values() for fit in some}
    pieces = [
        partial(fit.make, labels) for file, fit in needed.items() if not file.is_file()
    ]
    with progress(stage.name) as tell:
        run_pieces(pieces, len(needed), device, tell)


def _sizes(name: str, head: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """How much of a benchmark is head; `share`: of the images."""
    images = int(counts[head].sum())
    return {
        "name": name,
        "head_classes": int(head.sum()),
        "tail_classes": int((~head).sum()),
        "head_images": images,
        "tail_images": int(counts[~head].sum()),
        "share": images / int(counts.sum()),
    }
