"""backbone: a timm network is trained on a benchmark's images."""

from pathlib import Path

import pandas as pd
from dvclive import Live

from replication.backbones.training import make_fabric, train_network
from replication.data.images import read_split
from replication.files import read_json, write_arrays, write_table
from replication.stages.running import OUTPUTS, Stage, progress, run


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write weights.safetensors and training.csv; curves grow in live/ meanwhile."""
    settings = stage.settings.backbone(benchmark, objective)
    machine = stage.settings.machine()
    data = OUTPUTS / benchmark / "data"
    folder = OUTPUTS / benchmark / objective / "backbone"
    stage.reads(data / "index.csv")
    images = stage.settings.get(f"inputs.{benchmark}.images")
    root = Path(images).expanduser() if images else None
    summary = read_json(stage.reads(data / "summary.json"))
    fabric = make_fabric(machine)
    stage.uses(fabric.device)
    with (
        Live(
            str(folder / "live"), report=None, save_dvc_exp=False, dvcyaml=None
        ) as live,
        progress(stage.name) as tell,
    ):

        def report(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.next_step()
            tell(epoch, epochs, metrics)

        trained = train_network(
            fabric,
            read_split(data, "train", root),
            read_split(data, "val", root),
            summary["classes"],
            settings,
            machine.workers,
            stage.resume_folder(settings, machine.precision, machine.devices),
            report,
        )
    if not fabric.is_global_zero:
        return
    about = {"network": settings.network, "classes": summary["classes"]}
    write_arrays(folder / "weights.safetensors", trained.network.state_dict(), about)
    history = pd.DataFrame(trained.history)
    history.insert(0, "epoch", range(1, len(history) + 1))
    write_table(folder / "training.csv", history)
    stage.notes(backbone=settings.model_dump())
    stage.finish(folder / "run.json")


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"backbone@{benchmark}-{objective}")
