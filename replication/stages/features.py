"""features: the trained network turns every split into features (N, D)."""

from pathlib import Path

import torch

from replication.backbones.extraction import extract_features
from replication.backbones.networks import build_network
from replication.data.images import read_split, worker_count
from replication.data.sources import SPLITS
from replication.files import read_about, read_arrays, write_arrays
from replication.stages.running import OUTPUTS, Stage, pick_device, run


def main(stage: Stage, benchmark: str, objective: str) -> None:
    """Write features.safetensors of every split, and the network's own head."""
    settings = stage.settings.backbone(benchmark, objective)
    machine = stage.settings.machine()
    data = OUTPUTS / benchmark / "data"
    folder = OUTPUTS / benchmark / objective
    weights = stage.reads(folder / "backbone" / "weights.safetensors")
    stage.reads(data / "index.csv")
    images = stage.settings.get(f"inputs.{benchmark}.images")
    root = Path(images).expanduser() if images else None
    device = stage.uses(pick_device(machine.device))
    classes = read_about(weights)["classes"]
    network = build_network(settings.network, classes, None, settings.seed)
    state = {name: torch.from_numpy(v) for name, v in read_arrays(weights).items()}
    network.load_state_dict(state)
    workers = worker_count(machine.workers)
    for split in SPLITS:
        part = read_split(data, split, root)
        features = extract_features(network, part, settings, device, workers)
        write_arrays(
            folder / "features" / f"{split}.safetensors",
            {"features": features, "labels": part.labels},
        )
    head = network.get_classifier()
    write_arrays(
        folder / "features" / "head.safetensors",
        {"weight": head.weight, "bias": head.bias},
    )
    stage.finish(folder / "features" / "run.json")


if __name__ == "__main__":
    run(main, lambda benchmark, objective: f"features@{benchmark}-{objective}")
