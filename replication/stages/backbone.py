"""backbone: a timm network is trained on a benchmark's images, or imported.

Where it trains on several devices, each process runs all of this module; the first one
alone writes.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from replication.backbones.checkpoints import read_checkpoint, start_network
from replication.backbones.networks import build_network
from replication.core.files import (
    BadInput,
    read_about,
    read_json,
    write_arrays,
    write_table,
)
from replication.core.pixels import is_file
from replication.core.processes import is_first
from replication.core.progress import progress
from replication.core.settings import (
    BackboneSettings,
    ImageSettings,
    PacoSettings,
    Settings,
    ViewSettings,
)
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
    notes = _pixels(stage.settings, benchmark)
    made: dict[str, Any] = {
        "source": "none: features are imported",
        "features": "imported, not made here",
        "backbone": {},
    }
    checkpoint = stage.settings.checkpoint(benchmark, objective)
    if trains:
        made = _train(stage, benchmark, objective, data, folder, curves)
    elif stage.settings.features(benchmark, objective) is None:
        given = (stage, benchmark, data["classes"], folder)
        made = _import(*given, checkpoint) if checkpoint else _freeze(*given, objective)
    if first:
        stage.makes(folder)
        stage.makes(curves)
        stage.states(folder, OUTPUTS / benchmark / "data", **made, notes=notes)
        stage.finish()


def processes(settings: Settings, benchmark: str, objective: str) -> int:
    """How many the stage is to have: as many as devices, where it trains at all."""
    if not _trains(settings, benchmark, objective):
        return 1
    return settings.machine(benchmark, objective).devices


def _trains(settings: Settings, benchmark: str, objective: str) -> bool:
    doors = (settings.checkpoint, settings.features)
    if any(door(benchmark, objective) is not None for door in doors):
        return False
    return _recipe(settings, benchmark, objective).epochs > 0


def _recipe(
    settings: Settings, benchmark: str, objective: str
) -> BackboneSettings | PacoSettings:
    paco = objective == "paco"
    return settings.paco(benchmark) if paco else settings.backbone(benchmark)


def _train(
    stage: Stage,
    benchmark: str,
    objective: str,
    data: Mapping[str, Any],
    folder: Path,
    curves: Path,
) -> dict[str, Any]:
    """Train, in every process; the first one writes. Returns facts of the weights."""
    # Not at the top: what imports weights or features does not wait for these.
    from dvclive import Live

    from replication.backbones.paco import train_paco
    from replication.backbones.training import make_fabric, train_network

    index = stage.reads(OUTPUTS / benchmark / "data" / "index.csv")
    machine = stage.settings.machine(benchmark, objective)
    fabric = make_fabric(machine)
    stage.uses(fabric.device)
    root = stage.settings.images_root(benchmark)
    splits = [read_split(index.parent, split, root) for split in ("train", "val")]
    classes = data["classes"]
    train: Callable[..., tuple[nn.Module, list[dict[str, float]]]]
    recipe = _recipe(stage.settings, benchmark, objective)
    start = _pretrained(stage, recipe)
    if isinstance(recipe, PacoSettings):
        counts = torch.tensor(data["class_counts"])
        train = partial(train_paco, fabric, *splits, classes, counts, recipe)
    else:
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

        network, rows = train(resume, report)
        live.end()
    how = {"ce": "cross-entropy", "paco": "PaCo"}[objective]
    how = f"trained by {how} for {recipe.epochs} epochs"
    _write(folder, network, recipe, classes, objective, how)
    history = pd.DataFrame(rows)
    history.insert(0, "epoch", range(1, len(history) + 1))
    write_table(curves / "training.csv", history)
    stage.notes(
        backbone=recipe.model_dump(),
        precision=machine.precision,
        history=history.to_dict("list"),
    )
    words = f"a {recipe.network}{f', {start},' if start else ''} {how}"
    facts = recipe.model_dump() | {"pretrained": start}
    return {"source": "trained here", "features": words, "backbone": facts}


def _freeze(
    stage: Stage, benchmark: str, classes: int, folder: Path, objective: str
) -> dict[str, Any]:
    """Take a pretrained network as it is; nothing is trained.

    Raises BadInput: nothing is pretrained.
    """
    recipe = _recipe(stage.settings, benchmark, objective)
    if recipe.pretrained is None:
        raise BadInput(
            f"{objective}.epochs: expected at least 1, since nothing is pretrained "
            "(backbone.pretrained, ce.from_scratch), got 0"
        )
    start = _pretrained(stage, recipe)
    given = (recipe.network, classes, recipe.pretrained, recipe.seed)
    _write(folder, start_network(*given), recipe, classes, None)
    source = f"{start}, frozen, not trained on this data"
    facts = recipe.model_dump() | {"pretrained": start}
    words = f"a {recipe.network}, {source}"
    return {"source": source, "features": words, "backbone": facts}


def _import(
    stage: Stage, benchmark: str, classes: int, folder: Path, checkpoint: Path
) -> dict[str, Any]:
    """Take weights as they were released; a head that is missing is drawn."""
    stage.reads(checkpoint)
    images = stage.settings.images(benchmark)
    name = images.network
    imported = read_checkpoint(checkpoint, name, classes)
    network = build_network(name, classes, None, seed=0)
    network.load_state_dict(network.state_dict() | dict(imported.state))
    maker = imported.source
    ours = read_about(checkpoint) if maker == "ours" else {}
    head = None
    if imported.head is not None:
        head = ours["head"] if ours else maker
    trained = ours.get("trained")
    _write(folder, network, images, classes, head, trained)
    for line in imported.ignored:
        print(f"{checkpoint}: left out: {line}")
    stage.notes(left_out=list(imported.ignored), backbone={"network": name})
    source = f"imported from a checkpoint of {maker.replace('ours', 'this suite')}"
    words = f"{' '.join(filter(None, (name, trained)))}, {source}"
    return {"source": source, "features": words, "backbone": {"network": name}}


def _write(
    folder: Path,
    network: nn.Module,
    images: ImageSettings,
    classes: int,
    head: str | None,
    trained: str | None = None,
) -> None:
    """Weights, and in words: their network, how they were trained, their pixels."""
    view = {name: getattr(images, name) for name in ViewSettings.model_fields}
    about = {"network": images.network, "classes": classes, "head": head, "view": view}
    about |= {} if trained is None else {"trained": trained}
    write_arrays(folder / "weights.safetensors", network.state_dict(), about)


def _pretrained(stage: Stage, recipe: BackboneSettings | PacoSettings) -> str | None:
    """Pretrained weights in words: timm's, or a file by its name and content."""
    if recipe.pretrained is None:
        return None
    if not is_file(recipe.pretrained):
        return f"timm's weights {recipe.pretrained}"
    path = stage.reads(Path(recipe.pretrained).expanduser())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"pretrained weights {path.name} (SHA-256 {digest[:16]})"


def _pixels(settings: Settings, benchmark: str) -> list[str]:
    """In what the pixels in use are not those that the weights want, in a line."""
    own, images = settings.own_pixels(benchmark), settings.images(benchmark)
    others = [
        f"{name} {getattr(images, name)} in place of {value}"
        for name, value in own.items()
        if getattr(images, name) != value
    ]
    line = f"Pixels are not the weights' own: {', '.join(others)}."
    return [line] if others else []


if __name__ == "__main__":
    run(
        main,
        lambda benchmark, objective: f"backbone_{objective}@{benchmark}",
        processes,
    )
