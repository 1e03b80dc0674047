"""estimator: Sect. 2, its equations by simulation and its premise in a real fit."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from replication.classifiers.loading import read_splits
from replication.core.device import pick_device
from replication.core.files import read_json, write_json
from replication.core.progress import progress
from replication.core.settings import EstimatorSettings
from replication.core.stage import OUTPUTS, Stage, run
from replication.sections.estimator.experiment import (
    POPULATION,
    equality_claims,
    identity_errors,
    judge_equality,
    order_claims,
    population,
    premise_claim,
    probe_fit,
    recursion_errors,
    simulate,
)
from replication.statistics.verdicts import judge_claim

Tell = Callable[[int, int, Mapping[str, float]], None]


_BEHIND = ("prepare", "backbone_paco", "features_paco")


def main(stage: Stage, benchmark: str) -> None:
    """Write the equations' errors, the simulation, the probes and the claims."""
    settings = stage.settings.estimator()
    filter_settings = stage.settings.filter(benchmark)
    seeds = stage.settings.seeds()
    device = stage.uses(pick_device(stage.settings.device()))
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    features = OUTPUTS / benchmark / "paco" / "features"
    train = read_splits(stage, features, ("train",), device)["train"]
    etas = sorted({*settings.etas, filter_settings.eta})
    simulated = simulation(settings, etas, filter_settings.num_clusters)
    resume = stage.resume_folder(settings, filter_settings, device.type)
    probes: list[dict[str, Any]] = []
    with progress(stage.name) as tell:
        for number, seed in enumerate(seeds):
            done = resume / f"seed-{seed}.json"
            if not done.is_file():
                found = probe_fit(
                    train.features,
                    train.labels,
                    filter_settings,
                    settings.probes,
                    seed,
                    _of_all(tell, number, len(seeds)),
                )
                write_json(done, found)
            probes += read_json(done)
    write_json(
        OUTPUTS / "tables" / benchmark / "estimator.json",
        {
            "benchmark": benchmark,
            "runs": stage.behind(*(f"{name}@{benchmark}" for name in _BEHIND)),
            "data": {key: data[key] for key in data if key != "class_names"},
            **simulated,
            "probes": probes,
            "claims": judged(simulated, etas, max(settings.steps), probes),
            "settings": {
                "estimator": settings.model_dump() | {"etas": etas},
                "filter": filter_settings.model_dump(),
                "seeds": list(seeds),
            },
        },
    )
    stage.finish()


def simulation(
    settings: EstimatorSettings, etas: list[float], fit_clusters: int
) -> dict[str, list[dict[str, Any]]]:
    """What needs no data: identity (Eq. 1), recursion (Eq. 2), simulation (Eq. 3, 4).

    Args:
        fit_clusters: K of the fit, at which Eq. 1 is tried as well.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    clusters = settings.clusters
    return {
        "identity": identity_errors(sorted({2, clusters, fit_clusters}), generator),
        "recursion": recursion_errors(etas, max(settings.steps), clusters, generator),
        "simulation": simulate(
            population(POPULATION, clusters, generator),
            etas,
            settings.steps,
            settings.batch_size,
            settings.draws,
            generator,
        ),
    }


def judged(
    simulated: Mapping[str, list[dict[str, Any]]],
    etas: list[float],
    steps: int,
    probes: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Every claim with its verdict."""
    equal = equality_claims(
        simulated["identity"], simulated["recursion"], simulated["simulation"]
    )
    order = order_claims(simulated["simulation"], etas, steps, probes)
    premise = premise_claim(probes)
    return [
        *(one | {"verdict": judge_equality(one["low"], one["high"])} for one in equal),
        *(one | {"verdict": judge_claim(one["low"], one["high"])} for one in order),
        # It says that something is 0 which cannot be below: above 0 contradicts it.
        premise | {"verdict": judge_claim(-premise["high"], -premise["low"])},
    ]


def _of_all(tell: Tell, number: int, seeds: int) -> Tell:
    """Progress of one seed's fit as progress of the stage."""
    return lambda epoch, epochs, metrics: tell(
        number * epochs + epoch, seeds * epochs, {"L_bal": metrics["loss_bal"]}
    )


if __name__ == "__main__":
    run(main, lambda benchmark: f"estimator@{benchmark}")
