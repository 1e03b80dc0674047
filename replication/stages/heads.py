"""heads: the Balanced Softmax baseline, and the head that DLSA starts from."""

import numpy as np
import torch

from replication.classifiers.fitting import fit_balanced_softmax_head
from replication.classifiers.heads import Rows, Term, predict
from replication.evaluation.metrics import accuracies
from replication.evaluation.predictions import predictions_table
from replication.files import (
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from replication.stages.running import OUTPUTS, Stage, pick_device, progress, run


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write predictions of the network's own head, of Balanced Softmax, and heads."""
    settings = stage.settings.head(benchmark)
    seeds = stage.settings.seeds()
    folder = OUTPUTS / benchmark / objective
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    counts = np.array(data["class_counts"])
    splits = {
        split: {
            name: torch.from_numpy(array).to(device)
            for name, array in read_arrays(
                stage.reads(folder / "features" / f"{split}.safetensors")
            ).items()
        }
        for split in ("train", "test")
    }
    head_file = stage.reads(folder / "features" / "head.safetensors")
    start, trained = read_arrays(head_file), read_about(head_file)["trained"]
    own = Term(
        *(torch.from_numpy(start[name]).to(device) for name in ("weight", "bias"))
    )
    train, test = splits["train"], splits["test"]
    everyone = torch.arange(len(test["labels"]), device=device)
    labels = test["labels"].cpu().numpy()
    predictions: dict[str, dict] = {"balanced_softmax": {}}
    if trained:
        predictions["own_head"] = {}
    heads: dict[str, torch.Tensor] = {}
    inputs = [Rows(test["features"])]
    with progress(stage.name) as tell:
        for number, seed in enumerate(seeds):
            fitted = fit_balanced_softmax_head(
                train["features"],
                train["labels"],
                own,
                torch.from_numpy(counts).to(device),
                settings,
                seed,
            )
            heads |= {f"weight.{seed}": fitted.weight, f"bias.{seed}": fitted.bias}
            terms = {"own_head": own, "balanced_softmax": fitted}
            for name, some in predictions.items():
                predicted = predict([terms[name]], inputs, everyone).cpu().numpy()
                some[seed, "paper"] = some[seed, "released_code"] = predicted
            tell(number, len(seeds), accuracies(predicted, labels, counts))
    write_arrays(folder / "heads" / "balanced_softmax.safetensors", heads)
    summary = {}
    for name, some in predictions.items():
        write_table(
            folder / "heads" / f"{name}.predictions.safetensors",
            predictions_table(labels, some),
        )
        scores = [accuracies(some[seed, "paper"], labels, counts) for seed in seeds]
        summary[name] = {
            metric: round(float(np.mean([score[metric] for score in scores])), 4)
            for metric in scores[0]
        }
    write_json(folder / "heads" / "metrics.json", summary)
    stage.finish()


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"heads@{benchmark}-{objective}")
