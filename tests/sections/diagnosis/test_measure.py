"""The stage of what DLSA would need: from features to the page, and killed midway."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from replication.core.files import (
    BadInput,
    read_json,
    read_table,
    read_yaml,
    write_arrays,
    write_json,
)
from replication.core.settings import load
from replication.core.stage import Stage, record_of
from replication.samples.predictions import by_seed
from replication.sections.diagnosis import measure as diagnosis
from replication.sections.diagnosis.experiment import (
    RUNGS,
    Answers,
    Setting,
    Step,
    Tried,
)
from replication.sections.diagnosis.page import diagnosis_page

ROOT = Path(__file__).resolve().parents[3]
NAME, BENCHMARK = "diagnosis@places_lt", "places_lt"
COUNTS = [120, 110, 40, 8]
TINY = {
    "seeds": [0, 1, 2],
    "device": "cpu",
    "num_clusters": 6,
    "filter": {"epochs": 1, "batch_size": 64, "lr": 0.1},
    "classifier": {"epochs": 2, "batch_size": 64, "lr": 0.01, "evaluate_every": 1},
    "head": {"epochs": 1},
    "diagnose": {
        "search_seeds": 2,
        "lr_factors": [30],
        "depths": [2],
        "leaving_shares": [],
        "sigmas": [],
        "num_clusters": [],
        "weight_exponents": [],
        "without": [],
    },
}


def write_split(folder: Path, split: str, counts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(COUNTS)), counts)
    centres = 2 * np.random.default_rng(9).standard_normal((len(COUNTS), 5))
    features = centres[labels] + generator.standard_normal((len(labels), 5))
    write_arrays(
        folder / "features" / f"{split}.safetensors",
        {"features": features.astype(np.float32), "labels": labels},
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A checkout in which everything that the stage builds on has been made."""
    folder = tmp_path_factory.mktemp("checkout")
    params = read_yaml(ROOT / "params.yaml")
    for name, value in TINY.items():
        params[name] = params[name] | value if isinstance(value, dict) else value
    YAML(typ="safe").dump(params, folder / "params.yaml")
    outputs = folder / "outputs"
    paco = outputs / BENCHMARK / "paco"
    for seed, (split, counts) in enumerate(
        {"train": COUNTS, "val": [8] * 4, "test": [20] * 4}.items()
    ):
        write_split(paco, split, counts, seed)
    drawn = np.random.default_rng(5).standard_normal((len(COUNTS), 5))
    heads = {f"weight.{seed}": drawn.astype(np.float32) for seed in TINY["seeds"]}
    heads |= {f"bias.{seed}": np.zeros(4, np.float32) for seed in TINY["seeds"]}
    write_arrays(paco / "heads" / "start.safetensors", heads)
    data = {
        "benchmark": BENCHMARK,
        "stand_in": True,
        "hash": "0123456789abcdef",
        "classes": len(COUNTS),
        "class_counts": COUNTS,
        "images": {"train": sum(COUNTS), "val": 32, "test": 80},
    }
    write_json(outputs / BENCHMARK / "data" / "summary.json", data)
    for name in diagnosis._BEHIND:
        stage = f"{name}@{BENCHMARK}"
        run = {"stage": stage, "commit": "0" * 16, "clean": True, "device": "cpu"}
        run |= {"seconds": 1.0, "peak_memory_mb": 1, "libraries": {}}
        write_json(folder / record_of(stage), run)
    return folder


def ran(folder: Path) -> dict:
    """Run the stage; what it wrote."""
    diagnosis.main(Stage(NAME, load()), BENCHMARK)
    return read_json(folder / "outputs/tables" / BENCHMARK / "diagnosis.json")


@pytest.fixture(scope="module")
def done(prepared, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("done") / "checkout"
    shutil.copytree(prepared, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, ran(folder)


def predictions(folder: Path) -> dict[str, np.ndarray]:
    """Name -> (S, N) predictions of every file that the stage wrote."""
    files = (folder / "outputs" / BENCHMARK / "paco/diagnosis").iterdir()
    return {
        file.name.removesuffix(".predictions.safetensors"): by_seed(
            read_table(file), "paper"
        )[0]
        for file in files
    }


def test_predictions_of_the_ladders_and_of_what_was_found_are_written(done) -> None:
    folder, found = done
    written = predictions(folder)
    rates = [f"{one['lr']:g}" for one in found["ladders"]]
    assert rates[0] == "0.01"
    assert set(written) == {
        *("head", "refitted", "plain", "published", "chosen"),
        *(f"ladder-{lr}-{name}" for lr in rates for name in (*RUNGS, "untrained")),
    }
    assert all(some.shape == (3, 80) for some in written.values())
    assert written["head"].tolist() == written["ladder-0.01-split"].tolist()
    assert written["published"].tolist() == written["ladder-0.01-drawn"].tolist()
    labels = np.repeat(np.arange(4), 20)
    for one in found["methods"]:
        share = (written[one["name"]] == labels).mean()
        assert one["test"]["overall"]["mean"] == pytest.approx(share)


def test_all_that_was_tried_is_counted(done) -> None:
    _, found = done
    # lr, depth, five of the classifiers, two readings of sigma; 2 rates from 2 starts.
    assert len(found["factors"]) == 9
    assert found["tried"]["cascades"] >= 10
    assert found["tried"]["plain"] == 4
    assert found["settings"]["searched"] == [0, 1]
    assert "filter.num_clusters" in found["settings"]["overridden"]
    assert "filter.sigma" not in found["settings"]["overridden"]


def test_the_search_kept_nothing_that_validation_does_not_show(done) -> None:
    _, found = done
    worth = [found["steps"][0]["before"]] if found["steps"] else []
    for step in found["steps"]:
        assert step["before"] == pytest.approx(worth[-1])
        assert step["after"] > step["before"]
        worth.append(step["after"])
    base = found["methods"][3]
    assert base["name"] == "published"
    if worth:
        assert worth[0] == pytest.approx(np.mean(base["val"]["per_seed"][:2]))


def test_the_page_of_a_run_is_there(done) -> None:
    folder, found = done
    run = read_json(folder / record_of(NAME))
    text, _ = diagnosis_page(
        found | {"runs": [*found["runs"], run]}, "Places-LT", "figures"
    )
    assert text.startswith("> **Stand-in data.**")
    assert f"{found['tried']['cascades']} settings of the cascade" in text


def test_a_run_that_was_killed_goes_on_and_ends_the_same(
    done, prepared, tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    decide, calls = diagnosis.decide_as, []

    def killed(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return decide(*arguments)

    monkeypatch.setattr(diagnosis, "decide_as", killed)
    with pytest.raises(KeyboardInterrupt):
        ran(folder)
    assert not (folder / "outputs/tables" / BENCHMARK / "diagnosis.json").exists()
    again = []
    monkeypatch.setattr(
        diagnosis, "decide_as", lambda *some: again.append(some) or decide(*some)
    )
    found = ran(folder)
    assert found == done[1]
    assert {(some[0], some[-1]) for some in calls[:8]}.isdisjoint(
        (some[0], some[-1]) for some in again
    )
    assert not (folder / ".resume" / NAME).exists()


def test_filters_that_diverge_are_named_and_the_search_goes_on(
    prepared, tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    fit = diagnosis.fit_levels

    def diverging(splits, classes, settings, *rest):
        if settings.sigma > 0.4:
            raise BadInput("filter: the loss is not finite in epoch 1, step 1")
        return fit(splits, classes, settings, *rest)

    monkeypatch.setattr(diagnosis, "fit_levels", diverging)
    found = ran(folder)
    refused = {
        (one["factor"], round(one["value"], 3)): one["refused"]
        for one in found["factors"]
        if one["refused"]
    }
    assert refused == {("sigma", 0.949): 1.0, ("sigma", 0.548): 1.0}

    def broken(*_):
        raise BadInput("filter: the loss is not finite in epoch 1, step 1")

    monkeypatch.setattr(diagnosis, "fit_levels", broken)
    with pytest.raises(BadInput, match="the loss is not finite"):
        ran(folder)


def test_a_chosen_setting_that_diverges_under_a_later_seed_is_said_so(
    prepared, tmp_path, monkeypatch, capsys
) -> None:
    """The search saw seeds 0 and 1; under seed 2 the filters it chose diverge."""
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    fit = diagnosis.fit_levels

    def diverging(splits, classes, settings, cascade, seed, *rest):
        if settings.sigma > 0.4 and seed == 2:
            raise BadInput("filter: the loss is not finite in epoch 1, step 1")
        return fit(splits, classes, settings, cascade, seed, *rest)

    def chosen(base, others, score):
        score([base, *(one for _, one in diagnosis.one_at_a_time(base, others))])
        best = replace(base, sigma=max(others["sigma"]))
        return best, [Step("sigma", base.sigma, best.sigma, 0.5, 0.6)]

    monkeypatch.setattr(diagnosis, "fit_levels", diverging)
    monkeypatch.setattr(diagnosis, "search", chosen)
    found = ran(folder)
    refused = {one["name"]: one["refused"] for one in found["methods"]}
    assert refused.pop("chosen") == pytest.approx(1 / 3)
    assert set(refused.values()) == {0}
    written = predictions(folder)
    assert {name for name in written if len(written[name]) < 3} == {"chosen"}
    assert written["chosen"].shape == (2, 80)
    right = (written["chosen"] == np.repeat(np.arange(4), 20)).mean()
    method = found["methods"][4]
    assert method["test"]["overall"]["mean"] == pytest.approx(right * 2 / 3)
    run = read_json(folder / record_of(NAME))
    assert run["diverged"] == {"chosen": [2]}
    said = "chosen: its filters diverged under seeds 2, whose samples count as wrong"
    assert f"{NAME}: {said}" in capsys.readouterr().out
    text, _ = diagnosis_page(
        found | {"runs": [*found["runs"], run]}, "Places-LT", "figures"
    )
    assert "DLSA, chosen on validation" in text


@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_those_of_the_seeds_that_decided(seed) -> None:
    """Whichever seed it is under which the filters could not be fitted."""
    labels = np.array([0, 0, 1, 1])
    decided = Tried(
        {"val": labels, "test": labels},
        np.array([0, 1, 0, 1], np.int32),
        [{"moved": 1.0}, {"moved": 1.0}],
    )
    nothing = np.full(4, -1, np.int32)
    refused = Tried({"val": nothing, "test": nothing}, nothing, [])
    one, other = setting_of(lr=1.0), setting_of(lr=2.0)
    results = {
        one: {0: decided, 1: decided} | {seed: refused},
        other: {0: decided, 1: decided},
    }
    answers = Answers(results, {"val": labels, "test": labels}, np.array([9, 9]))
    parts = answers.contributions(one, other)
    assert [part["share"] for part in parts] == [0.25, 0.25]
    assert answers.refused(one) == 0.5


def setting_of(lr: float) -> Setting:
    return Setting(lr, 1, 0.1, 0.05, 6, 1.0, 1.0, 1.0, 1.0)


def test_without_validation_samples_nothing_is_chosen(
    prepared, tmp_path, monkeypatch, refused
) -> None:
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    write_split(folder / "outputs" / BENCHMARK / "paco", "val", [0] * 4, 1)
    assert refused(lambda: ran(folder)) == [
        "diagnosis@places_lt: expected validation samples to choose settings on, got "
        "none; where the images allow it, data.validation_per_class holds some out"
    ]


def test_dvc_yaml_names_what_the_stage_reads_and_writes(done) -> None:
    folder, _ = done
    record = read_json(folder / record_of(NAME))
    definition = read_yaml(ROOT / "dvc.yaml")["stages"]["diagnosis"]["do"]

    def named(kind: str) -> set[str]:
        return {one.replace("${item}", BENCHMARK) for one in definition[kind]}

    data = {dep for dep in named("deps") if dep.startswith("outputs/")}
    assert set(record["inputs"]) == data
    read = {
        key if key in named("params") else key.split(".")[0] for key in record["params"]
    }
    assert read == named("params")
    assert all((folder / out).exists() for out in named("outs"))
