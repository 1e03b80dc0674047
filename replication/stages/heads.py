"""heads: linear heads on frozen features, and the one that DLSA starts from."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from replication.classifiers.fitting import fit_balanced_softmax_head
from replication.classifiers.heads import Rows, Term, predict
from replication.classifiers.loading import head_of, read_splits
from replication.core.files import (
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_table,
)
from replication.core.parallel import Tell, run_pieces
from replication.core.progress import progress
from replication.core.stage import OUTPUTS, Stage, run
from replication.samples.features import Features
from replication.samples.numbering import swapped_classes
from replication.samples.predictions import predictions_table

_MADE_HERE = "trained here"
_FAR_BELOW = 0.5
Predictions = Mapping[str, Mapping[int, np.ndarray]]  # method -> seed -> (N,)


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write heads and their predictions: own_head, balanced_softmax, start.

    `own_head` is the network's, where it has one. `balanced_softmax` is fitted to the
    features, from there. `start` is the head that DLSA starts from: the network's own
    where that was trained with compensated logits (PaCo's), else `balanced_softmax`.
    """
    settings = stage.settings.head(benchmark)
    seeds = stage.settings.seeds()
    folder = OUTPUTS / benchmark / objective
    device = stage.uses()
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    splits = read_splits(stage, folder / "features", ("train", "test"), device)
    train, test = splits["train"], splits["test"]
    head_file = stage.reads(folder / "features" / "head.safetensors")
    arrays, about = read_arrays(head_file), read_about(head_file)
    own = head_of(arrays, device)
    labels = test.labels.cpu().numpy()
    counts = torch.tensor(data["class_counts"], device=device)
    resume = stage.resume_folder(settings, device.type)
    files = {seed: resume / f"{seed}.safetensors" for seed in seeds}

    def fit(seed: int, tell: Tell) -> None:
        def told(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            tell(epoch, epochs, {"seed": seed, **metrics})

        given = (train.features, train.labels, own, counts, settings, seed, told)
        write_arrays(files[seed], _arrays({seed: fit_balanced_softmax_head(*given)}))

    pieces = {file: partial(fit, seed) for seed, file in files.items()}
    with progress(stage.name) as tell:
        run_pieces(pieces, train.features.shape[1], device, tell)
    fitted = {seed: head_of(read_arrays(files[seed]), device, seed) for seed in seeds}
    heads = {"balanced_softmax": fitted}
    if about["trained"]:
        heads["own_head"] = dict.fromkeys(seeds, own)
    start = "own_head" if about["trained"] and about["balanced"] else "balanced_softmax"
    heads["start"] = heads[start]
    predictions = {
        name: {seed: predicted(head, test.features) for seed, head in of_seed.items()}
        for name, of_seed in heads.items()
    }
    write_predictions(folder / "heads", predictions, labels)
    write_arrays(folder / "heads" / "start.safetensors", _arrays(heads["start"]))
    stage.makes(folder / "heads")
    doubts: list[str] = []
    if about["trained"] and stage.about(folder / "features")["source"] != _MADE_HERE:
        doubts = doubted(
            predicted(own, train.features),
            predicted(fitted[seeds[0]], train.features),
            train.labels.cpu().numpy(),
        )
    notes = [f"Of the head: {doubt}." for doubt in doubts]
    stage.states(
        folder / "heads", folder / "features", start=start, notes=notes, doubts=doubts
    )
    stage.finish()


def doubted(own: np.ndarray, refitted: np.ndarray, labels: np.ndarray) -> list[str]:
    """Why an imported head's rows may be other classes than the labels say.

    `own`, `refitted`: (N,) answers to the training samples, of that head and of one
    fitted here; labels: (N,).
    """
    right, expected = (float((answers == labels).mean()) for answers in (own, refitted))
    doubts = []
    if right < _FAR_BELOW * expected:
        doubts.append(
            f"the imported head is right on {right:.1%} of its own training samples, "
            f"one fitted here on {expected:.1%}"
        )
    swapped = swapped_classes(own, labels)
    if len(swapped):
        doubts.append(
            f"{len(swapped)} classes have changed places in the imported head, the "
            f"first class {swapped[0]}"
        )
    return doubts


def write_predictions(folder: Path, methods: Predictions, labels: np.ndarray) -> None:
    """Tables of methods that know no protocol."""
    for name, of_seed in methods.items():
        both = {
            (seed, protocol): answers
            for seed, answers in of_seed.items()
            for protocol in ("validated", "as_released")
        }
        table = predictions_table(labels, both)
        write_table(folder / f"{name}.predictions.safetensors", table)


def predicted(head: Term, features: Features) -> np.ndarray:
    """(N,) answers of a linear head to all features."""
    everyone = torch.arange(len(features), device=features.device)
    return predict([head], [Rows(features)], everyone).cpu().numpy()


def _arrays(heads: Mapping[int, Term]) -> dict[str, torch.Tensor]:
    weights = {f"weight.{seed}": head.weight for seed, head in heads.items()}
    return weights | {f"bias.{seed}": head.bias for seed, head in heads.items()}


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"heads_{objective}@{benchmark}")
