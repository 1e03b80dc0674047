"""diagnosis: where DLSA loses, and which settings, chosen on validation, it needs."""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from replication.cascade import SPLITS
from replication.classifiers.fitting import fit_balanced_softmax_head
from replication.classifiers.heads import Term
from replication.classifiers.loading import head_of, read_splits
from replication.core.files import BadInput, read_arrays, read_json, write_table
from replication.core.parallel import threads, threads_for
from replication.core.progress import progress
from replication.core.scaling import Size
from replication.core.stage import ABOUT, OUTPUTS, Stage
from replication.protocols import VALIDATED
from replication.samples.features import Samples
from replication.samples.predictions import predictions_table
from replication.sections.basis import read_basis, read_data
from replication.sections.diagnosis.experiment import (
    DECIDED,
    Answers,
    Results,
    all_cells,
    details_of,
)
from replication.sections.diagnosis.search import (
    Chosen,
    alternatives,
    choose,
    setting_in_use,
)
from replication.sections.diagnosis.trials import Trials
from replication.statistics.results import Measurement


def measure(stage: Stage, benchmark: str) -> Measurement:
    """Search on validation samples, then measure what was chosen on test samples.

    Raises:
        BadInput: there are no validation samples to choose on.
    """
    folder = OUTPUTS / benchmark / "paco"
    device = stage.uses()
    counts = np.array(read_data(stage, benchmark)["class_counts"])
    splits = read_splits(stage, folder / "features", (*SPLITS, "train_clean"), device)
    clean = splits.pop("train_clean")
    by_features = {False: splits}
    if read_json(folder / "features" / ABOUT)["train"] == "augmented":
        by_features[True] = splits | {"train": clean}
    labels = {split: splits[split].labels.cpu().numpy() for split in DECIDED}
    if len(labels["val"]) == 0:
        raise BadInput(
            f"{stage.name}: expected validation samples to choose settings on, got "
            "none; where the images allow it, data.validation_per_class holds some out"
        )
    chosen, results, looked_at = _search(stage, benchmark, by_features, counts)
    _write(stage, folder / "diagnosis", chosen, results, labels["test"])
    seeds, grid = stage.settings.seeds(), stage.settings.diagnose()
    searched = list(seeds[: grid.search_seeds])
    details = details_of(chosen) | {"seeds": list(seeds), "searched": searched}
    recipe = stage.settings.recipe(benchmark)
    basis = read_basis(stage, "diagnosis", benchmark, "paco/heads", recipe=recipe)
    answers, looked_at = (
        Answers(tried, labels, basis) for tried in (results, looked_at)
    )
    return basis.measured(all_cells(chosen, answers, looked_at), (), details)


def _search(
    stage: Stage,
    benchmark: str,
    splits: Mapping[bool, Mapping[str, Samples]],
    counts: np.ndarray,
) -> tuple[Chosen, Results, Results]:
    """What was chosen, its results under every seed, and those of single factors."""
    settings = stage.settings
    size = Size(int(counts.sum()), splits[False]["train"].features.shape[1])
    filters, cascade = settings.filter(benchmark, size), settings.cascade(benchmark)
    classifier, seeds = settings.classifier(benchmark, size), settings.seeds()
    head, grid, device = settings.head(benchmark), settings.diagnose(), stage.device
    searched = seeds[: grid.search_seeds]
    base = setting_in_use(filters, cascade, classifier)
    others = alternatives(base, grid, size.dimensions, augmented=True in splits)
    with progress(stage.name) as tell:
        trials = Trials(
            splits,
            len(counts),
            {
                clean: _heads(stage, benchmark, some["train"], counts)
                for clean, some in splits.items()
            },
            filters,
            classifier,
            stage.resume_folder(filters, cascade, classifier, head, device.type),
            device,
            tell,
        )
        chosen = choose(base, others, partial(trials.score, searched))
        pairs = chain.from_iterable(chosen.by_features().values())
        every = list(dict.fromkeys([*chosen.named.values(), *pairs]))
        alone = [base, *(setting for _, setting in chosen.singles)]
        return chosen, trials.results(every, seeds), trials.results(alone, searched)


def _heads(
    stage: Stage, benchmark: str, train: Samples, counts: np.ndarray
) -> dict[int, tuple[Term, Term]]:
    """Seed -> the head that DLSA starts from, and the same refitted as `heads` does."""
    device = train.labels.device
    file = OUTPUTS / benchmark / "paco" / "heads" / "start.safetensors"
    arrays = read_arrays(stage.reads(file))
    settings = stage.settings.head(benchmark)
    on_device = torch.from_numpy(counts).to(device)
    heads = {}
    for seed in stage.settings.seeds():
        head = head_of(arrays, device, seed)
        given = (train.features, train.labels, head, on_device, settings, seed)
        with threads(threads_for(train.features.shape[1])):
            heads[seed] = (head, fit_balanced_softmax_head(*given))
    return heads


def _write(
    stage: Stage, folder: Path, chosen: Chosen, results: Results, labels: np.ndarray
) -> None:
    """Write the predictions of what was measured, but for filters that diverged."""
    for name, setting in chosen.named.items():
        predictions = {
            (seed, VALIDATED.key): tried["test"]
            for seed, tried in results[setting].items()
            if (tried["test"] >= 0).all()
        }
        table = predictions_table(labels, predictions)
        write_table(folder / f"{name}.predictions.safetensors", table)
    stage.makes(folder)
