"""The whole graph on a very small stand-in: complete and repeatable."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from replication.core.files import read_arrays, read_json, read_table
from replication.core.record import record_of
from replication.published.reader import read_published_claims
from replication.reporting.provenance import FOLDED
from replication.statistics.verdicts import DECIDED, UNDECIDED_AFTER
from tests.graph import ROOT, Node, graph, within
from tests.made import write_params

pytestmark = pytest.mark.whole

LISTS = ["benchmarks", "comparison", "ablation", "confusion", "selection", "separation"]
# Pages that glyphs are behind.
DATA_PAGES = (
    *("table1", "table2", "confusion", "sigma", "separation", "estimator", "ladder"),
)
SMALL = {
    **{name: ["places_lt"] for name in LISTS},
    "seeds": [0, 1],
    "filter": {"epochs": 2},
    "cascade": {"depth": 2},
    "classifier": {"epochs": 5},
    "head": {"epochs": 2},
    "decoupling": {"crt_epochs": 2, "lws_epochs": 1},
    "sweep": {"sigmas": [0.5], "draws": 50},
    "estimator": {"draws": 50, "steps": [1, 5], "probes": 3},
    "fig2": {
        "epochs": 1,
        "linear_epochs": 2,
        "boundaries": ["half_classes"],
        "probabilities": [0.5, 1.0],
    },
    "data": {
        "num_classes": 8,
        "num_images": 900,
        "validation_per_class": 4,
        "test_per_class": 10,
    },
    "ce": {"epochs": 2},
    "paco": {"epochs": 2},
}
# One thread: byte-identity is promised for one machine and one number of threads.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# What Git, DVC and DVCLive read of a checkout for themselves.
TOOLS = (".git", ".dvc", ".gitignore", ".dvcignore")

# Runs stages in one process and prints every file below the checkout that was opened,
# or renamed to: a file gets its own name when it is whole.
DRIVER = """
import os, runpy, sys, pathlib
root = pathlib.Path.cwd().resolve()
opened = set()
def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)):
        opened.add(os.fsdecode(args[0]))
    elif event == "os.rename":
        opened.add(os.fsdecode(args[1]))
sys.addaudithook(hook)
for line in sys.argv[1:]:
    module, *arguments = line.split()
    opened.clear()
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__")
    for path in opened:
        place = (root / path).resolve()
        if root in place.parents and place.is_file():
            print("OPENED", line.replace(" ", ","), place.relative_to(root))
"""


def checkout(folder: Path, changes: Mapping[str, object] = SMALL) -> Path:
    """A copy of the project with small settings, as a Git repository of its own."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "replication", folder / "replication", ignore=ignored)
    (folder / ".dvc").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "params.yaml", ".dvc/config"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("shipped", "kept", "bench"):  # without what is in them
        (folder / name).mkdir()
        shutil.copy(ROOT / name / "README.md", folder / name)
    write_params(folder, changes)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all that Git does not ignore."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["add", "-A"], ["commit", "-qm", "small"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Node]:
    """Every stage of the small graph, in an order in which it can run."""
    lists = {name: SMALL[name] for name in LISTS}
    waiting = list(graph(tmp_path_factory.mktemp("graph"), lists).values())
    ordered: list[Node] = []
    while waiting:
        ready = [
            node
            for node in waiting
            if not any(
                within(dep, out) or within(out, dep)
                for other in waiting
                if other != node
                for dep in node.deps
                for out in other.outs
            )
        ]
        ordered += ready
        waiting = [node for node in waiting if node not in ready]
    return ordered


def line(node: Node) -> str:
    """What the driver is told to run."""
    return " ".join(node.command[2:])


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a checkout; its output is in the failure's message."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def predictions(folder: Path) -> dict[str, bytes]:
    """Every predictions file of a checkout, by its place."""
    found = sorted((folder / "outputs").rglob("*predictions.safetensors"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def repro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which `dvc repro` has run."""
    folder = checkout(tmp_path_factory.mktemp("repro") / "project")
    run(folder, "-m", "dvc", "repro")
    return folder


@pytest.fixture(scope="module")
def again(
    stages: list[Node], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, set[str]]]:
    """A second checkout, its stages run without DVC; and the files each one opened."""
    folder = checkout(tmp_path_factory.mktemp("again") / "project")
    done = run(folder, "-c", DRIVER, *map(line, stages))
    opened: dict[str, set[str]] = {}
    for said in done.stdout.splitlines():
        if said.startswith("OPENED "):
            _, stage, path = said.split(" ", 2)
            opened.setdefault(stage, set()).add(path)
    return folder, opened


def test_repro_makes_every_page_result_and_figure(repro: Path) -> None:
    reports = repro / "reports"
    drawn = {page.stem: page for page in (reports / "stand_in").glob("[!R]*.md")}
    assert drawn.keys() == {*DATA_PAGES}
    for page in drawn.values():
        assert page.read_text().startswith("> **Stand-in data.**"), page
    cells = pd.read_csv(repro / "results" / "cells.csv")
    # Values and differences: 10 rows x 6 metrics x 2 protocols; 9 x 4 x 2.
    for section, values, gaps in (("table1", 120, 108), ("table2", 72, 64)):
        minus = cells[(cells["section"] == section) & cells["protocol"].notna()][
            "minus"
        ]
        assert (minus.isna().sum(), minus.notna().sum()) == (values, gaps)
    shares = cells[(cells["unit"] == "fraction") & cells["minus"].isna()]
    least = -1.0 * (shares["metric"] == "mcc")
    assert not ((shares["low"] < least) | (shares["high"] > 1)).any()
    table2 = cells[(cells["section"] == "table2") & cells["printed"].notna()]
    assert "partial" in set(table2["verdict"])
    for page in reports.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            there = page.parent / link
            assert link.startswith("http") or there.exists(), (page, link)
    drawn = sorted(reports.rglob("*.svg"))
    assert len(drawn) > 6
    assert all(figure.read_text().startswith(("<?xml", "<svg")) for figure in drawn)


def test_every_sentence_that_can_be_tested_was(repro: Path) -> None:
    claims = pd.read_csv(repro / "results" / "claims.csv")
    assert set(claims["verdict"]) <= {*DECIDED, "undecided", UNDECIDED_AFTER}
    can_be = {one.id for one in read_published_claims() if not one.why_not}
    assert set(claims["sentence"].dropna()) == can_be


def test_a_second_run_is_byte_identical_in_predictions(
    repro: Path, again: tuple[Path, dict[str, set[str]]]
) -> None:
    first, second = predictions(repro), predictions(again[0])
    # full and 5 variants, full on cross-entropy, both comparators; start, own and
    # refitted head of each objective; cRT, LWS, tau; the ladder; 4 sigmas
    assert len(first) == 23
    assert first == second


def test_a_second_repro_runs_nothing_and_changes_no_page(repro: Path) -> None:
    before = {path: path.read_bytes() for path in (repro / "reports").rglob("*.*")}
    done = run(repro, "-m", "dvc", "repro")
    assert "Running stage" not in done.stdout
    assert before == {p: p.read_bytes() for p in (repro / "reports").rglob("*.*")}


def test_a_what_if_elsewhere_says_what_moved_against_the_commit(
    repro: Path, tmp_path: Path
) -> None:
    """In a copy of the checkout, as for the queue: its HEAD is the commit before."""
    folder = tmp_path / "project"
    shutil.copytree(repro, folder, symlinks=True)
    commit(folder)
    run(folder, "-m", "dvc", "exp", "run", "--temp", "-S", "decoupling.lws_epochs=2")

    def git(*arguments: str) -> str:
        command = ("git", *arguments)
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        return done.stdout.strip()

    made = git("for-each-ref", "--format=%(refname)", "refs/exps/??/*/*")
    page = git("show", f"{made}:reports/stand_in/README.md")
    block = page.split("## What this run changed")[1]
    assert "`decoupling.lws_epochs` from `1` to `2`." in block
    assert "seeds (0, 1) that both runs have" in block
    assert "\n| LWS | Places-LT | validated | " in block
    assert "What this run changed" not in git("show", "HEAD:reports/stand_in/README.md")


def settled(page: str) -> str:
    """A page without its blocks on where its numbers come from."""
    first, *others = page.split(FOLDED)
    return first + "".join(part.partition("</details>")[2] for part in others)


def test_two_runs_differ_in_one_block_of_each_page(
    repro: Path, again: tuple[Path, dict[str, set[str]]]
) -> None:
    """Two checkouts, two commits, other times; figures are the same to the byte."""

    def written(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_text() for path in files}

    first, second = written(repro / "reports"), written(again[0] / "reports")
    assert first.keys() == second.keys()
    for name, text in first.items():
        if name.endswith(".md"):
            assert settled(text) == settled(second[name]), name
            assert "**Warning.**" not in text + second[name], name
        else:
            assert text == second[name], name


def test_a_stage_opens_only_what_dvc_yaml_names(
    stages: list[Node], again: tuple[Path, dict[str, set[str]]]
) -> None:
    """Deps are complete: data files too, not modules alone."""
    for node in stages:
        allowed = (*node.deps, *node.outs, "params.yaml", ".resume", *TOOLS)
        strays = {
            path
            for path in again[1][line(node).replace(" ", ",")]
            if not path.endswith((".py", ".pyc"))
            and not any(within(path, place) for place in allowed)
        }
        assert not strays, f"{node.name}: {sorted(strays)}"


def test_params_read_are_params_declared(
    stages: list[Node], again: tuple[Path, dict[str, set[str]]]
) -> None:
    for node in stages:
        record = read_json(again[0] / record_of(node.name))
        read = record["params"]
        if ".section" in node.command[2]:  # what measures is among the code it records
            measures = f"replication/sections/{node.command[3]}/measure.py"
            assert measures in record["code"]
        assert not [
            key
            for key in read
            if not any(key == p or key.startswith(f"{p}.") for p in node.params)
        ], node.name


def of_own(stages: list[Node]) -> list[str]:
    """The stages' command lines for a data set of the user's."""
    return [line(node).replace("places_lt", "own") for node in stages]


def test_from_features_alone_to_every_table(stages: list[Node], tmp_path: Path) -> None:
    """Cached features that bring no head: no image, no network; the page says so."""
    folder = tmp_path / "features"
    folder.mkdir()
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(4, 6))
    for split, sizes in {"train": (150, 60, 15, 10), "test": (8, 8, 8, 8)}.items():
        labels = np.repeat(np.arange(4), sizes)
        features = centres[labels] + generator.normal(size=(len(labels), 6))
        np.savez(folder / f"feature_{split}.npz", features=features, labels=labels)
    inputs = dict.fromkeys(("images", "checkpoint")) | {"features": str(folder)}
    changes = {**{name: ["own"] for name in LISTS}, "inputs": {"own": inputs}}
    project = checkout(tmp_path / "project", SMALL | changes)
    run(project, "-c", DRIVER, *of_own(stages))
    for name in ("table1", "table2"):
        page = (project / "reports" / f"{name}.md").read_text()
        assert "imported, not made here" in page
        assert "Stand-in data" not in page
    assert "linear" in (project / "reports" / "separation.md").read_text()
    assert not list(project.rglob("weights.safetensors"))


def test_from_released_weights_to_features(
    stages: list[Node], repro: Path, tmp_path: Path
) -> None:
    """The weights that a run made, given as a checkpoint, make the same features."""
    images, data = tmp_path / "images", repro / "outputs" / "places_lt" / "data"
    index = read_table(data / "index.csv")
    for split, pixels in read_arrays(data / "pixels.safetensors").items():
        labels = index.loc[index["split"] == split, "label"]
        for number, (label, image) in enumerate(zip(labels, pixels, strict=True)):
            place = images / split / f"{label:03d}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number:05d}.png")
    made = repro / "outputs" / "places_lt" / "paco"
    doors = {
        "images": str(images),
        "checkpoint": str(made / "backbone" / "weights.safetensors"),
        "features": None,
    }
    changes = {
        **{name: ["own"] for name in LISTS},
        "inputs": {"own": doors},
        "view": {"image_size": 32, "resize": 32},
        "backbone": {"network": "resnet8_cifar"},
    }
    project = checkout(tmp_path / "project", SMALL | changes)
    needed = ("prepare", "backbone_paco", "features_paco")
    chosen = [node for node in stages if node.name.split("@")[0] in needed]
    run(project, "-c", DRIVER, *of_own(chosen))
    outputs = project / "outputs" / "own" / "paco"
    ours = read_arrays(outputs / "features" / "test.safetensors")
    theirs = read_arrays(made / "features" / "test.safetensors")
    assert (ours["labels"] == theirs["labels"]).all()
    np.testing.assert_allclose(ours["features"], theirs["features"], atol=1e-5)
    about = read_json(outputs / "features" / "about.json")
    assert about["source"] == "imported from a checkpoint of this suite"
