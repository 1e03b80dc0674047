"""features: every split as features (N, D), extracted here or imported."""

from pathlib import Path

import numpy as np
import torch

from replication.backbones.extraction import extract_features
from replication.backbones.networks import build_network
from replication.data.features import import_features
from replication.data.images import read_split, worker_count
from replication.data.sources import SPLITS
from replication.files import read_about, read_arrays, write_arrays
from replication.settings import BackboneSettings
from replication.stages.running import OUTPUTS, Stage, pick_device, run


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write features.safetensors of every split, and the features' own head if any."""
    settings = stage.settings.backbone(benchmark, objective)
    machine = stage.settings.machine()
    folder = OUTPUTS / benchmark / objective / "features"
    imported = stage.settings.features(benchmark)
    root = stage.settings.images_root(benchmark)
    stage.reads(OUTPUTS / benchmark / "data" / "index.csv")
    if imported is not None:
        _import(stage, imported, benchmark, folder)
    else:
        device = stage.uses(pick_device(machine.device))
        workers = worker_count(machine.workers)
        _extract(stage, benchmark, objective, settings, root, device, workers)
    stage.finish()


def _extract(
    stage: Stage,
    benchmark: str,
    objective: str,
    settings: BackboneSettings,
    root: Path | None,
    device: torch.device,
    workers: int,
) -> None:
    folder = OUTPUTS / benchmark / objective
    weights = stage.reads(folder / "backbone" / "weights.safetensors")
    about = read_about(weights)
    network = build_network(settings.network, about["classes"], None, settings.seed)
    state = {name: torch.from_numpy(v) for name, v in read_arrays(weights).items()}
    network.load_state_dict(state)
    for split in SPLITS:
        part = read_split(OUTPUTS / benchmark / "data", split, root)
        features = extract_features(network, part, settings, device, workers)
        write_arrays(
            folder / "features" / f"{split}.safetensors",
            {"features": features, "labels": part.labels},
        )
    head = network.get_classifier()
    write_arrays(
        folder / "features" / "head.safetensors",
        {"weight": head.weight, "bias": head.bias},
        {"trained": about.get("head", True)},
    )


def _import(stage: Stage, source: Path, benchmark: str, folder: Path) -> None:
    """Cached features as they are; where they bring no head, one of zeros."""
    found = import_features(source, stage.settings.data(benchmark))
    train, labels = found.splits["train"]
    nothing = (train[:0], labels[:0])
    for split in SPLITS:
        features, labels = found.splits.get(split, nothing)
        write_arrays(
            folder / f"{split}.safetensors", {"features": features, "labels": labels}
        )
    shape = (found.num_classes, train.shape[1])
    zeros = (np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))
    weight, bias = found.head or zeros
    write_arrays(
        folder / "head.safetensors",
        {"weight": weight, "bias": bias},
        {"trained": found.head is not None},
    )
    for note in found.notes:
        print(f"{source}: {note}")
    stage.notes(imported=list(found.notes))


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"features@{benchmark}-{objective}")
