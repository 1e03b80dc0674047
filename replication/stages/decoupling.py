"""decoupling: cRT, LWS and τ-normalisation of a network trained by cross-entropy."""

import copy

import numpy as np
import torch

from replication.backbones.networks import build_network
from replication.classifiers.decoupling import (
    fit_crt,
    fit_lws,
    fit_on_images,
    predict_images,
    tau_normalised,
)
from replication.classifiers.fitting import fit_softmax_head
from replication.classifiers.heads import Rows, Term, predict
from replication.classifiers.loading import head_of, read_splits
from replication.core.device import pick_device
from replication.core.files import (
    read_about,
    read_arrays,
    read_json,
    write_json,
    write_table,
)
from replication.core.progress import progress
from replication.core.settings import DecouplingSettings, HeadSettings
from replication.core.stage import OUTPUTS, Stage, run
from replication.images.batches import read_split, worker_count
from replication.samples.features import Features, Samples
from replication.samples.predictions import predictions_table
from replication.stages.heads import mean_accuracies

Predictions = dict[str, dict[int, np.ndarray]]


def main(stage: Stage, benchmark: str) -> None:
    """Write predictions of every method and seed."""
    settings = stage.settings.decoupling(benchmark)
    folder = OUTPUTS / benchmark / "ce"
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    counts = np.array(data["class_counts"])
    splits = read_splits(stage, folder / "features", ("train", "val", "test"), device)
    train, test = splits["train"], splits["test"]
    head, fitted_with = _head(stage, benchmark, train, device)
    if settings.inputs == "features":
        found = _on_features(stage, settings, head, train, test.features)
    else:
        found = _on_images(stage, benchmark, settings, head, fitted_with, device)
    term, tau = tau_normalised(head, splits["val"])
    everyone = torch.arange(len(test.features), device=device)
    normalised = predict([term], [Rows(test.features)], everyone).cpu().numpy()
    found["tau"] = dict.fromkeys(stage.settings.seeds(), normalised)  # none enters it
    labels = test.labels.cpu().numpy()
    for name, of_seed in found.items():
        both = {
            (seed, protocol): predicted
            for seed, predicted in of_seed.items()
            for protocol in ("paper", "released_code")
        }
        write_table(
            folder / "decoupling" / f"{name}.predictions.safetensors",
            predictions_table(labels, both),
        )
    write_json(
        folder / "decoupling" / "metrics.json",
        {name: mean_accuracies(some, labels, counts) for name, some in found.items()},
    )
    stage.makes(folder / "decoupling")
    facts = settings.model_dump() | {"tau": tau}
    stage.states(folder / "decoupling", folder / "features", decoupling=facts)
    stage.finish()


def _head(
    stage: Stage, benchmark: str, train: Samples, device: torch.device
) -> tuple[Term, HeadSettings | None]:
    """The head that LWS rescales: the network's own; where it has none, one fitted.

    Returns:
        The head, and the settings that it was fitted with; None for the network's own.
    """
    path = stage.reads(OUTPUTS / benchmark / "ce" / "features" / "head.safetensors")
    arrays = read_arrays(path)
    own = head_of(arrays, device)
    if read_about(path)["trained"]:
        return own, None
    settings = stage.settings.head(benchmark)
    fitted = fit_softmax_head(train.features, train.labels, own, settings, seed=0)
    return fitted, settings


def _on_features(
    stage: Stage,
    settings: DecouplingSettings,
    head: Term,
    train: Samples,
    test: Features,
) -> Predictions:
    seeds = stage.settings.seeds()
    found: Predictions = {"crt": {}, "lws": {}}
    features, labels = train.features, train.labels
    everyone = torch.arange(len(test), device=test.device)
    with progress(stage.name) as tell:
        for number, seed in enumerate(seeds):
            fitted = {
                "crt": fit_crt(features, labels, len(head.weight), settings, seed),
                "lws": fit_lws(features, labels, head, settings, seed),
            }
            for name, term in fitted.items():
                predicted = predict([term], [Rows(test)], everyone)
                found[name][seed] = predicted.cpu().numpy()
            tell(number, len(seeds), {})
    return found


def _on_images(
    stage: Stage,
    benchmark: str,
    settings: DecouplingSettings,
    head: Term,
    fitted_with: HeadSettings | None,
    device: torch.device,
) -> Predictions:
    """As published: augmented images, weights frozen, batch-norm statistics moving."""
    images = stage.settings.backbone(benchmark)
    workers = worker_count(stage.settings.workers())
    root = stage.settings.images_root(benchmark)
    stage.reads(OUTPUTS / benchmark / "data" / "index.csv")
    train, test = (
        read_split(OUTPUTS / benchmark / "data", split, root)
        for split in ("train", "test")
    )
    weights = stage.reads(
        OUTPUTS / benchmark / "ce" / "backbone" / "weights.safetensors"
    )
    network = build_network(images.network, len(head.weight), None, seed=0)
    state = {name: torch.from_numpy(v) for name, v in read_arrays(weights).items()}
    network.load_state_dict(state)
    network.to(device, memory_format=torch.channels_last)
    resume = stage.resume_folder(settings, images, fitted_with, device.type)
    found: Predictions = {"crt": {}, "lws": {}}
    labels = test.labels.numpy()
    with progress(stage.name) as tell:
        for kind, of_seed in found.items():
            for seed in stage.settings.seeds():
                done = resume / f"{kind}-{seed}.safetensors"
                if not done.is_file():
                    moving = copy.deepcopy(network)
                    term = fit_on_images(
                        kind,
                        moving,
                        train,
                        len(head.weight),
                        head,
                        settings,
                        images,
                        device,
                        workers,
                        seed,
                        tell,
                    )
                    predicted = predict_images(
                        moving, term, test, images, device, workers
                    )
                    write_table(
                        done,
                        predictions_table(
                            labels, {(seed, "paper"): predicted.cpu().numpy()}
                        ),
                    )
                of_seed[seed] = read_arrays(done)["prediction"]
    return found


if __name__ == "__main__":
    run(main, lambda benchmark: f"decoupling@{benchmark}")
