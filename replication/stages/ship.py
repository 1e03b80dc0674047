"""ship: a finished run's features and heads, small enough to be kept in the checkout.

Not a stage of the graph: `python -m replication.stages.ship cifar100_lt` after a run on
real data. They are then what that benchmark rests on where it has no input.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replication.classifiers.loading import head_of
from replication.core.files import (
    BadInput,
    read_about,
    read_arrays,
    read_json,
    read_yaml,
    write_json,
    write_text,
)
from replication.core.record import record_of
from replication.core.settings import OBJECTIVES, PUBLISHED, SHIPPED, read_recipe
from replication.core.stage import ABOUT, OUTPUTS, RESUME, Stage, run
from replication.data.features import Split, write_features
from replication.data.listing import SPLITS
from replication.stages.heads import predicted

MOST_BYTES = 8_000_000
_LICENCES = PUBLISHED / "licences.yaml"


def ship(benchmark: str) -> list[str]:
    """Replace shipped/<benchmark>/ by the features and heads at hand, and their card.

    Returns:
        A line for each objective on what rounding to half precision moves.

    Raises:
        BadInput: nothing real to ship, no word on its licence, or too much of it.
    """
    known = read_yaml(_LICENCES)
    if benchmark not in known:
        raise BadInput(
            f"ship: expected one of {', '.join(known)}, whose licence is in "
            f"{_LICENCES.name}, got {benchmark!r}"
        )
    data = read_json(OUTPUTS / benchmark / "data" / "summary.json")
    if data["stand_in"]:
        raise BadInput(f"ship: expected real data, got {benchmark}'s stand-in")
    target = RESUME / "ship" / benchmark
    shutil.rmtree(target, ignore_errors=True)
    moved = [
        _ship(benchmark, objective, target / objective) for objective in OBJECTIVES
    ]
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    if size > MOST_BYTES:
        raise BadInput(
            f"ship: expected at most {MOST_BYTES:,} bytes of features, got {size:,}"
        )
    write_text(target / "README.md", _card(target, benchmark, data, known, moved))
    shutil.rmtree(SHIPPED / benchmark, ignore_errors=True)
    SHIPPED.mkdir(exist_ok=True)
    shutil.move(target, SHIPPED / benchmark)
    return moved


def _ship(benchmark: str, objective: str, target: Path) -> str:
    """Write one objective's features, its network's head and its facts."""
    folder = OUTPUTS / benchmark / objective
    about = read_json(folder / "features" / ABOUT)
    names = (*SPLITS, *(["train_augmented"] if about["train"] == "augmented" else []))
    tables: dict[str, Split] = {}
    for name in names:
        arrays = read_arrays(folder / "features" / f"{name}.safetensors")
        tables[name] = arrays["features"], arrays["labels"]
    file = folder / "features" / "head.safetensors"
    head = read_arrays(file) if read_about(file)["trained"] else None
    write_features(target, tables, head, val_is_test=benchmark == "inat18")
    network = read_json(folder / "backbone" / ABOUT)["features"]
    write_json(target / ABOUT, about | {"features": network})
    heads = read_arrays(folder / "heads" / "start.safetensors")
    moved, of = _moved(heads, tables["test"][0])
    return (
        f"{objective}: rounding moves {moved:,} of {of:,} decisions of the heads on "
        f"test samples ({moved / of:.2%})"
    )


def _moved(heads: Mapping[str, np.ndarray], features: np.ndarray) -> tuple[int, int]:
    """Decisions of heads that half precision changes, and how many there are."""
    exact = torch.from_numpy(features)
    rounded = exact.half().float()
    moved = of = 0
    for seed in sorted(int(name.split(".")[1]) for name in heads if "bias" in name):
        term = head_of(heads, torch.device("cpu"), seed)
        changed = predicted(term, exact) != predicted(term, rounded)
        moved, of = moved + int(changed.sum()), of + len(changed)
    return moved, of


def _card(
    target: Path,
    benchmark: str,
    data: Mapping[str, Any],
    known: Mapping[str, Any],
    moved: list[str],
) -> str:
    """What is shipped, of what, and how it was made."""
    images, said = data["images"], known[benchmark]
    tail = f"imbalance factor {data['imbalance_factor'] or 'none'}"
    lines = [
        f"# {read_recipe(benchmark)['title']}: features in half precision",
        "",
        f"- Data: {said['data']}; {tail}; "
        f"{images['train']:,} training, {images['val']:,} validation and "
        f"{images['test']:,} test samples of {data['classes']} classes, "
        f"{data['largest']} to {data['smallest']} a class; hash {data['hash']}.",
        f"- Licence of the data: {said['licence']}.",
    ]
    for objective in OBJECTIVES:
        about = read_json(target / objective / ABOUT)
        record = read_json(record_of(f"features_{objective}@{benchmark}"))
        backbone = read_json(record_of(f"backbone_{objective}@{benchmark}"))
        settings = ", ".join(f"{k} {v}" for k, v in about["backbone"].items())
        looks = about.get("augmented_passes", 0)
        lines += [
            f"- `{objective}/`: features of {about['features']} (source: "
            f"{about['source']}); training features {about['train']}"
            f"{f', {looks} looks at each image' if looks else ''}; network by commit "
            f"{backbone['commit']}, features by commit {record['commit']}.",
            f"  Settings: {settings or 'not known'}.",
        ]
    lines += [f"- {line}." for line in moved]
    lines += ["", "| file | bytes | SHA-256 |", "|:--|--:|:--|"]
    for file in sorted(target.rglob("*.safetensors")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        name = file.relative_to(target).as_posix()
        lines.append(f"| `{name}` | {file.stat().st_size:,} | `{digest}` |")
    return "\n".join([*lines, ""])


def main(stage: Stage, benchmark: str) -> None:
    """Command line: one benchmark."""
    for line in (*ship(benchmark), f"shipped in {SHIPPED / benchmark}"):
        print(line)


if __name__ == "__main__":
    run(main, lambda benchmark: "ship")
