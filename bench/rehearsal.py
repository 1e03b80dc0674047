"""The real stages at a benchmark's true size, on synthetic cached features.

    python -m bench --rehearse /big/disk
    python -m bench --rehearse /big/disk --benchmark places_lt --published

(`make rehearse SCRATCH=/big/disk`.) Features of the published class counts are written
in blocks, then each stage from `prepare` to the table (iNaturalist 2018: Table 1,
Places-LT: Table 2) runs as `dvc repro` runs it, in a folder of its own with its own
params.yaml. One epoch of each fit, unless they are to be the published ones: it
measures memory, and whether the chain stands at this size.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ruamel.yaml import YAML

from bench import cost, page
from bench.measuring import about_machine, slug
from replication.core.device import pick_device
from replication.core.files import (
    BadInput,
    read_json,
    replacing,
    write_json,
)
from replication.core.settings import PARAMS, PUBLISHED
from replication.published.reader import read_published_tables

HERE = Path(__file__).resolve().parent
LIMIT_MB = 12 * 1024
STAGES = {
    "inat18": (
        "prepare inat18",
        "backbone inat18 paco",
        "features inat18 paco",
        "heads inat18 paco",
        "dlsa inat18 full",
        "backbone inat18 ce",
        "features inat18 ce",
        "heads inat18 ce",
        "decoupling inat18",
        "section table1 inat18",
        "section confusion inat18",
    ),
    "places_lt": (
        "prepare places_lt",
        "backbone places_lt paco",
        "features places_lt paco",
        "heads places_lt paco",
        *(
            f"dlsa places_lt {variant}"
            for variant in read_published_tables()["table2"].rows
        ),
        "section table2 places_lt",
    ),
}
# Validation images a class; iNaturalist 2018's own are its test set.
VALIDATION = {"inat18": None, "places_lt": 20}
_BLOCK = 4096


def labels_of(benchmark: str, share: float) -> dict[str, np.ndarray]:
    """Labels (N,) by file of features, in the order of the classes.

    Of each class's published images a share is kept, at least one.
    """
    known = read_json(PUBLISHED / "class_counts.json")[benchmark]
    counts = [
        int(images)
        for images, classes in known["histogram"].items()
        for _ in range(classes)
    ]
    kept = np.maximum(1, np.round(np.sort(counts)[::-1] * share)).astype(np.int64)

    def even(per_class: int) -> np.ndarray:
        return np.repeat(np.arange(len(kept)), max(1, round(per_class * share)))

    train = {"train": np.repeat(np.arange(len(kept)), kept)}
    held_out = VALIDATION[benchmark]
    if held_out is None:
        return train | {"val": even(known["test_per_class"])}
    return train | {"val": even(held_out), "test": even(known["test_per_class"])}


def write_features(
    path: Path, labels: np.ndarray, dimensions: int, centres: np.ndarray, seed: int
) -> None:
    """Write features about their class's centre (C, D), a block in memory at a time."""
    generator = np.random.default_rng(seed)
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        file["labels"] = labels
        shape = (len(labels), dimensions)
        features = file.create_dataset("features", shape, dtype="f4")
        for start in range(0, len(labels), _BLOCK):
            block = centres[labels[start : start + _BLOCK]]
            block = block + generator.standard_normal(block.shape, dtype=np.float32)
            features[start : start + len(block)] = np.maximum(block, 0)


def make_features(
    folder: Path, benchmark: str, share: float, dimensions: int
) -> dict[str, int]:
    """All splits, where they are not there yet; how many samples two of them have."""
    labels = labels_of(benchmark, share)
    classes = int(labels["train"].max()) + 1
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((classes, dimensions), dtype=np.float32)
    for seed, (split, of_split) in enumerate(labels.items()):
        path = folder / f"feature_{split}.h5"
        if not path.is_file():
            write_features(path, of_split, dimensions, centres, seed)
    return {
        "train": len(labels["train"]),
        "test": len(labels.get("test", labels["val"])),
        "C": classes,
        "D": dimensions,
    }


def write_params(place: Path, features: Path, chosen: Mapping[str, Any]) -> None:
    """The checkout's params.yaml with one benchmark and input, and one epoch a fit."""
    yaml = YAML()
    params = yaml.load((HERE.parent / PARAMS).read_text())
    benchmark = chosen["benchmark"]
    params["benchmarks"] = [benchmark]
    for name in ("comparison", "ablation", "confusion", "selection", "separation"):
        params[name] = [benchmark]
    params["seeds"] = list(range(chosen["seeds"]))
    params["machine"]["device"] = chosen["device"]
    params["inputs"][benchmark]["features"] = str(features)
    params["decoupling"]["inputs"] = "features"
    if not chosen["published"]:
        params["decoupling"] |= {"crt_epochs": 1, "lws_epochs": 1}
        params["head"]["epochs"] = 1
        params["filter"]["epochs"] = params["classifier"]["epochs"] = 1
        params["cascade"]["depth"] = 1
    with replacing(place) as partial, partial.open("w") as file:
        yaml.dump(params, file)


def run_stage(words: str, folder: Path) -> dict[str, Any]:
    """Run one stage: seconds, the peak of its largest process in MB, machine's load.

    Raises:
        BadInput: it failed; what it said last.
    """
    module, *rest = words.split()
    command = [sys.executable, "-m", f"replication.stages.{module}", *rest]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    log = folder / f"{words.replace(' ', '-')}.log"
    start = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = log.read_text(errors="replace").strip() or "nothing was said"
        raise BadInput(
            f"{words}: exit {process.returncode}: {said.splitlines()[-1]} ({log})"
        )
    return {
        "stage": words,
        "seconds": time.perf_counter() - start,
        "peak_mb": usage.ru_maxrss / 1024,
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Read the command line; a refusal is one line."""
    parser = argparse.ArgumentParser(description="The real stages at true size")
    add = parser.add_argument
    add("--rehearse", type=Path, required=True, help="a folder with 20 GB")
    add("--benchmark", choices=STAGES, default="inat18")
    add("--published", action="store_true", help="epochs and depth as published")
    add("--share", type=float, default=1.0, help="of the images, > 0")
    add("--dimensions", type=int, default=2048, help="D")
    add("--seeds", type=int, default=1)
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--results", type=Path, default=HERE / "results")
    try:
        rehearse(vars(parser.parse_args()))
    except BadInput as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def rehearse(chosen: dict[str, Any]) -> None:
    """Run every stage; write results and pages after each."""
    benchmark, scratch = chosen["benchmark"], chosen["rehearse"].resolve()
    asked = (benchmark, chosen["share"], chosen["dimensions"])
    source = scratch / "features-{}-{:g}-{}".format(*asked)
    size = make_features(source, *asked)
    folder = scratch / "rehearsal"
    shutil.rmtree(folder, ignore_errors=True)  # a stage's time is whole
    folder.mkdir()
    write_params(folder / PARAMS, source, chosen)
    stages: list[dict[str, Any]] = []
    for words in STAGES[benchmark]:
        stages.append(run_stage(words, folder))
        print(line(stages[-1]), flush=True)
        write_results(chosen, size, stages)


def write_results(
    chosen: Mapping[str, Any],
    size: Mapping[str, int],
    stages: Sequence[Mapping[str, Any]],
) -> None:
    """Results and pages so far: a rehearsal that is stopped has shown something."""
    device = pick_device(chosen["device"])
    ran = {
        "machine": about_machine(device),
        "benchmark": chosen["benchmark"],
        "size": size,
        "settings": in_words(chosen),
        "stages": stages,
        "left": list(STAGES[chosen["benchmark"]][len(stages) :]),
    }
    results = chosen["results"]
    words = [
        chosen["benchmark"].replace("_", "-"),
        slug(device),
        *([f"{chosen['share']:g}"] if chosen["share"] != 1 else []),
        *([str(chosen["dimensions"])] if chosen["dimensions"] != 2048 else []),
        *(["published"] if chosen["published"] else []),
    ]
    write_json(results / f"rehearsal-{'-'.join(words)}.json", ran)
    page.write_page(results)


def line(stage: Mapping[str, Any]) -> str:
    """A stage while the rehearsal runs, against the limit."""
    over = "" if stage["peak_mb"] <= LIMIT_MB else f" — over {LIMIT_MB:,} MB"
    took = cost.duration(stage["seconds"])
    return f"{stage['stage']}: {took}, {stage['peak_mb']:,.0f} MB{over}"


def in_words(chosen: Mapping[str, Any]) -> str:
    """What was run, for the page."""
    if chosen["published"]:
        return f"Epochs and depth as published, seeds {chosen['seeds']}"
    return f"One epoch of each fit, depth 1, seeds {chosen['seeds']}"
