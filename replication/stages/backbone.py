"""backbone: a timm network is trained on a benchmark's images, or imported.

Where it trains on several devices, each process runs all of this module; the first one
alone writes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from dvclive import Live

from replication.backbones.checkpoints import read_checkpoint
from replication.backbones.networks import build_network
from replication.backbones.paco import train_paco
from replication.backbones.training import Trained, make_fabric, train_network
from replication.core.files import read_about, read_json, write_arrays, write_table
from replication.core.processes import is_first
from replication.core.progress import progress
from replication.core.settings import Settings
from replication.core.stage import OUTPUTS, Stage, run
from replication.images.batches import read_split


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write weights.safetensors; where it trains, training.csv and curves in live/."""
    folder = OUTPUTS / benchmark / objective / "backbone"
    curves = OUTPUTS / benchmark / objective / "training"
    first = is_first()
    trains = _trains(stage.settings, benchmark, objective)
    if not (first or trains):
        return
    if first:
        for place in (folder, curves):
            place.mkdir(parents=True, exist_ok=True)
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    made: dict[str, Any] = {
        "source": "none: features are imported",
        "features": "imported, not made here",
        "backbone": {},
    }
    if trains:
        made = _train(stage, benchmark, objective, data, folder, curves)
    elif stage.settings.features(benchmark, objective) is None:
        checkpoint = stage.settings.checkpoint(benchmark, objective)
        network = stage.settings.images(benchmark).network
        made = _import(stage, checkpoint, network, data["classes"], folder)
    if first:
        stage.makes(folder)
        stage.makes(curves)
        stage.states(folder, OUTPUTS / benchmark / "data", **made)
        stage.finish()


def processes(settings: Settings, benchmark: str, objective: str) -> int:
    """How many the stage is to have: as many as devices, where it trains at all."""
    if not _trains(settings, benchmark, objective):
        return 1
    return settings.machine(benchmark, objective).devices


def _trains(settings: Settings, benchmark: str, objective: str) -> bool:
    doors = (settings.checkpoint, settings.features)
    return all(door(benchmark, objective) is None for door in doors)


def _train(
    stage: Stage,
    benchmark: str,
    objective: str,
    data: Mapping[str, Any],
    folder: Path,
    curves: Path,
) -> dict[str, Any]:
    """Train, in every process; the first one writes. Returns facts of the weights."""
    index = stage.reads(OUTPUTS / benchmark / "data" / "index.csv")
    machine = stage.settings.machine(benchmark, objective)
    fabric = make_fabric(machine)
    stage.uses(fabric.device)
    root = stage.settings.images_root(benchmark)
    splits = [read_split(index.parent, split, root) for split in ("train", "val")]
    classes = data["classes"]
    train: Callable[..., Trained]
    if objective == "paco":
        recipe = stage.settings.paco(benchmark)
        counts = torch.tensor(data["class_counts"])
        train = partial(train_paco, fabric, *splits, classes, counts, recipe)
    else:
        recipe = stage.settings.backbone(benchmark)
        train = partial(train_network, fabric, *splits, classes, recipe)
    train = partial(train, machine.workers)
    if not fabric.is_global_zero:
        train(None, lambda *_: None)
        return {}
    # How many processes there are is no part of the key: any number takes it up.
    resume = stage.resume_folder(recipe, machine.precision)
    with progress(stage.name) as tell:
        # Curves alone: DVC itself keeps the experiment.
        live = Live(str(curves / "live"), report=None, save_dvc_exp=False, dvcyaml=None)

        def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            live.step = epoch
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()
            tell(epoch, epochs, metrics)

        trained = train(resume, report)
        live.end()
    about = {"network": recipe.network, "classes": classes, "head": objective}
    write_arrays(folder / "weights.safetensors", trained.network.state_dict(), about)
    history = pd.DataFrame(trained.history)
    history.insert(0, "epoch", range(1, len(history) + 1))
    write_table(curves / "training.csv", history)
    stage.notes(
        backbone=recipe.model_dump(),
        precision=machine.precision,
        history=history.to_dict("list"),
    )
    how = {"ce": "cross-entropy", "paco": "PaCo"}[objective]
    words = f"a {recipe.network} trained by {how} for {recipe.epochs} epochs"
    facts = recipe.model_dump()
    return {"source": "trained here", "features": words, "backbone": facts}


def _import(
    stage: Stage, checkpoint: Path, name: str, classes: int, folder: Path
) -> dict[str, Any]:
    """Take weights as they were released; a head that is missing is drawn."""
    stage.reads(checkpoint)
    imported = read_checkpoint(checkpoint, name, classes)
    network = build_network(name, classes, None, seed=0)
    network.load_state_dict(network.state_dict() | dict(imported.state))
    maker = imported.source
    head = None
    if imported.head is not None:
        head = read_about(checkpoint)["head"] if maker == "ours" else maker
    about = {"network": name, "classes": classes, "head": head}
    write_arrays(folder / "weights.safetensors", network.state_dict(), about)
    for line in imported.ignored:
        print(f"{checkpoint}: left out: {line}")
    stage.notes(left_out=list(imported.ignored), backbone={"network": name})
    source = f"imported from a checkpoint of {maker.replace('ours', 'this suite')}"
    words = f"{name}, {source}"
    return {"source": source, "features": words, "backbone": {"network": name}}


if __name__ == "__main__":
    run(
        main,
        lambda benchmark, objective: f"backbone_{objective}@{benchmark}",
        processes,
    )
