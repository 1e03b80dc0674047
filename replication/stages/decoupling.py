"""decoupling: cRT, LWS and τ-normalisation of a network trained by cross-entropy."""

import copy
from functools import partial

import numpy as np
import torch

from replication.backbones.networks import read_network
from replication.classifiers.decoupling import (
    fit_crt,
    fit_lws,
    fit_on_images,
    predict_images,
    tau_normalised,
)
from replication.classifiers.fitting import fit_softmax_head
from replication.classifiers.heads import Term
from replication.classifiers.loading import head_of, read_splits
from replication.core.files import (
    read_about,
    read_arrays,
    write_arrays,
)
from replication.core.parallel import Tell, run_pieces, threads, threads_for
from replication.core.progress import progress
from replication.core.settings import DecouplingSettings, HeadSettings
from replication.core.stage import OUTPUTS, Stage, run
from replication.images.batches import read_split, worker_count
from replication.samples.features import Features, Samples
from replication.stages.heads import predicted, write_predictions

Answers = dict[str, dict[int, np.ndarray]]


def main(stage: Stage, benchmark: str) -> None:
    """Write predictions of every method and seed."""
    settings = stage.settings.decoupling(benchmark)
    folder = OUTPUTS / benchmark / "ce"
    device = stage.uses()
    splits = read_splits(stage, folder / "features", ("train", "val", "test"), device)
    train, test = splits["train"], splits["test"]
    head, fitted_with = _head(stage, benchmark, train, device)
    if settings.inputs == "features":
        given = (settings, head, fitted_with, train, test.features)
        answers = _on_features(stage, *given)
    else:
        answers = _on_images(stage, benchmark, settings, head, fitted_with, device)
    term, tau = tau_normalised(head, splits["val"])
    normalised = predicted(term, test.features)
    answers["tau"] = dict.fromkeys(stage.settings.seeds(), normalised)  # none enters it
    labels = test.labels.cpu().numpy()
    write_predictions(folder / "decoupling", answers, labels)
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
    given = (train.features, train.labels, own, settings)
    with threads(threads_for(train.features.shape[1])):
        return fit_softmax_head(*given, seed=0), settings


def _on_features(
    stage: Stage,
    settings: DecouplingSettings,
    head: Term,
    fitted_with: HeadSettings | None,
    train: Samples,
    test: Features,
) -> Answers:
    device, seeds = train.labels.device, stage.settings.seeds()
    resume = stage.resume_folder(settings, fitted_with, device.type)
    files = {seed: resume / f"{seed}.safetensors" for seed in seeds}
    given = (train.features, train.labels)

    def fit(seed: int, tell: Tell) -> None:
        crt = fit_crt(*given, len(head.weight), settings, seed)
        lws = fit_lws(*given, head, settings, seed)
        answers = {"crt": predicted(crt, test), "lws": predicted(lws, test)}
        write_arrays(files[seed], answers)
        tell(seeds.index(seed), len(seeds), {})

    pieces = {file: partial(fit, seed) for seed, file in files.items()}
    with progress(stage.name) as tell:
        run_pieces(pieces, train.features.shape[1], device, tell)
    made = {seed: read_arrays(file) for seed, file in files.items()}
    return {
        kind: {seed: of_seed[kind] for seed, of_seed in made.items()}
        for kind in ("crt", "lws")
    }


def _on_images(
    stage: Stage,
    benchmark: str,
    settings: DecouplingSettings,
    head: Term,
    fitted_with: HeadSettings | None,
    device: torch.device,
) -> Answers:
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
    network = read_network(weights, images.network, len(head.weight))
    network.to(device, memory_format=torch.channels_last)
    resume = stage.resume_folder(settings, images, fitted_with, device.type)
    answers: Answers = {"crt": {}, "lws": {}}
    with progress(stage.name) as tell:
        for kind, of_seed in answers.items():
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
                    made = predict_images(moving, term, test, images, device, workers)
                    write_arrays(done, {"prediction": made.cpu().numpy()})
                of_seed[seed] = read_arrays(done)["prediction"]
    return answers


if __name__ == "__main__":
    run(main, lambda benchmark: f"decoupling@{benchmark}")
