"""features: every split as features (N, D), extracted here or imported."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from replication.backbones.extraction import extract_features
from replication.backbones.networks import build_network
from replication.core.device import pick_device
from replication.core.files import (
    BadInput,
    read_about,
    read_arrays,
    read_table,
    write_arrays,
    write_json,
)
from replication.core.scaling import Size
from replication.core.stage import OUTPUTS, Stage, run
from replication.data.features import (
    file_of_head,
    files_of_features,
    import_features,
)
from replication.data.listing import SPLITS
from replication.images.batches import read_split, worker_count

# Heads that were trained with the logits compensated for the class counts: PaCo's.
_BALANCED = ("paco", "PaCo")


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write the features of every split, and the features' own head if any."""
    imported = stage.settings.features(benchmark, objective)
    index = read_table(stage.reads(OUTPUTS / benchmark / "data" / "index.csv"))
    if imported is not None:
        dimensions = _import(stage, imported, benchmark, objective)
    else:
        dimensions = _extract(stage, benchmark, objective)
    size = Size(int((index["split"] == "train").sum()), dimensions)
    sizes = OUTPUTS / "sizes" / objective / f"{benchmark}.json"
    write_json(stage.makes(sizes), asdict(size))
    one_folder = isinstance(stage.settings.get(f"inputs.{benchmark}.features"), str)
    folder = OUTPUTS / benchmark / objective
    stage.makes(folder / "features")
    stage.states(folder / "features", folder / "backbone", one_folder=one_folder)
    stage.finish()


def _extract(stage: Stage, benchmark: str, objective: str) -> int:
    """Write what the network makes of each image; returns the features' dimensions."""
    settings = stage.settings.images(benchmark)
    root = stage.settings.images_root(benchmark)
    workers = worker_count(stage.settings.workers())
    device = stage.uses(pick_device(stage.settings.device()))
    folder = OUTPUTS / benchmark / objective
    weights = stage.reads(folder / "backbone" / "weights.safetensors")
    about = read_about(weights)
    network = build_network(settings.network, about["classes"], None, seed=0)
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
        {"trained": about["head"] is not None, "balanced": about["head"] in _BALANCED},
    )
    return features.shape[1]


def _import(stage: Stage, source: Path, benchmark: str, objective: str) -> int:
    """Cached features as they are, and their dimensions; without a head, one of zeros.

    Raises:
        BadInput: their labels are not those that `prepare` indexed.
    """
    folder = OUTPUTS / benchmark / objective / "features"
    settings = stage.settings.data(benchmark)
    for file in (*files_of_features(source, settings), *file_of_head(source)):
        stage.reads(file)
    imported = import_features(source, settings)
    train, labels = imported.splits["train"]
    nothing = (train[:0], labels[:0])
    index = read_table(OUTPUTS / benchmark / "data" / "index.csv")
    for split in SPLITS:
        features, labels = imported.splits.get(split, nothing)
        if not np.array_equal(labels, index["label"][index["split"] == split]):
            raise BadInput(
                f"{source}: {split}: expected the labels of the features that "
                f"inputs.{benchmark}.features names for the other objective, got others"
            )
        write_arrays(
            folder / f"{split}.safetensors", {"features": features, "labels": labels}
        )
    shape = (imported.num_classes, train.shape[1])
    zeros = (np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))
    weight, bias = imported.head or zeros
    write_arrays(
        folder / "head.safetensors",
        {"weight": weight, "bias": bias},
        {"trained": imported.head is not None, "balanced": objective == "paco"},
    )
    for note in imported.notes:
        print(f"{source}: {note}")
    stage.notes(imported=list(imported.notes))
    return train.shape[1]


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"features_{objective}@{benchmark}")
