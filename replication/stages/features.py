"""features: every split as features (N, D), extracted here or imported."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from replication.backbones.extraction import extract_augmented, extract_features
from replication.backbones.networks import read_network
from replication.core.files import (
    BadInput,
    content_hash,
    read_about,
    read_arrays,
    read_json,
    read_table,
    write_arrays,
    write_json,
)
from replication.core.scaling import Size
from replication.core.stage import ABOUT, OUTPUTS, Stage, run
from replication.data.features import read_features
from replication.data.listing import SPLITS
from replication.images.batches import mixed_seed, read_split, worker_count

CLEAN, AUGMENTED = "clean", "augmented"
# The stream of random numbers of looks, beside those of PaCo's epochs.
_LOOKS = 2
# Heads that were trained with the logits compensated for the class counts: PaCo's.
_BALANCED = ("paco", "PaCo")


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write the features of every split, and the features' own head if any."""
    imported = stage.settings.features(benchmark, objective)
    index = read_table(stage.reads(OUTPUTS / benchmark / "data" / "index.csv"))
    if imported is not None:
        dimensions, passes, said = _import(stage, imported, benchmark, objective)
    else:
        dimensions, passes = _extract(stage, benchmark, objective)
        said = {}
    size = Size(int((index["split"] == "train").sum()), dimensions)
    sizes = OUTPUTS / "sizes" / objective / f"{benchmark}.json"
    write_json(stage.makes(sizes), asdict(size))
    one_folder = isinstance(stage.settings.get(f"inputs.{benchmark}.features"), str)
    folder = OUTPUTS / benchmark / objective
    stage.makes(folder / "features")
    facts: dict[str, Any] = {"one_folder": one_folder, "train": CLEAN, **said}
    before = [folder / "backbone"]
    if imported is not None and stage.settings.is_shipped(benchmark):
        before.append(imported)
        digest = content_hash(*sorted(imported.glob("*.safetensors")))
        maker = read_json(imported / ABOUT)["source"]
        facts["source"] = f"shipped with the suite (content {digest}), {maker}"
    if passes:
        network = read_json(stage.reads(before[-1] / ABOUT))["features"]
        looks = f"{passes} augmented look{'s' * (passes > 1)} at each training image"
        facts |= {"train": AUGMENTED, "augmented_passes": passes}
        facts |= {"features": f"{network}; {looks}"}
    stage.states(folder / "features", *before, **facts)
    stage.finish()


def _extract(stage: Stage, benchmark: str, objective: str) -> tuple[int, int]:
    """Write what the network makes of each image; of some also what of its looks.

    Returns the features' dimensions, and the augmented looks at each training image.
    """
    settings = stage.settings.images(benchmark)
    root = stage.settings.images_root(benchmark)
    workers = worker_count(stage.settings.workers())
    device = stage.uses()
    folder = OUTPUTS / benchmark / objective
    weights = stage.reads(folder / "backbone" / "weights.safetensors")
    about = read_about(weights)
    network = read_network(weights, settings.network, about["classes"])
    parts = {
        split: read_split(OUTPUTS / benchmark / "data", split, root) for split in SPLITS
    }
    pieces = {
        split: partial(extract_features, network, part, settings, device, workers)
        for split, part in parts.items()
    }
    paco = None
    if objective == "paco" and about["head"] in _BALANCED:
        from replication.images.augmentation import paco_views

        # A network that PaCo did not train knows no view of PaCo's.
        paco = stage.settings.paco(benchmark)
        view, _ = paco_views(paco.query_view, paco.key_view, paco.image_size)
        passes = stage.settings.extraction(benchmark).augmented_passes
        given = (network, parts["train"], view, settings, device, workers)
        for number in range(passes):
            seed = mixed_seed(paco.seed, number, _LOOKS)
            pieces[f"look {number}"] = partial(extract_augmented, *given, seed)
    resume = stage.resume_folder(settings, paco, device.type)
    for name, extract in pieces.items():
        if not (done := resume / f"{name}.safetensors").is_file():
            write_arrays(done, {"features": extract()})
    made = {
        name: read_arrays(resume / f"{name}.safetensors")["features"] for name in pieces
    }
    for split, part in parts.items():
        _write(folder / "features", split, made.pop(split), part.labels.numpy())
    if made:
        labels = np.tile(parts["train"].labels.numpy(), len(made))
        looks = np.concatenate([*made.values()])
        _write(folder / "features", f"train_{AUGMENTED}", looks, labels)
    head = network.get_classifier()
    write_arrays(
        folder / "features" / "head.safetensors",
        {"weight": head.weight, "bias": head.bias},
        {"trained": about["head"] is not None, "balanced": about["head"] in _BALANCED},
    )
    return head.weight.shape[1], len(made)


def _write(folder: Path, name: str, features: np.ndarray, labels: np.ndarray) -> None:
    arrays = {"features": features, "labels": labels}
    write_arrays(folder / f"{name}.safetensors", arrays)


def _import(
    stage: Stage, source: Path, benchmark: str, objective: str
) -> tuple[int, int, dict[str, Sequence[str]]]:
    """Cached features as they are; without a head, one of zeros.

    Returns as `_extract`; and the notes and doubts that a reader is told. Raises
    BadInput: their labels are not those that `prepare` indexed.
    """
    folder = OUTPUTS / benchmark / objective / "features"
    classes = stage.settings.data(benchmark).published_classes
    imported = read_features(source, classes, benchmark == "inat18")
    for file in imported.files:
        stage.reads(file)
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
        _write(folder, split, features, labels)
    passes = 0
    if objective == "paco" and imported.augmented is not None:
        _write(folder, f"train_{AUGMENTED}", *imported.augmented)
        passes = len(imported.augmented[0]) // len(train)
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
    notes = [f"Cached features: {note}." for note in imported.notes]
    return train.shape[1], passes, {"notes": notes, "doubts": imported.doubts}


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"features_{objective}@{benchmark}")
