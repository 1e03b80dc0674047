"""Fig. 2's experiment on one benchmark: every p, boundary and seed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.classifiers.loading import read_splits
from replication.core.files import read_about, read_arrays, write_arrays
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.settings import Fig2Settings
from replication.core.stage import OUTPUTS, Stage
from replication.images.batches import read_split, worker_count
from replication.samples.features import Samples
from replication.sections.basis import read_basis, read_data
from replication.sections.separation.experiment import (
    LinearClassifiers,
    Networks,
    accuracy_cells,
    fits_of,
    head_classes,
    larger_p_claims,
    predict,
    route_splits,
    step_cells,
)
from replication.statistics.results import Measurement

SPLITS = ("train", "test")
Classifiers = Networks | LinearClassifiers


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Fit every group's classifiers; accuracies over p, and what is said of them."""
    settings = stage.settings.fig2(benchmark)
    device = stage.uses()
    counts = np.array(read_data(stage, benchmark)["class_counts"])
    heads = {name: head_classes(counts, name) for name in settings.boundaries}
    features = OUTPUTS / benchmark / "paco" / "features"
    splits = read_splits(stage, features, SPLITS, device)
    variants, keys = _variants(stage, benchmark, settings, splits, len(counts))
    files = _fitted(stage, settings, variants, heads, keys)
    predictions = {
        curve: np.stack([read_arrays(file)["predictions"] for file in some])
        for curve, some in files.items()
    }
    losses = {
        curve: np.array([read_about(file)["losses"] for file in some])
        for curve, some in files.items()
    }
    recipe = stage.settings.recipe(benchmark)
    basis = read_basis(stage, "separation", benchmark, "paco/features", recipe=recipe)
    labels, fits = splits["test"].labels.cpu().numpy(), fits_of(losses)
    steps = step_cells(predictions, labels, basis)
    return basis.measured(
        [*accuracy_cells(predictions, labels, heads, basis), *steps],
        larger_p_claims(predictions, labels, steps, fits, basis),
        {
            "variants": list(variants),
            "probabilities": sorted(set(settings.probabilities)),
            "boundaries": _boundaries(heads, counts),
            "fits": fits,
            "seeds": list(stage.settings.seeds()),
        },
    )


def _fitted(
    stage: Stage,
    settings: Fig2Settings,
    variants: Mapping[str, Classifiers],
    heads: Mapping[str, np.ndarray],
    keys: Sequence[Any],
) -> dict[tuple[str, str, float], list[Path]]:
    """Variant, boundary and p -> a file a seed; what an earlier run left is kept."""
    resume = stage.resume_folder(settings, stage.device.type, *keys)
    files: dict[tuple[str, str, float], list[Path]] = {}
    pieces: dict[Path, Callable[[Tell], None]] = {}
    for variant, boundary, p, drawn_by in _curves(settings, variants):
        head = torch.from_numpy(heads[drawn_by])
        for seed in stage.settings.seeds():
            file = resume / f"{variant}-{drawn_by}-{p}-{seed}.safetensors"
            files.setdefault((variant, boundary, p), []).append(file)
            how = (variants[variant], head, p, seed, drawn_by)
            pieces[file] = partial(_fit, file, *how)
    dimensions = None
    if "images" not in variants:
        dimensions = variants["linear"].train.features.shape[1]
    with progress(stage.name) as tell:
        run_pieces(pieces, dimensions, stage.device, tell)
    return files


def _curves(
    settings: Fig2Settings, variants: Iterable[str]
) -> Iterator[tuple[str, str, float, str]]:
    """Variant, boundary, p, and the boundary by which the samples are sent apart.

    Networks are trained for the first reading of "head" alone. At p = 0.5 coins ignore
    the class: one fit serves every boundary.
    """
    for variant in variants:
        named = settings.boundaries[:1] if variant == "images" else settings.boundaries
        for boundary, p in product(named, sorted(set(settings.probabilities))):
            yield variant, boundary, p, boundary if p > 0.5 else settings.boundaries[0]


def _boundaries(
    heads: Mapping[str, np.ndarray], counts: np.ndarray
) -> list[dict[str, Any]]:
    """Each reading of "head": its classes, and their share of the training images."""
    return [
        {
            "name": name,
            "head_classes": int(head.sum()),
            "classes": len(counts),
            "share": int(counts[head].sum()) / int(counts.sum()),
        }
        for name, head in heads.items()
    ]


def _fit(
    file: Path,
    classifiers: Classifiers,
    head: torch.Tensor,
    p: float,
    seed: int,
    boundary: str,
    tell: Tell,
) -> None:
    """Route the samples, fit both groups' classifiers, write what they predict."""
    # Of images, or of features, of which each image may have several.
    labels = (part.labels.cpu() for part in (classifiers.train, classifiers.test))
    groups = route_splits(*labels, head, p, seed, boundary)
    predictions, losses = predict(classifiers, *groups, seed, tell)
    write_arrays(file, {"predictions": predictions.numpy()}, {"losses": losses})


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
