"""dvc.yaml against the code: what a stage reaches is what it names."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from replication.core.files import read_yaml
from tests.graph import ROOT, closure, resolved

# Each group of dvc.yaml, and the module that its command runs.
STAGES = {
    "prepare": "prepare",
    "backbone_paco": "backbone",
    "features_paco": "features",
    "heads_paco": "heads",
    "backbone_ce": "backbone",
    "features_ce": "features",
    "heads_ce": "heads",
    "decoupling": "decoupling",
    "dlsa": "dlsa",
    "ablation": "dlsa",
    "table1": "table1",
    "table2": "table2",
    "confusion": "confusion",
    "sigma": "sigma",
    "estimator": "estimator",
    "separation": "separation",
    "diagnosis": "diagnosis",
    "audit": "audit",
    "ledger": "ledger",
    "report": "report",
}


def definition(stage: str) -> dict:
    """A stage's definition, inside its `do` where it is repeated by foreach."""
    found = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    return found.get("do", found)


def test_every_stage_of_the_graph_is_known_here() -> None:
    assert set(read_yaml(ROOT / "dvc.yaml")["stages"]) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_every_module_that_the_stage_imports(stage: str) -> None:
    named = {dep for dep in definition(stage)["deps"] if dep.endswith(".py")}
    assert named == closure(STAGES[stage])
    assert f"replication.stages.{STAGES[stage]}" in definition(stage)["cmd"]


# A benchmark that only this list names, and `benchmarks`: what a stage of one list
# builds on must not hang on another list.
LISTED = {
    "comparison": "imagenet_lt",
    "ablation": "places_lt",
    "confusion": "inat18",
    "selection": "cifar100_lt",
    "separation": "own",
    "diagnosis": "own",
}


def test_deps_exist_or_are_outs_of_another_stage() -> None:
    graph = resolved({"benchmarks": [*dict.fromkeys(LISTED.values())]} | {
        name: [benchmark] for name, benchmark in LISTED.items()
    })  # fmt: skip
    assert {name.split("@")[0] for name in graph} == set(STAGES)
    makers = {out: name for name, one in graph.items() for out in one["outs"]}
    for name, one in graph.items():
        others = {out for out, maker in makers.items() if maker != name}
        for dep in one["deps"]:
            made = any(within(dep, out) or within(out, dep) for out in others)
            kept = not dep.startswith("outputs/") and (ROOT / dep).exists()
            assert made or kept, f"{name}: {dep}"


def test_no_file_is_an_out_of_two_stages() -> None:
    graph = resolved({name: ["own"] for name in ("benchmarks", *LISTED)})
    outs = [out for one in graph.values() for out in one["outs"]]
    assert not [(a, b) for a, b in permutations(outs, 2) if within(a, b)]


def within(path: str, folder: str) -> bool:
    """Whether a path is another one, or lies below it."""
    return path == folder or path.startswith(f"{folder}/")


def imports() -> Iterator[tuple[Path, str]]:
    """Every import of the package, in the package."""
    from tests.graph import imported

    for file in sorted((ROOT / "replication").rglob("*.py")):
        for name in imported(file):
            yield file.relative_to(ROOT), name


LAYERS = (
    "files",
    "settings",
    "data",
    "backbones",
    "flow_filter",
    "classifiers",
    "cascade",
    "evaluation",
    "experiments",
    "reporting",
    "stages",
)


def test_imports_run_one_way() -> None:
    """A module imports from its own layer or from layers above it in the list."""
    for file, name in imports():
        parts = name.split(".")
        if len(parts) < 2 or parts[1] not in LAYERS:
            continue
        mine = file.parts[1].removesuffix(".py")
        if mine in LAYERS:
            assert LAYERS.index(parts[1]) <= LAYERS.index(mine), f"{file}: {name}"


def test_only_flow_imports_nflows() -> None:
    for file in sorted((ROOT / "replication").rglob("*.py")):
        if file.name != "flow.py":
            text = file.read_text()
            assert "import nflows" not in text and "from nflows" not in text, file


def test_dvc_reads_the_graph_and_it_has_fewer_than_fifty_stages() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(STAGES) <= len(listed) < 50
