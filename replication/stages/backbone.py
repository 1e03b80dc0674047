"""backbone: a timm network is trained on a benchmark's images, or imported."""

from pathlib import Path

import pandas as pd
from dvclive import Live

from replication.backbones.checkpoints import read_checkpoint
from replication.backbones.networks import build_network
from replication.backbones.training import make_fabric, train_network
from replication.data.images import read_split
from replication.files import read_json, write_arrays, write_table
from replication.settings import BackboneSettings
from replication.stages.running import OUTPUTS, Stage, progress, run


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write weights.safetensors; where it trains, training.csv and curves in live/."""
    settings = stage.settings.backbone(benchmark, objective)
    folder = OUTPUTS / benchmark / objective / "backbone"
    curves = OUTPUTS / benchmark / objective / "training"
    for place in (folder, curves):
        place.mkdir(parents=True, exist_ok=True)
    summary = read_json(stage.reads(OUTPUTS / benchmark / "data" / "summary.json"))
    checkpoint = stage.settings.checkpoint(benchmark)
    machine = stage.settings.machine()
    if stage.settings.features(benchmark) is not None:
        stage.notes(source="none: features are imported")
    elif checkpoint is not None:
        _import(stage, checkpoint, settings, summary["classes"], folder)
    elif not _train(
        stage, benchmark, settings, machine, summary["classes"], folder, curves
    ):
        return
    stage.finish()


def _train(
    stage: Stage,
    benchmark: str,
    settings: BackboneSettings,
    machine: object,
    classes: int,
    folder: Path,
    curves: Path,
) -> bool:
    """Train, on every process; whether this one is the process that writes."""
    data = OUTPUTS / benchmark / "data"
    stage.reads(data / "index.csv")
    root = stage.settings.images_root(benchmark)
    fabric = make_fabric(machine)
    stage.uses(fabric.device)
    resume = stage.resume_folder(settings, machine.precision, machine.devices)
    with progress(stage.name) as tell:
        live = _live(curves / "live") if fabric.is_global_zero else None

        def report(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()
            tell(epoch, epochs, metrics)

        trained = train_network(
            fabric,
            read_split(data, "train", root),
            read_split(data, "val", root),
            classes,
            settings,
            machine.workers,
            resume,
            report,
        )
        if live is not None:
            live.end()
    if not fabric.is_global_zero:
        return False
    about = {"network": settings.network, "classes": classes}
    write_arrays(folder / "weights.safetensors", trained.network.state_dict(), about)
    history = pd.DataFrame(trained.history)
    history.insert(0, "epoch", range(1, len(history) + 1))
    write_table(curves / "training.csv", history)
    stage.notes(
        source="trained here",
        backbone=settings.model_dump(),
        history=history.to_dict("list"),
    )
    return True


def _live(folder: Path) -> Live:
    """DVCLive that only writes curves: DVC itself keeps the experiment."""
    return Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None)


def _import(
    stage: Stage,
    checkpoint: Path,
    settings: BackboneSettings,
    classes: int,
    folder: Path,
) -> None:
    """Take weights as they were released; a head that is missing is drawn."""
    stage.reads(checkpoint)
    imported = read_checkpoint(checkpoint, settings.network, classes)
    network = build_network(settings.network, classes, None, settings.seed)
    network.load_state_dict(network.state_dict() | dict(imported.state))
    about = {
        "network": settings.network,
        "classes": classes,
        "head": imported.head is not None,
    }
    write_arrays(folder / "weights.safetensors", network.state_dict(), about)
    for line in imported.ignored:
        print(f"{checkpoint}: left out: {line}")
    maker = "this suite" if imported.source == "ours" else imported.source
    stage.notes(
        source=f"imported from a checkpoint of {maker}",
        left_out=list(imported.ignored),
        backbone={"network": settings.network},
    )


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"backbone@{benchmark}-{objective}")
