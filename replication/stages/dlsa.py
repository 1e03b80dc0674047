"""dlsa: one variant of DLSA (a row of Table 2) on one benchmark, every seed."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.cascade import PROTOCOLS, Samples, decide, fit_levels
from replication.classifiers.heads import Term
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
from replication.flow_filter.fitting import read_clusters
from replication.flow_filter.flow import FlowFilter
from replication.settings import read_published_tables
from replication.stages.parallel import Tell, run_pieces
from replication.stages.running import (
    OUTPUTS,
    Stage,
    dlsa_name,
    one_of,
    pick_device,
    progress,
    run,
)

SPLITS = ("train", "val", "test")


def main(stage: Stage, benchmark: str, variant: str) -> None:
    """Write predictions, diagnostics of filters and classifiers, and metrics."""
    row = one_of(read_published_tables()["table2"].rows, variant, stage.name)
    settings = (
        stage.settings.filter(benchmark, row),
        stage.settings.cascade(benchmark),
        stage.settings.classifier(benchmark),
    )
    folder = OUTPUTS / benchmark / "paco"
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    splits = {
        split: _samples(
            stage.reads(folder / "features" / f"{split}.safetensors"), device
        )
        for split in SPLITS
    }
    heads = read_arrays(stage.reads(folder / "heads" / "start.safetensors"))
    counts = np.array(data["class_counts"])
    labels = splits["test"].labels.cpu().numpy()
    resume = stage.resume_folder(*settings, device.type)
    done = {
        seed: resume / f"seed-{seed}.safetensors" for seed in stage.settings.seeds()
    }
    pieces = [
        partial(
            _one_seed,
            splits,
            data["classes"],
            _head(heads, seed, device),
            settings,
            seed,
            file,
        )
        for seed, file in done.items()
        if not file.is_file()
    ]
    with progress(stage.name) as tell:
        run_pieces(pieces, len(done), device, tell)
    predictions, diagnostics, scores, timing = {}, {}, {}, {}
    for seed, file in done.items():
        arrays, about = read_arrays(file), read_about(file)
        for protocol in PROTOCOLS:
            predictions[seed, protocol] = arrays[protocol]
            scores[seed, protocol] = accuracies(arrays[protocol], labels, counts)
        timing[str(seed)] = about.pop("timing")
        diagnostics[str(seed)] = about
    target = folder / "dlsa" / variant
    table = predictions_table(labels, predictions)
    write_table(target / "predictions.safetensors", table)
    write_json(target / "diagnostics.json", diagnostics)
    write_json(target / "metrics.json", _means(scores))
    stage.notes(
        filter=settings[0].model_dump(),
        cascade=settings[1].model_dump(),
        classifier=settings[2].model_dump(),
        timing=timing,
    )
    stage.finish()


def _one_seed(
    splits: dict[str, Samples],
    num_classes: int,
    head: Term,
    settings: tuple[Any, Any, Any],
    seed: int,
    done: Path,
    tell: Tell,
) -> None:
    """Fit the cascade for one seed under both protocols and keep it for a resume."""
    filter_settings, cascade, classifier = settings
    epochs: list[float] = []
    clock = time.perf_counter()

    def told(epoch: int, of: int, metrics: Mapping[str, float]) -> None:
        nonlocal clock
        now = time.perf_counter()
        if epoch > 0:  # the first one also sets up
            epochs.append(now - clock)
        clock = now
        tell(epoch, of, {"seed": seed, **metrics})

    levels, diagnoses = fit_levels(
        splits, num_classes, filter_settings, cascade, seed, told
    )
    timing = {
        "epoch_seconds": float(np.median(epochs)) if epochs else float("nan"),
        "seconds_per_1000": _inference(levels[0].fitted.flow, splits["test"].features),
    }
    arrays, notes = {}, {}
    for protocol in PROTOCOLS:
        predicted, notes[protocol] = decide(
            levels, splits, num_classes, head, classifier, protocol, seed
        )
        arrays[protocol] = predicted.cpu().numpy()
    about = {"filters": diagnoses, "classifiers": notes, "timing": timing}
    write_arrays(done, arrays, about)


def _inference(flow: FlowFilter, features: torch.Tensor) -> float:
    """Seconds in which the first filter reads 1,000 samples; the best of three."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        read_clusters(flow, features).log_likelihood.sum().item()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds) / len(features)


def _samples(path: Path, device: torch.device) -> Samples:
    arrays = read_arrays(path)
    return Samples(
        torch.from_numpy(arrays["features"]).to(device),
        torch.from_numpy(arrays["labels"]).to(device),
    )


def _head(heads: dict[str, np.ndarray], seed: int, device: torch.device) -> Term:
    return Term(
        torch.from_numpy(heads[f"weight.{seed}"]).to(device),
        torch.from_numpy(heads[f"bias.{seed}"]).to(device),
    )


def _means(scores: dict[tuple[int, str], dict[str, float]]) -> dict[str, Any]:
    """Mean over seeds of each accuracy under each protocol, to 4 decimals."""
    means: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        mine = [score for (_, which), score in scores.items() if which == protocol]
        means[protocol] = {
            metric: round(float(np.mean([score[metric] for score in mine])), 4)
            for metric in mine[0]
        }
    return means


if __name__ == "__main__":
    run(main, dlsa_name)
