"""backbone: a timm network is trained on a benchmark's images, or imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from dvclive import Live

from replication.backbones.checkpoints import read_checkpoint
from replication.backbones.networks import build_network
from replication.backbones.paco import train_paco
from replication.backbones.training import make_fabric, train_network
from replication.data.images import read_split
from replication.files import read_about, read_json, write_arrays, write_table
from replication.settings import ImageSettings
from replication.stages.running import OUTPUTS, Stage, progress, run


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write weights.safetensors; where it trains, training.csv and curves in live/."""
    folder = OUTPUTS / benchmark / objective / "backbone"
    curves = OUTPUTS / benchmark / objective / "training"
    for place in (folder, curves):
        place.mkdir(parents=True, exist_ok=True)
    data = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    checkpoint = stage.settings.checkpoint(benchmark, objective)
    if stage.settings.features(benchmark, objective) is not None:
        stage.notes(source="none: features are imported")
    elif checkpoint is not None:
        settings = stage.settings.images(benchmark)
        _import(stage, checkpoint, settings, data["classes"], folder)
    elif not _train(stage, benchmark, objective, data, folder, curves):
        return
    stage.finish()


def _train(
    stage: Stage,
    benchmark: str,
    objective: str,
    data: Mapping[str, Any],
    folder: Path,
    curves: Path,
) -> bool:
    """Train, on every process; whether this one is the process that writes."""
    index = stage.reads(OUTPUTS / benchmark / "data" / "index.csv")
    root = stage.settings.images_root(benchmark)
    splits = [read_split(index.parent, split, root) for split in ("train", "val")]
    machine = stage.settings.machine(benchmark, objective)
    fabric = make_fabric(machine)
    stage.uses(fabric.device)
    classes = data["classes"]
    with progress(stage.name) as tell:
        live = _live(curves / "live") if fabric.is_global_zero else None

        def report(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()
            tell(epoch, epochs, metrics)

        if objective == "paco":
            settings = stage.settings.paco(benchmark)
            resume = stage.resume_folder(settings, machine.precision, machine.devices)
            counts = torch.tensor(data["class_counts"])
            trained = train_paco(
                fabric,
                *splits,
                classes,
                counts,
                settings,
                machine.workers,
                resume,
                report,
            )
        else:
            settings = stage.settings.backbone(benchmark)
            resume = stage.resume_folder(settings, machine.precision, machine.devices)
            trained = train_network(
                fabric, *splits, classes, settings, machine.workers, resume, report
            )
        if live is not None:
            live.end()
    if not fabric.is_global_zero:
        return False
    about = {"network": settings.network, "classes": classes, "head": objective}
    write_arrays(folder / "weights.safetensors", trained.network.state_dict(), about)
    history = pd.DataFrame(trained.history)
    history.insert(0, "epoch", range(1, len(history) + 1))
    write_table(curves / "training.csv", history)
    stage.notes(
        source="trained here",
        backbone=settings.model_dump(),
        precision=machine.precision,
        history=history.to_dict("list"),
    )
    return True


def _live(folder: Path) -> Live:
    """DVCLive that only writes curves: DVC itself keeps the experiment."""
    return Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None)


def _import(
    stage: Stage,
    checkpoint: Path,
    settings: ImageSettings,
    classes: int,
    folder: Path,
) -> None:
    """Take weights as they were released; a head that is missing is drawn."""
    stage.reads(checkpoint)
    imported = read_checkpoint(checkpoint, settings.network, classes)
    network = build_network(settings.network, classes, None, seed=0)
    network.load_state_dict(network.state_dict() | dict(imported.state))
    maker = imported.source
    about = {"network": settings.network, "classes": classes, "head": None}
    if imported.head is not None:
        about["head"] = read_about(checkpoint)["head"] if maker == "ours" else maker
    write_arrays(folder / "weights.safetensors", network.state_dict(), about)
    for line in imported.ignored:
        print(f"{checkpoint}: left out: {line}")
    stage.notes(
        source="imported from a checkpoint of "
        + ("this suite" if maker == "ours" else maker),
        left_out=list(imported.ignored),
        backbone={"network": settings.network},
    )


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"backbone_{objective}@{benchmark}")
