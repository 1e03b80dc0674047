"""What the stages behind the features read: splits and heads, put on the device."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from replication.classifiers.heads import Term
from replication.core.files import read_arrays, read_json
from replication.core.stage import ABOUT, Stage
from replication.samples.features import Samples, place


def read_splits(
    stage: Stage, folder: Path, splits: Iterable[str], device: torch.device
) -> dict[str, Samples]:
    """Features and labels of splits; features that do not fit there are streamed.

    `train` is what everything is fitted to: looks under augmentation, several of an
    image perhaps, where the features have those. `train_clean` is never augmented.

    Args:
        folder: the stage `features`' own.
    """
    augmented = read_json(stage.reads(folder / ABOUT))["train"] == "augmented"
    files = {"train": "train_augmented" if augmented else "train"}
    files["train_clean"] = "train"
    tables, labels = {}, {}
    for split in splits:
        file = folder / f"{files.get(split, split)}.safetensors"
        arrays = read_arrays(stage.reads(file))
        tables[split] = torch.from_numpy(arrays["features"])
        labels[split] = torch.from_numpy(arrays["labels"]).to(device)
    features = place(tables, device)
    return {split: Samples(features[split], labels[split]) for split in labels}


def head_of(
    arrays: Mapping[str, np.ndarray], device: torch.device, seed: int | None = None
) -> Term:
    """A head out of a file of heads: the one of a seed, or the only one."""
    end = "" if seed is None else f".{seed}"
    return Term(
        torch.from_numpy(arrays[f"weight{end}"]).to(device),
        torch.from_numpy(arrays[f"bias{end}"]).to(device),
    )
