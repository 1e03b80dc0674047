"""heads: linear heads on frozen features, and the one that DLSA starts from."""

from collections.abc import Mapping

import numpy as np
import torch

from replication.classifiers.fitting import fit_balanced_softmax_heads
from replication.classifiers.heads import Rows, Term, predict
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
from replication.core.progress import progress
from replication.core.stage import OUTPUTS, Stage, run
from replication.samples.features import Features
from replication.samples.metrics import accuracies
from replication.samples.predictions import predictions_table


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write heads and their predictions: own_head, balanced_softmax, start.

    `own_head` is the network's, where it has one. `balanced_softmax` is fitted to the
    features, from there. `start` is the head that DLSA starts from: the network's own
    where that was trained with compensated logits (PaCo's), else `balanced_softmax`.
    """
    settings = stage.settings.head(benchmark)
    seeds = stage.settings.seeds()
    folder = OUTPUTS / benchmark / objective
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    counts = np.array(data["class_counts"])
    splits = read_splits(stage, folder / "features", ("train", "test"), device)
    train, test = splits["train"], splits["test"]
    head_file = stage.reads(folder / "features" / "head.safetensors")
    arrays, about = read_arrays(head_file), read_about(head_file)
    own = head_of(arrays, device)
    labels = test.labels.cpu().numpy()
    with progress(stage.name) as tell:
        fitted = fit_balanced_softmax_heads(
            train.features,
            train.labels,
            own,
            torch.from_numpy(counts).to(device),
            settings,
            seeds,
            tell,
        )
    heads = {"balanced_softmax": dict(zip(seeds, fitted, strict=True))}
    if about["trained"]:
        heads["own_head"] = dict.fromkeys(seeds, own)
    start = "own_head" if about["trained"] and about["balanced"] else "balanced_softmax"
    heads["start"] = heads[start]
    summary = {}
    for name, of_seed in heads.items():
        predictions = {
            seed: _predicted(head, test.features) for seed, head in of_seed.items()
        }
        both = {
            (seed, protocol): predicted
            for seed, predicted in predictions.items()
            for protocol in ("paper", "released_code")
        }
        write_table(
            folder / "heads" / f"{name}.predictions.safetensors",
            predictions_table(labels, both),
        )
        summary[name] = mean_accuracies(predictions, labels, counts)
    write_arrays(folder / "heads" / "start.safetensors", _arrays(heads["start"]))
    write_json(folder / "heads" / "metrics.json", summary)
    stage.makes(folder / "heads")
    stage.states(folder / "heads", folder / "features", start=start)
    stage.finish()


def mean_accuracies(
    predictions: Mapping[int, np.ndarray], labels: np.ndarray, counts: np.ndarray
) -> dict[str, float]:
    """Mean over seeds of each accuracy, to 4 decimals: for `dvc metrics` and eyes."""
    scores = [
        accuracies(predicted, labels, counts) for predicted in predictions.values()
    ]
    return {
        metric: round(float(np.mean([score[metric] for score in scores])), 4)
        for metric in scores[0]
    }


def _predicted(head: Term, features: Features) -> np.ndarray:
    everyone = torch.arange(len(features), device=features.device)
    return predict([head], [Rows(features)], everyone).cpu().numpy()


def _arrays(heads: Mapping[int, Term]) -> dict[str, torch.Tensor]:
    weights = {f"weight.{seed}": head.weight for seed, head in heads.items()}
    return weights | {f"bias.{seed}": head.bias for seed, head in heads.items()}


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"heads_{objective}@{benchmark}")
