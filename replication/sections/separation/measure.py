"""separation: Fig. 2's experiment on one benchmark, every p, boundary and seed."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from replication.classifiers.loading import read_splits
from replication.core.device import pick_device
from replication.core.files import (
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.settings import Fig2Settings
from replication.core.stage import OUTPUTS, Stage, run
from replication.images.batches import read_split, worker_count
from replication.sections.separation.experiment import (
    GROUPS,
    Predicted,
    Routed,
    head_classes,
    image_predictions,
    linear_predictions,
    route_splits,
    separation_claims,
    separation_records,
)

Predict = Callable[[Routed, int, Tell], Predicted]
SPLITS = ("train", "test")


class Run(NamedTuple):
    """One repetition of the experiment, and the file that keeps it."""

    boundary: str
    p: float
    seed: int
    file: Path


_BEHIND = ("prepare", "backbone_paco", "features_paco")


def main(stage: Stage, benchmark: str) -> None:
    """Write separation.json: records, claims, and what they were measured with."""
    settings = stage.settings.fig2(benchmark)
    seeds = stage.settings.seeds()
    device = stage.uses(pick_device(stage.settings.device()))
    folder = OUTPUTS / benchmark
    data = read_json(stage.reads(folder / "data" / "summary.json"))
    counts = np.array(data["class_counts"])
    heads = {name: head_classes(counts, name) for name in settings.boundaries}
    splits = read_splits(stage, folder / "paco" / "features", SPLITS, device)
    labels = {split: splits[split].labels.cpu() for split in SPLITS}
    predict: dict[str, Predict] = {}
    keys: list[Any] = [settings, device.type]
    if settings.inputs == "images":
        index = stage.reads(folder / "data" / "index.csv")
        root = stage.settings.images_root(benchmark)
        view = stage.settings.backbone(benchmark)
        workers = worker_count(stage.settings.workers())
        images = [read_split(index.parent, split, root) for split in SPLITS]
        keys.append(view)

        def of_images(routed: Routed, seed: int, tell: Tell) -> Predicted:
            return image_predictions(
                *images,
                routed,
                data["classes"],
                settings,
                view,
                device,
                workers,
                seed,
                tell,
            )

        predict["images"] = of_images

    train, test = (splits[split] for split in SPLITS)

    def of_features(routed: Routed, seed: int, tell: Tell) -> Predicted:
        on_device = Routed(routed.train.to(device), routed.test.to(device))
        classes = data["classes"]
        return linear_predictions(
            train.features,
            train.labels,
            test.features,
            on_device,
            classes,
            settings,
            seed,
        )

    predict["linear"] = of_features
    resume = stage.resume_folder(*keys)
    runs = {variant: _runs(variant, settings, seeds, resume) for variant in predict}
    # At p = 0.5 one file serves every boundary.
    needed = {
        run.file: partial(_one_run, predict[variant], run, labels, heads)
        for variant, some in runs.items()
        for run in some
    }
    pieces = [piece for file, piece in needed.items() if not file.is_file()]
    with progress(stage.name) as tell:
        run_pieces(pieces, len(needed), device, tell)
    done = {variant: _files(some) for variant, some in runs.items()}
    found = {
        (variant, boundary, p): np.stack(
            [read_arrays(file)["predictions"] for file in files]
        )
        for variant, runs in done.items()
        for (boundary, p), files in runs.items()
    }
    test_labels = labels["test"].numpy()
    write_json(
        OUTPUTS / "tables" / benchmark / "separation.json",
        {
            "benchmark": benchmark,
            "runs": stage.behind(*(f"{name}@{benchmark}" for name in _BEHIND)),
            "data": {key: data[key] for key in data if key != "class_names"},
            "records": separation_records(found, test_labels, counts, heads),
            "claims": separation_claims(found, test_labels),
            "fits": [
                fit
                for variant, runs in done.items()
                for (boundary, p), files in runs.items()
                for fit in _fits(variant, boundary, p, files)
            ],
            "seeds": list(seeds),
            "settings": _settings(stage, benchmark, settings),
            "boundaries": {
                name: {
                    "head_classes": int(head.sum()),
                    "tail_classes": int((~head).sum()),
                    "head_images": int(counts[head].sum()),
                    "tail_images": int(counts[~head].sum()),
                }
                for name, head in heads.items()
            },
        },
    )
    stage.notes(fig2=settings.model_dump())
    stage.finish()


def _runs(
    variant: str, settings: Fig2Settings, seeds: tuple[int, ...], resume: Path
) -> list[Run]:
    """Every boundary, p and seed of one variant.

    At p = 0.5 the coins do not look at the class: one run serves every boundary.
    """
    shown = settings.boundaries[:1] if variant == "images" else settings.boundaries
    runs = []
    for boundary in shown:
        for p in sorted(set(settings.probabilities)):
            drawn_by = boundary if p > 0.5 else shown[0]
            for seed in seeds:
                file = resume / f"{variant}-{drawn_by}-{p}-{seed}.safetensors"
                runs.append(Run(boundary, p, seed, file))
    return runs


def _one_run(
    predict: Predict,
    run: Run,
    labels: Mapping[str, torch.Tensor],
    heads: Mapping[str, np.ndarray],
    tell: Tell,
) -> None:
    """Route the samples, fit both groups' classifiers, keep what they predict."""
    routed = route_splits(
        labels["train"],
        labels["test"],
        torch.from_numpy(heads[run.boundary]),
        run.p,
        run.seed,
        run.boundary,
    )
    found = predict(routed, run.seed, tell)
    sizes = torch.bincount(routed.train, minlength=len(GROUPS)).tolist()
    about = {"losses": found.losses, "sizes": sizes}
    write_arrays(run.file, {"predictions": found.predictions.numpy()}, about)


def _files(runs: list[Run]) -> dict[tuple[str, float], list[Path]]:
    """(boundary, p) -> a file a seed."""
    files: dict[tuple[str, float], list[Path]] = {}
    for boundary, p, _, file in runs:
        files.setdefault((boundary, p), []).append(file)
    return files


def _fits(
    variant: str, boundary: str, p: float, files: list[Path]
) -> list[dict[str, Any]]:
    """How far each group's classifier came; means over seeds.

    Returns:
        `loss`: mean training loss of the last epoch, nats; `fell`: by which share it
        fell over the last fifth of the epochs; `images` of the group.
    """
    abouts = [read_about(file) for file in files]
    fits = []
    for group in GROUPS:
        losses = np.array([about["losses"][group] for about in abouts])
        fifth = max(losses.shape[1] // 5, 1)
        fell = np.nan  # of a single epoch nothing can be said
        if losses.shape[1] > 1:
            fell = float(np.mean(1 - losses[:, -1] / losses[:, -1 - fifth]))
        fits.append(
            {
                "variant": variant,
                "boundary": boundary,
                "p": p,
                "group": group,
                "images": float(np.mean([about["sizes"][group] for about in abouts])),
                "loss": float(losses[:, -1].mean()),
                "fell": fell,
            }
        )
    return fits


def _settings(
    stage: Stage, benchmark: str, settings: Fig2Settings
) -> dict[str, dict[str, Any]]:
    """Each setting with its value in use, what is published, and where that stands."""
    names = tuple(Fig2Settings.model_fields)
    chosen = stage.settings.choices(benchmark, "fig2", names)
    return {
        name: {
            "value": getattr(settings, name),
            "published": choice.published,
            "source": choice.source,
            "origin": choice.origin,
        }
        for name, choice in chosen.items()
    }


if __name__ == "__main__":
    run(main, lambda benchmark: f"separation@{benchmark}")
