"""The whole graph on a very small stand-in: complete, repeatable, safe from kills."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from replication.core.files import read_arrays, read_json, read_table, read_yaml
from replication.reporting.rendering import ORIGIN
from tests.faults.project import start_server, started
from tests.graph import ROOT, closure

pytestmark = pytest.mark.whole

VARIANTS = ("no_mle", "no_bal", "no_pure", "clusters_300", "clusters_1000")
PACO, CE = ("places_lt", "paco"), ("places_lt", "ce")
# Group in dvc.yaml, then the module and its arguments; in an order that can be run.
STAGES: tuple[tuple[str, ...], ...] = (
    ("prepare", "prepare", "places_lt"),
    ("backbone_paco", "backbone", *PACO),
    ("features_paco", "features", *PACO),
    ("heads_paco", "heads", *PACO),
    ("dlsa", "dlsa", "places_lt", "full", "paco"),
    ("backbone_ce", "backbone", *CE),
    ("features_ce", "features", *CE),
    ("heads_ce", "heads", *CE),
    ("decoupling", "decoupling", "places_lt"),
    ("dlsa_ce", "dlsa", "places_lt", "full", "ce"),
    *(("ablation", "dlsa", "places_lt", variant, "paco") for variant in VARIANTS),
    ("table1", "table1", "places_lt"),
    ("table2", "table2", "places_lt"),
    ("confusion", "confusion", "places_lt"),
    ("sigma", "sigma", "places_lt"),
    ("estimator", "estimator", "places_lt"),
    ("separation", "separation", "places_lt"),
    ("audit", "audit"),
    ("ledger", "ledger"),
    ("report", "report"),
)
LISTS = (
    "benchmarks",
    "comparison",
    "ablation",
    "confusion",
    "selection",
    "separation",
)
# Pages whose first line must say that the data is the stand-in.
DATA_PAGES = ("claims", "table1", "table2", "confusion", "sigma", "separation")
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
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

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
        path = args[0] if isinstance(args[0], str) else args[0].decode()
        opened.add(path)
    elif event == "os.rename":
        opened.add(os.fsdecode(args[1]))
sys.addaudithook(hook)
for line in sys.argv[1:]:
    stage, *arguments = line.split()
    opened.clear()
    sys.argv = [stage, *arguments]
    sys.modules.pop(f"replication.stages.{stage}", None)
    runpy.run_module(f"replication.stages.{stage}", run_name="__main__")
    for path in opened:
        place = (root / path).resolve()
        if root in place.parents and place.is_file():
            print("OPENED", line.replace(" ", ","), place.relative_to(root))
"""


def checkout(folder: Path, changes: Mapping[str, object] = SMALL) -> Path:
    """A copy of the project with small settings, as a Git repository of its own."""
    folder.mkdir()
    for name in ("replication", "dvc.yaml", ".dvcignore", ".gitignore", "params.yaml"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    for name, value in changes.items():
        if isinstance(value, dict):
            params[name].update(value)
        else:
            params[name] = value
    yaml.dump(params, folder / "params.yaml")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "small"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def command(stage: tuple[str, ...]) -> str:
    """What the driver is told to run."""
    return " ".join(stage[1:])


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
def again(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, set[str]]]:
    """A second checkout, its stages run without DVC; and the files each one opened."""
    folder = checkout(tmp_path_factory.mktemp("again") / "project")
    done = run(folder, "-c", DRIVER, *map(command, STAGES))
    opened: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("OPENED "):
            _, stage, path = line.split(" ", 2)
            opened.setdefault(stage, set()).add(path)
    return folder, opened


def test_repro_makes_every_page_result_and_figure(repro: Path) -> None:
    reports = repro / "reports"
    for name in DATA_PAGES:
        first = (reports / f"{name}.md").read_text().splitlines()[0]
        assert "stand-in" in first.lower(), name
    # Table 1: 7 methods x 6 metrics x 2 protocols; Table 2: 8 x 4 x 2. Differences for
    # all methods but the last and the full model.
    for name, values, differences in (("table1", 84, 72), ("table2", 64, 56)):
        records = read_json(repro / "results" / f"{name}.json")["records"]
        kinds = [record["kind"] for record in records]
        assert (kinds.count("value"), kinds.count("difference")) == (
            values,
            differences,
        )
    printed = [record for record in records if record["published"]]
    assert {record["verdict"] for record in printed} >= {"partial"}
    for page in reports.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (reports / link).exists(), (page, link)
    drawn = sorted(reports.rglob("*.svg"))
    assert len(drawn) > 12
    assert all(figure.read_text().startswith("<?xml") for figure in drawn)


def test_every_claim_that_can_be_tested_was(repro: Path) -> None:
    page = (repro / "reports" / "claims.md").read_text()
    assert (
        page.count("Not tested: ") == 1
    )  # cross-validation, of which nothing is known
    assert "Not run." not in page


def test_a_second_run_is_byte_identical_in_predictions(
    repro: Path, again: tuple[Path, dict[str, set[str]]]
) -> None:
    first, second = predictions(repro), predictions(again[0])
    # full and 5 variants; start, own and refitted head of each objective; cRT and LWS;
    # 4 sigmas
    assert len(first) == 18
    assert first == second


def test_a_second_repro_runs_nothing_and_changes_no_page(repro: Path) -> None:
    before = {path: path.read_bytes() for path in (repro / "reports").rglob("*.*")}
    done = run(repro, "-m", "dvc", "repro")
    assert "Running stage" not in done.stdout
    assert before == {p: p.read_bytes() for p in (repro / "reports").rglob("*.*")}


# What Sect. 7 says of time can only be answered by the clock: lines that do so, and the
# count of verdicts that it enters.
TIMED = ("seconds", "luster number", "sentences: ")


def settled(page: str) -> str:
    """A page without its block on where its numbers come from, and what is timed."""
    for opening in (ORIGIN, "<details><summary>Seconds"):
        parts = page.split(opening)
        page = parts[0] + "".join(part.partition("</details>")[2] for part in parts[1:])
    lines = page.splitlines()
    return "\n".join(line for line in lines if not any(one in line for one in TIMED))


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
    again: tuple[Path, dict[str, set[str]]],
) -> None:
    """Deps are complete: data files too, not modules alone."""
    folder, opened = again
    for stage in STAGES:
        resolved = _resolved(folder, stage)
        allowed = (*resolved, "params.yaml", ".resume", *TOOLS)
        paths = opened[command(stage).replace(" ", ",")]
        strays = {
            path
            for path in paths
            if not path.endswith((".py", ".pyc"))
            and not any(path == one or path.startswith(f"{one}/") for one in allowed)
        }
        assert not strays, f"{stage}: {sorted(strays)}"
        assert closure(stage[1]) <= set(resolved)


def test_params_declared_are_params_read(
    again: tuple[Path, dict[str, set[str]]],
) -> None:
    """Every key that a stage reads is declared, and every declared key is read."""
    folder, _ = again
    for stage in STAGES:
        declared = set(_filled(folder, stage, "params"))
        record = read_json(_record(folder, stage))
        read = set(record["params"])
        undeclared = {key for key in read if not _covered(key, declared)}
        unread = {key for key in declared if not any(_covers(key, one) for one in read)}
        if stage[0] == "decoupling":
            unread = {key for key in unread if not key.startswith(OF_IMAGES)}
        assert (undeclared, unread) == (set(), set()), stage


# What cRT and LWS read where they see images; the stand-in's take features.
OF_IMAGES = ("backbone", "ce", "view", "head", "inputs.")


def _definition(folder: Path, group: str) -> dict:
    found = read_yaml(folder / "dvc.yaml")["stages"][group]
    return found.get("do", found)


def _filled(folder: Path, stage: tuple[str, ...], kind: str) -> list[str]:
    benchmark, *_, variant = (*stage[2:], "", "")[:2] if len(stage) > 2 else ("", "")
    texts = []
    for name in _definition(folder, stage[0]).get(kind, []):
        text = next(iter(name)) if isinstance(name, dict) else name
        text = text.replace("${item.benchmark}", benchmark)
        text = text.replace("${item.variant}", variant)
        texts.append(text.replace("${item}", benchmark))
    return texts


def _resolved(folder: Path, stage: tuple[str, ...]) -> list[str]:
    kinds = ("deps", "outs", "metrics")
    return [path for kind in kinds for path in _filled(folder, stage, kind)]


def _covers(declared: str, key: str) -> bool:
    return key == declared or key.startswith(f"{declared}.")


def _covered(key: str, declared: set[str]) -> bool:
    return any(_covers(one, key) for one in declared)


def _name(stage: tuple[str, ...]) -> str:
    """In dvc.yaml."""
    group, _, *rest = stage
    name = f"{group}@{rest[0]}" if rest else group
    return name + (f"-{rest[1]}" if group == "ablation" else "")


def _record(folder: Path, stage: tuple[str, ...]) -> Path:
    return next((folder / "outputs").rglob(f"records/{_name(stage)}.json"))


# What a stage has written when it is in the middle of its work; others: their lock.
MIDDLE = {
    "backbone": "state.pt",
    "dlsa": "filters-0.safetensors",  # before any classifier
    "sigma": "*.safetensors",
    "estimator": "seed-0.json",
    "separation": "*.safetensors",
}
KILLED = tuple(stage for stage in STAGES if stage[0] not in ("ablation", "ledger"))


def test_a_killed_stage_starts_again_and_ends_the_same(
    again: tuple[Path, dict[str, set[str]]], tmp_path: Path
) -> None:
    """SIGKILL in the middle of each stage, of which no process stays behind.

    Run again, the graph equals an undisturbed one.
    """
    folder = tmp_path / "killed"
    shutil.copytree(again[0], folder, symlinks=True)
    shutil.rmtree(folder / ".resume")
    start_server()
    for stage in reversed(KILLED):  # so that what each reads is there
        for place in _filled(folder, stage, "outs"):
            _remove(folder / place)  # as DVC does before it runs a stage
        process = started(folder, (_name(stage), *stage[1:]), tmp_path / "log")
        assert _kill_in_the_middle(folder, stage, process) == -signal.SIGKILL, stage
    run(folder, "-c", DRIVER, *map(command, KILLED))
    assert predictions(folder) == predictions(again[0])
    assert [one for one in Path("/proc").glob("[0-9]*") if _works_in(one, folder)] == []


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _works_in(process: Path, folder: Path) -> bool:
    """Whether a process, one that a killed stage left behind say, is in a folder."""
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


def _kill_in_the_middle(
    folder: Path, stage: tuple[str, ...], process: ForkServerProcess
) -> int | None:
    state = folder / ".resume" / _name(stage)
    if stage[1] in MIDDLE:
        _wait_for(process, state, MIDDLE[stage[1]])
    else:
        locks = folder / ".resume" / "locks"
        _wait_for(process, locks, f"{_name(stage)}.lock")
    process.kill()
    process.join()
    return process.exitcode


def _wait_for(process: ForkServerProcess, folder: Path, pattern: str) -> None:
    """Until a file appears, or the process ends."""
    end = time.monotonic() + 120
    while not list(folder.rglob(pattern)):
        assert process.exitcode is None and time.monotonic() < end, f"no {pattern}"
        time.sleep(0.001)


def test_crt_and_lws_on_images(
    again: tuple[Path, dict[str, set[str]]], tmp_path: Path
) -> None:
    """As published: images through the frozen network, whose batch-norm moves on."""
    folder = tmp_path / "images"
    shutil.copytree(again[0], folder, symlinks=True)
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["decoupling"]["inputs"] = "images"
    yaml.dump(params, folder / "params.yaml")
    place = "outputs/places_lt/ce/decoupling"
    before = predictions(folder)
    done = run(folder, "-c", DRIVER, "decoupling places_lt")
    after = predictions(folder)
    assert {path for path in after if after[path] != before[path]} == {
        f"{place}/{name}.predictions.safetensors" for name in ("crt", "lws")
    }
    stage = next(stage for stage in STAGES if stage[0] == "decoupling")
    read = set(read_json(_record(folder, stage))["params"])
    declared = set(_filled(folder, stage, "params"))
    assert {key for key in read if not _covered(key, declared)} == set()
    unread = {key for key in declared if not any(_covers(key, one) for one in read)}
    assert unread == {"head"}  # read where features come without a head
    named = set(_resolved(folder, stage)) | {"params.yaml"}
    for line in done.stdout.splitlines():
        if line.startswith("OPENED "):
            path = line.split(" ", 2)[2]
            if path.endswith((".csv", ".safetensors")) and ".resume" not in path:
                assert any(path.startswith(one) for one in named), path


def of(benchmark: str) -> list[str]:
    """The stages' command lines for another benchmark."""
    return [command(stage).replace("places_lt", benchmark) for stage in STAGES]


def test_from_features_alone_to_every_table(tmp_path: Path) -> None:
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
    changes = {
        **{name: ["own"] for name in LISTS},
        "seeds": [0, 1],
        "inputs": {"own": inputs},
    }
    project = checkout(tmp_path / "project", SMALL | changes)
    run(project, "-c", DRIVER, *of("own"))
    for name in ("table1", "table2"):
        page = (project / "reports" / f"{name}.md").read_text()
        assert "imported, not made here" in page
        assert "| not run | not run | not run | not run |" in page
        assert "Stand-in data" not in page
    assert "linear" in (project / "reports" / "separation.md").read_text()
    assert not list(project.rglob("weights.safetensors"))


def test_from_released_weights_to_features(repro: Path, tmp_path: Path) -> None:
    """The weights that a run made, given as a checkpoint, make the same features."""
    images = tmp_path / "images"
    arrays = read_arrays(
        repro / "outputs" / "places_lt" / "data" / "pixels.safetensors"
    )
    index = read_table(repro / "outputs" / "places_lt" / "data" / "index.csv")
    for split, pixels in arrays.items():
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
        "data": {"image_size": 32, "resize": 32},
        "backbone": {"network": "resnet8_cifar"},
    }
    project = checkout(tmp_path / "project", SMALL | changes)
    run(project, "-c", DRIVER, *of("own")[:3])
    outputs = project / "outputs" / "own" / "paco"
    ours = read_arrays(outputs / "features" / "test.safetensors")
    theirs = read_arrays(made / "features" / "test.safetensors")
    assert (ours["labels"] == theirs["labels"]).all()
    np.testing.assert_allclose(ours["features"], theirs["features"], atol=1e-5)
    record = read_json(_record(project, ("backbone_paco", "backbone", "own", "paco")))
    assert record["source"] == "imported from a checkpoint of this suite"
