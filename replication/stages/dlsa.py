"""dlsa: one variant of DLSA (a row of Table 2) on one benchmark, every seed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from replication.cascade import (
    PROTOCOLS,
    SPLITS,
    SeedRun,
    decide_each,
    fit_levels,
    levels_as_arrays,
    levels_from_arrays,
)
from replication.classifiers.heads import Term
from replication.classifiers.on_device import head_of, read_splits
from replication.classifiers.stacks import stack_size
from replication.core.device import pick_device
from replication.core.files import (
    BadInput,
    read_about,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from replication.core.parallel import Tell, run_pieces, side_by_side
from replication.core.progress import progress
from replication.core.settings import (
    CascadeSettings,
    ClassifierSettings,
    FilterSettings,
)
from replication.core.stage import OUTPUTS, Stage, run
from replication.flow_filter.fitting import read_clusters
from replication.flow_filter.flow import FlowFilter
from replication.published.reader import read_published_tables
from replication.samples.features import Features, Samples, Streamed, total_memory
from replication.samples.metrics import accuracies
from replication.samples.predictions import predictions_table


@dataclass(frozen=True)
class Cascades:
    """One variant under every seed; what is fitted is kept in the resume folder.

    Fields: `heads`: seed -> the head that every first term starts from.
    """

    splits: Mapping[str, Samples]
    num_classes: int
    heads: Mapping[int, Term]
    filter_settings: FilterSettings
    cascade: CascadeSettings
    classifier: ClassifierSettings
    folder: Path

    def done(self, seed: int) -> Path:
        """The file of a seed that is decided."""
        return self.folder / f"seed-{seed}.safetensors"

    def make(self, seeds: Sequence[int], tell: Tell) -> None:
        """Fit the filters of some seeds, then their classifiers side by side."""
        runs, about = [], {}
        for seed in seeds:
            run, about[seed] = self._filters(seed, tell)
            runs.append(run)
        decided = {
            protocol: decide_each(
                runs, self.splits, self.num_classes, self.classifier, protocol
            )
            for protocol in PROTOCOLS
        }
        for number, seed in enumerate(seeds):
            arrays, notes = {}, {}
            for protocol in PROTOCOLS:
                predicted, notes[protocol] = decided[protocol][number]
                arrays[protocol] = predicted.cpu().numpy()
            write_arrays(self.done(seed), arrays, {**about[seed], "classifiers": notes})

    def _filters(self, seed: int, tell: Tell) -> tuple[SeedRun, dict[str, Any]]:
        """Filters of a seed, fitted unless a run before this one kept them."""
        kept = self.folder / f"filters-{seed}.safetensors"
        if not kept.is_file():
            self._fit(seed, kept, tell)
        facts = read_about(kept)
        device = self.splits["train"].labels.device
        levels = levels_from_arrays(
            read_arrays(kept), facts["levels"], self.filter_settings.sigma, device
        )
        return SeedRun(levels, self.heads[seed], seed), facts["about"]

    def _fit(self, seed: int, kept: Path, tell: Tell) -> None:
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
            self.splits,
            self.num_classes,
            self.filter_settings,
            self.cascade,
            seed,
            told,
        )
        timing = {
            "epoch_seconds": float(np.median(epochs)) if epochs else float("nan"),
            "seconds_per_1000": _inference(
                levels[0].fitted.flow, self.splits["test"].features
            ),
        }
        arrays, facts = levels_as_arrays(levels)
        about = {"filters": diagnoses, "timing": timing}
        write_arrays(kept, arrays, {"levels": facts, "about": about})


def main(stage: Stage, benchmark: str, variant: str) -> None:
    """Write predictions, diagnostics of filters and classifiers, and metrics."""
    rows = read_published_tables()["table2"].rows
    if variant not in rows:
        expected = ", ".join(rows)
        raise BadInput(f"{stage.name}: expected one of {expected}, got {variant!r}")
    row = rows[variant]
    settings = (
        stage.settings.filter(benchmark, row),
        stage.settings.cascade(benchmark),
        stage.settings.classifier(benchmark),
    )
    folder = OUTPUTS / benchmark / "paco"
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    splits = read_splits(stage, folder / "features", SPLITS, device)
    arrays = read_arrays(stage.reads(folder / "heads" / "start.safetensors"))
    seeds = stage.settings.seeds()
    cascades = Cascades(
        splits,
        data["classes"],
        {seed: head_of(arrays, device, seed) for seed in seeds},
        *settings,
        stage.resume_folder(*settings, device.type),
    )
    groups = _groups(seeds, splits, data["classes"], settings[1].leaving_share)
    pieces = [
        partial(cascades.make, group)
        for group in groups
        if not all(cascades.done(seed).is_file() for seed in group)
    ]
    with progress(stage.name) as tell:
        run_pieces(pieces, len(groups), device, tell)
    counts = np.array(data["class_counts"])
    labels = splits["test"].labels.cpu().numpy()
    predictions, diagnostics, scores, timing = {}, {}, {}, {}
    for seed in seeds:
        file = cascades.done(seed)
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
    write_json(target / "timing.json", timing)
    stage.makes(target)
    stage.states(
        target,
        folder / "heads",
        filter=settings[0].model_dump(),
        cascade=settings[1].model_dump(),
        classifier=settings[2].model_dump(),
    )
    stage.notes(
        fitted_together=groups,
        streamed=[n for n, one in splits.items() if isinstance(one.features, Streamed)],
    )
    stage.finish()


def _groups(
    seeds: Sequence[int],
    splits: Mapping[str, Samples],
    num_classes: int,
    leaving_share: float,
) -> list[Sequence[int]]:
    """Seeds whose classifiers are fitted side by side: all where a stack is faster.

    A stack has the latents of every seed on the device at once, and a copy of those
    that it is fitted to. What decides must not change from run to run: how much memory
    the device has does not.
    """
    device = splits["train"].labels.device
    dimensions = splits["train"].features.shape[1]
    weights = num_classes * (2 * dimensions + max(dimensions, num_classes))
    sizes = [one.features.nbytes for one in (*splits.values(), splits["train"])]
    alone = (
        side_by_side(len(seeds), device)
        or stack_size(device, weights) < len(seeds)
        or leaving_share * sum(sizes) * len(seeds) > total_memory(device) / 4
    )
    return [[seed] for seed in seeds] if alone else [list(seeds)]


def _inference(flow: FlowFilter, features: Features) -> float:
    """Seconds in which the first filter reads 1,000 samples; the best of three."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        read_clusters(flow, features).log_likelihood.sum().item()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds) / len(features)


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


def name(benchmark: str, variant: str) -> str:
    """The stage's name: the full model serves every table, others the ablation."""
    group = "dlsa" if variant == "full" else "ablation"
    return f"{group}@{benchmark}-{variant}"


if __name__ == "__main__":
    run(main, name)
