"""Settings: null is the published recipe, and what cannot be is one line."""

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from pydantic import ValidationError
from ruamel.yaml import YAML

from replication.core.files import read_json, read_yaml
from replication.core.settings import (
    BENCHMARKS,
    LISTS,
    PUBLISHED,
    BackboneSettings,
    CascadeSettings,
    ClassifierSettings,
    DecouplingSettings,
    Fig2Settings,
    FilterSettings,
    HeadSettings,
    PacoSettings,
    Settings,
    load,
    read_published_tables,
    read_recipe,
)

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "params.yaml"
DOORS = ("images", "checkpoint", "features")


class _Gone:
    """Stands for a key that is taken out."""

    def __repr__(self) -> str:
        return "gone"


GONE = _Gone()

Changes = Mapping[str, Any]
LoadWith = Callable[[Changes], Settings]


@lru_cache
def shipped() -> dict[str, Any]:
    return read_yaml(SHIPPED)


def changed(changes: Changes) -> dict[Any, Any]:
    """The shipped settings with changes by dotted key; GONE takes a key out."""
    params = copy.deepcopy(shipped())
    for key, value in changes.items():
        *sections, name = key.split(".") if isinstance(key, str) else [key]
        place = params
        for section in sections:
            place = place[section]
        if value is GONE:
            del place[name]
        else:
            place[name] = value
    return params


def write(path: Path, params: Any) -> Path:
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    return path


@pytest.fixture
def load_with(tmp_path: Path) -> LoadWith:
    return lambda changes: load(write(tmp_path / "params.yaml", changed(changes)))


def all_inputs(folder: Path) -> Changes:
    """A folder of images for every benchmark: none is a stand-in."""
    return {f"inputs.{benchmark}.images": str(folder) for benchmark in BENCHMARKS}


# --- what is shipped


def test_shipped_settings_load() -> None:
    settings = load(SHIPPED)
    assert settings.seeds() == tuple(shipped()["seeds"])
    assert all(settings.is_stand_in(benchmark) for benchmark in BENCHMARKS)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_shipped_settings_give_every_section(benchmark) -> None:
    settings = load(SHIPPED)
    assert settings.data(benchmark).stand_in
    assert settings.backbone(benchmark).pretrained is None
    assert settings.paco(benchmark).query_view == "glyph"
    assert settings.decoupling(benchmark).inputs == "features"
    for section in ("head", "filter", "cascade", "classifier", "fig2", "images"):
        assert getattr(settings, section)(benchmark)
    assert settings.sweep().sigmas and settings.estimator().etas
    assert settings.machine(benchmark, "ce").device == shipped()["device"]


def test_sections_are_frozen() -> None:
    section = load(SHIPPED).filter("places_lt")
    with pytest.raises(ValidationError):
        section.lambda_pure = 1.0


def test_reads_are_noted() -> None:
    settings = load(SHIPPED)
    settings.filter("places_lt")
    top = {"lambda_mle", "lambda_bal", "lambda_pure", "num_clusters", "sigma"}
    finer = {"eta", "weight_exponent", "lr", "batch_size", "epochs"}
    assert settings.keys_read == top | {f"filter.{name}" for name in finer}


# What README and params.yaml tell a user to type after `-S`.
OVERRIDES = (
    ["lambda_pure=0.3"],
    ["inputs.places_lt.features=/tmp"],
    ["inputs.inat18.checkpoint={ce: /tmp/a, paco: /tmp/b}"],
    ["data.imbalance_factor=50", "backbone.network=resnet50", "devices=4"],
    *([f"{name}=[]"] for name in LISTS[1:] if shipped()[name]),
    [f"{name}=[own]" for name in LISTS],
)


@pytest.mark.parametrize("overrides", OVERRIDES, ids=str)
def test_an_override_by_dvc_changes_its_own_lines_alone(tmp_path, overrides) -> None:
    """DVC rewrites the whole file; it must stay YAML, and all else as it was."""
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text())
    apply_overrides(path, overrides)
    changed_keys = {override.split("=")[0].split(".")[0] for override in overrides}
    after, before = read_yaml(path), shipped()
    assert {key for key in before if after[key] != before[key]} == changed_keys
    lines = [set(file.read_text().splitlines()) for file in (path, SHIPPED)]
    assert len(lines[1] - lines[0]) <= 1 + 2 * len(overrides)


# --- what cannot be

KNOWN = "expected a known setting, got this one"
NOTHING = "expected a value or null, got nothing"
BY_NAME = "expected settings by name"
WHOLE = "expected a whole number"

MALFORMED: list[tuple[Changes, list[str]]] = [
    # keys
    ({"lamda_pure": 1}, [f"lamda_pure: {KNOWN}; did you mean lambda_pure?"]),
    ({"zzz": 1}, [f"zzz: {KNOWN}"]),
    ({"int": 1}, [f"int: {KNOWN}; did you mean inputs?"]),
    ({"function_lr": 1}, [f"function_lr: {KNOWN}"]),
    ({"backbone.str": 1}, [f"backbone.str: {KNOWN}"]),
    ({"backbone.epoch": 1}, [f"backbone.epoch: {KNOWN}; did you mean epochs?"]),
    ({"inputs.own.image": "x"}, [f"inputs.own.image: {KNOWN}; did you mean images?"]),
    (
        {"inputs.place_lt": dict.fromkeys(DOORS)},
        [f"inputs.place_lt: {KNOWN}; did you mean places_lt?"],
    ),
    ({1: 2}, [f"1: {KNOWN}"]),
    ({"lambda_mle": GONE}, [f"lambda_mle: {NOTHING}"]),
    ({"backbone": GONE}, [f"backbone: {NOTHING}"]),
    ({"backbone.lr": GONE}, [f"backbone.lr: {NOTHING}"]),
    ({"inputs.own.images": GONE}, [f"inputs.own.images: {NOTHING}"]),
    (
        {"inputs.own": GONE},
        ["inputs.own: expected images, checkpoint and features, got nothing"],
    ),
    (
        {"inputs": {}},
        [
            f"inputs.{benchmark}: expected images, checkpoint and features, got nothing"
            for benchmark in BENCHMARKS
        ],
    ),
    # containers
    ({"inputs": []}, [f"inputs: {BY_NAME}, got []"]),
    ({"inputs": None}, [f"inputs: {BY_NAME}, got None"]),
    ({"inputs.own": None}, [f"inputs.own: {BY_NAME}, got None"]),
    ({"backbone": [1]}, [f"backbone: {BY_NAME}, got [1]"]),
    ({"filter": "fast"}, [f"filter: {BY_NAME}, got 'fast'"]),
    ({"data.mean": 0.5}, ["data.mean: expected a list, got 0.5"]),
    ({"data.mean": [0.5]}, ["data.mean: expected 3 values, got [0.5]"]),
    (
        {"data.mean": [0.1, 0.2, 0.3, 0.4]},
        ["data.mean: expected 3 values, got [0.1, 0.2, 0.3, 0.4]"],
    ),
    ({"data.std": ["a", 0.1, 0.1]}, ["data.std.0: expected a number, got 'a'"]),
    # numbers
    ({"lambda_mle": -1}, ["lambda_mle: expected a number of at least 0.0, got -1"]),
    ({"lambda_bal": -0.5}, ["lambda_bal: expected a number of at least 0.0, got -0.5"]),
    ({"lambda_pure": math.nan}, ["lambda_pure: expected a finite number, got nan"]),
    ({"lambda_mle": math.inf}, ["lambda_mle: expected a finite number, got inf"]),
    ({"lambda_mle": True}, ["lambda_mle: expected a number, got True"]),
    ({"lambda_mle": "0.1"}, ["lambda_mle: expected a number, got '0.1'"]),
    ({"lambda_mle": [1]}, ["lambda_mle: expected a number, got [1]"]),
    ({"num_clusters": 0}, ["num_clusters: expected a number of at least 1, got 0"]),
    ({"num_clusters": 2.5}, [f"num_clusters: {WHOLE}, got 2.5"]),
    ({"num_clusters": True}, [f"num_clusters: {WHOLE}, got True"]),
    ({"num_clusters": "500"}, [f"num_clusters: {WHOLE}, got '500'"]),
    ({"sigma": 0}, ["sigma: expected a number above 0.0, got 0"]),
    ({"backbone.lr": math.nan}, ["backbone.lr: expected a finite number, got nan"]),
    (
        {"backbone.momentum": 1},
        ["backbone.momentum: expected a number below 1.0, got 1"],
    ),
    (
        {"backbone.weight_decay": -0.1},
        ["backbone.weight_decay: expected a number of at least 0.0, got -0.1"],
    ),
    (
        {"backbone.batch_size": 0},
        ["backbone.batch_size: expected a number of at least 1, got 0"],
    ),
    ({"filter.eta": 1.0}, ["filter.eta: expected a number below 1.0, got 1.0"]),
    (
        {"filter.batch_size": 1},
        ["filter.batch_size: expected a number of at least 2, got 1"],
    ),
    ({"cascade.depth": 0}, ["cascade.depth: expected a number of at least 1, got 0"]),
    (
        {"cascade.leaving_share": 1.0},
        ["cascade.leaving_share: expected a number below 1.0, got 1.0"],
    ),
    (
        {"cascade.leaving_share": 0},
        ["cascade.leaving_share: expected a number above 0.0, got 0"],
    ),
    (
        {"data.imbalance_factor": 0.5},
        ["data.imbalance_factor: expected a number of at least 1.0, got 0.5"],
    ),
    (
        {"data.imbalance_factor": math.inf},
        ["data.imbalance_factor: expected a finite number, got inf"],
    ),
    ({"data.seed": None}, [f"data.seed: {WHOLE}, got None"]),
    (
        {"stand_in.num_classes": 2},
        ["stand_in.num_classes: expected a number of at least 3, got 2"],
    ),
    ({"stand_in.epochs": None}, [f"stand_in.epochs: {WHOLE}, got None"]),
    # lists
    ({"seeds": []}, ["seeds: expected at least 1 value, got []"]),
    ({"seeds": [1, 2, 1]}, ["seeds: expected each once, got [1, 2, 1]"]),
    ({"seeds": 3}, ["seeds: expected a list, got 3"]),
    ({"seeds": None}, ["seeds: expected a list, got None"]),
    ({"seeds": [0, 0.5]}, [f"seeds.1: {WHOLE}, got 0.5"]),
    ({"seeds": [-1]}, ["seeds.0: expected a number of at least 0, got -1"]),
    ({"seeds": [True]}, [f"seeds.0: {WHOLE}, got True"]),
    ({"seeds": [2**31]}, [f"seeds.0: expected a number below {2**31}, got {2**31}"]),
    (
        {"ablation": ["places"]},
        [
            "ablation.0: expected 'imagenet_lt', 'places_lt', 'inat18', 'cifar100_lt' "
            "or 'own', got 'places'"
        ],
    ),
    ({"ablation": "places_lt"}, ["ablation: expected a list, got 'places_lt'"]),
    (
        {"ablation": ["inat18", "inat18"]},
        ["ablation: expected each once, got ['inat18', 'inat18']"],
    ),
    (
        {"ablation": ["own"]},
        [
            "ablation: expected benchmarks out of benchmarks: ['inat18', 'places_lt'], "
            "got own"
        ],
    ),
    (
        {"benchmarks": ["own"], "comparison": [], "ablation": []}
        | {"confusion": [], "selection": [], "separation": []},
        [
            "inputs.own: expected images or features, since benchmarks lists own, "
            "got null"
        ],
    ),
    ({"benchmarks": []}, ["benchmarks: expected at least 1 value, got []"]),
    (
        {"inputs.own.features": {"ce": "/tmp", "paco": None}},
        [
            "inputs.own.features.paco: expected a folder, since the other objective's "
            "features are given, got null"
        ],
    ),
    (
        {"paco.query_view": "strong"},
        [
            "paco.query_view: expected 'randcls', 'sim', 'cifar_strong', 'cifar_sim' "
            "or 'glyph', got 'strong'"
        ],
    ),
    (
        {"fig2.probabilities": [0.4]},
        ["fig2.probabilities.0: expected a number of at least 0.5, got 0.4"],
    ),
    (
        {"inputs.own.checkpoint": 5},
        ["inputs.own.checkpoint: expected text, or a text each for ce and paco, got 5"],
    ),
    (
        {"inputs.own.checkpoint": {"ce": 5, "paco": None}},
        ["inputs.own.checkpoint.ce: expected text, got 5"],
    ),
    (
        {"inputs.own.features": {"ce": None}},
        [f"inputs.own.features.paco: {NOTHING}"],
    ),
    # words
    ({"device": "gpu"}, ["device: expected auto, cpu, cuda or cuda:N, got 'gpu'"]),
    (
        {"device": "cuda:x"},
        ["device: expected auto, cpu, cuda or cuda:N, got 'cuda:x'"],
    ),
    ({"device": None}, ["device: expected text, got None"]),
    ({"device": 0}, ["device: expected text, got 0"]),
    ({"devices": 0}, ["devices: expected a number of at least 1, got 0"]),
    (
        {"backbone.precision": "64"},
        [
            "backbone.precision: expected '32-true', '16-mixed' or 'bf16-mixed', "
            "got '64'"
        ],
    ),
    (
        {"backbone.schedule": "linear"},
        ["backbone.schedule: expected 'cosine' or 'steps', got 'linear'"],
    ),
    (
        {"backbone.augmentation": "randaug"},
        [
            "backbone.augmentation: expected 'cifar', 'imagenet' or 'none', "
            "got 'randaug'"
        ],
    ),
    ({"backbone.network": 5}, ["backbone.network: expected text, got 5"]),
    ({"inputs.own.images": 5}, ["inputs.own.images: expected text, got 5"]),
    # several at once
    (
        {"lambda_mle": -1, "backbone.epoch": 3, "seeds": GONE},
        [
            "lambda_mle: expected a number of at least 0.0, got -1",
            f"seeds: {NOTHING}",
            f"backbone.epoch: {KNOWN}; did you mean epochs?",
        ],
    ),
]


@pytest.mark.parametrize(
    ("changes", "lines"), MALFORMED, ids=[str(changes) for changes, _ in MALFORMED]
)
def test_malformed_setting_is_one_line(
    load_with, tmp_path, refused, changes, lines
) -> None:
    path = tmp_path / "params.yaml"
    assert refused(lambda: load_with(changes)) == [f"{path}: {line}" for line in lines]


@pytest.mark.parametrize("value", ["many", -1, 1.5, None, True, [1]])
def test_wrong_number_of_workers_is_one_line(
    load_with, tmp_path, refused, value
) -> None:
    """One wrong value of two allowed kinds is still one wrong value."""
    (problem,) = refused(lambda: load_with({"backbone.workers": value}))
    path = tmp_path / "params.yaml"
    assert problem.startswith(f"{path}: backbone.workers: expected ")
    assert problem.endswith(f", got {value!r}")
    assert "auto" in problem and "number" in problem


@pytest.mark.parametrize("value", ["auto", 0, 3])
def test_right_number_of_workers_loads(load_with, value) -> None:
    assert load_with({"backbone.workers": value}).workers() == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.mean", [123.675, 116.28, 103.53]),
        ("data.std", [58.395, 57.12, 57.375]),
        ("inputs.own.images", ""),
        ("inputs.own.images", "~nobody-of-this-name/images"),
    ],
)
def test_impossible_value_is_one_line(load_with, tmp_path, refused, key, value) -> None:
    """Colours are in 0..1; an empty path and a user that is not there are none."""
    problems = refused(lambda: load_with({key: value}))
    path = tmp_path / "params.yaml"
    assert all(problem.startswith(f"{path}: {key}") for problem in problems)


def test_black_is_a_possible_mean(load_with) -> None:
    settings = load_with({"data.mean": [0.0, 0.0, 0.0]})
    assert settings.backbone("places_lt").mean == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("door", "wanted", "there"),
    [
        ("images", "a folder", "a file"),
        ("images", "a folder", "nothing"),
        ("features", "a folder", "a file"),
        ("features", "a folder", "nothing"),
        ("checkpoint", "a file", "a folder"),
        ("checkpoint", "a file", "nothing"),
    ],
)
def test_input_that_is_not_there_is_one_line(
    load_with, tmp_path, refused, door, wanted, there
) -> None:
    place = tmp_path / "place"
    if there == "a file":
        place.write_text("x")
    if there == "a folder":
        place.mkdir()
    key = f"inputs.inat18.{door}"
    assert refused(lambda: load_with({key: str(place)})) == [
        f"{tmp_path / 'params.yaml'}: {key}: expected {wanted} that exists, "
        f"got {str(place)!r}"
    ]


def test_only_cifar_has_a_download(load_with, tmp_path, refused) -> None:
    settings = load_with({"inputs.cifar100_lt.images": "torchvision"})
    assert settings.data("cifar100_lt").images == "torchvision"
    assert refused(lambda: load_with({"inputs.inat18.images": "torchvision"})) == [
        f"{tmp_path / 'params.yaml'}: inputs.inat18.images: expected a folder that "
        "exists, got 'torchvision'"
    ]


def test_checkpoint_without_images_is_one_line(load_with, tmp_path, refused) -> None:
    """A network without images to apply it to makes no features."""
    weights = tmp_path / "weights.pt"
    weights.write_text("x")
    (problem,) = refused(lambda: load_with({"inputs.inat18.checkpoint": str(weights)}))
    assert problem.startswith(f"{tmp_path / 'params.yaml'}: inputs.inat18")


@pytest.mark.parametrize(
    ("text", "got"), [("", "None"), ("[]\n", "[]"), ("3\n", "3"), ("all\n", "'all'")]
)
def test_file_that_holds_no_settings_is_one_line(tmp_path, refused, text, got) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert refused(lambda: load(path)) == [
        f"{path}: expected settings by name, got {got}"
    ]


def test_file_that_is_no_yaml_is_one_line(tmp_path, refused) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: [\n")
    (problem,) = refused(lambda: load(path))
    assert problem.startswith(f"{path}: expected YAML, got ")


def test_missing_file_is_one_line(tmp_path, refused) -> None:
    path = tmp_path / "params.yaml"
    assert refused(lambda: load(path)) == [f"{path}: expected a file, found nothing"]


# --- precedence


def recipe_values(benchmark: str, section: str, names: Any) -> dict[str, Any]:
    recipe = read_recipe(benchmark)[section]
    return {name: recipe[name]["value"] for name in names}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_null_means_the_published_recipe(load_with, tmp_path, benchmark) -> None:
    settings = load_with(all_inputs(tmp_path))
    for kind, section in (
        (HeadSettings, "head"),
        (FilterSettings, "filter"),
        (CascadeSettings, "cascade"),
        (ClassifierSettings, "classifier"),
        (DecouplingSettings, "decoupling"),
        (Fig2Settings, "fig2"),
    ):
        got = getattr(settings, section)(benchmark).model_dump()
        assert got == recipe_values(benchmark, section, kind.model_fields)
    got = settings.paco(benchmark).model_dump()
    names = set(PacoSettings.model_fields) & set(read_recipe(benchmark)["paco"])
    assert {name: got[name] for name in names} == recipe_values(
        benchmark, "paco", names
    )
    got = settings.backbone(benchmark).model_dump()
    assert got.pop("seed") == shipped()["backbone"]["seed"]
    expected: dict[str, Any] = {}
    for section in ("data", "backbone", "ce"):
        names = set(read_recipe(benchmark)[section]) & set(
            BackboneSettings.model_fields
        )
        expected |= recipe_values(benchmark, section, names)
    assert got == expected
    data = settings.data(benchmark).model_dump()
    names = ("image_size", "resize", "imbalance_factor", "validation_per_class")
    assert {name: data[name] for name in names} == recipe_values(
        benchmark, "data", names
    )
    assert not data["stand_in"]


@pytest.mark.parametrize(
    ("benchmark", "origin"), [("places_lt", "published"), ("inat18", "overridden")]
)
def test_an_override_with_the_published_value_is_none(
    load_with, benchmark, origin
) -> None:
    """0.03 is what print has for Places-LT, and not for iNaturalist 2018."""
    settings = load_with({"lambda_pure": 0.03})
    choice = settings.choices(benchmark, "filter", ("lambda_pure",))["lambda_pure"]
    assert (choice.value, choice.origin) == (0.03, origin)


def test_override_wins_over_the_published_recipe(load_with, tmp_path) -> None:
    changes = {"lambda_pure": 0.5, "backbone.epochs": 7, "data.image_size": 96}
    settings = load_with({**all_inputs(tmp_path), **changes})
    for benchmark in BENCHMARKS:
        assert settings.filter(benchmark).lambda_pure == 0.5
        assert settings.backbone(benchmark).epochs == 7
        assert settings.data(benchmark).image_size == 96
        assert settings.backbone(benchmark).image_size == 96


def test_it_is_noted_which_overrides_are_prints_own_values(load_with) -> None:
    """0.03 is printed for Places-LT alone."""
    settings = load_with({"lambda_pure": 0.03, "filter.eta": 0.9})
    settings.filter("places_lt")
    assert settings.as_recipe == {"lambda_pure": True, "filter.eta": False}
    settings.filter("inat18")
    assert settings.as_recipe == {"lambda_pure": False, "filter.eta": False}
    settings.filter("places_lt")
    assert not settings.as_recipe["lambda_pure"]


def test_stand_in_wins_over_the_published_recipe_but_not_over_an_override(
    load_with,
) -> None:
    scale = shipped()["stand_in"]
    settings = load_with({"backbone.lr": 0.125})
    backbone = settings.backbone("places_lt")
    assert backbone.network == scale["network"]
    assert backbone.epochs == scale["epochs"]
    assert backbone.image_size == backbone.resize == scale["image_size"]
    assert backbone.pretrained is None
    assert backbone.lr == 0.125


def test_one_input_makes_one_benchmark_real(load_with, tmp_path) -> None:
    settings = load_with({"inputs.places_lt.images": str(tmp_path)})
    assert not settings.is_stand_in("places_lt")
    assert settings.is_stand_in("imagenet_lt")
    assert settings.backbone("places_lt").network == "resnet152"


def test_a_door_serves_every_objective_or_each_its_own(load_with, tmp_path) -> None:
    """Cached features of both kinds; then neither cRT nor Fig. 2 has images."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one = load_with({"inputs.own.features": str(tmp_path / "a")})
    assert one.features("own", "ce") == one.features("own", "paco") == tmp_path / "a"
    both = {"ce": str(tmp_path / "a"), "paco": str(tmp_path / "b")}
    two = load_with({"inputs.own.features": both})
    assert two.features("own", "ce") == tmp_path / "a"
    assert two.features("own", "paco") == tmp_path / "b"
    assert two.decoupling("own").inputs == two.fig2("own").inputs == "features"
    assert one.checkpoint("own", "ce") is None


def test_row_wins_over_an_override(load_with) -> None:
    settings = load_with({"lambda_pure": 0.5, "num_clusters": 7})
    rows = read_published_tables()["table2"].rows
    full = settings.filter("places_lt", rows["full"])
    no_pure = settings.filter("places_lt", rows["no_pure"])
    clusters = settings.filter("places_lt", rows["clusters_300"])
    assert (full.lambda_pure, full.num_clusters) == (0.5, 7)
    assert (no_pure.lambda_pure, no_pure.num_clusters) == (0.0, 7)
    assert (clusters.lambda_pure, clusters.num_clusters) == (0.5, 300)


def test_every_row_changes_what_it_says_and_nothing_else() -> None:
    settings = load(SHIPPED)
    plain = settings.filter("places_lt").model_dump()
    for row in read_published_tables()["table2"].rows.values():
        got = settings.filter("places_lt", row).model_dump()
        assert got == plain | dict(row.changes)


def test_origins(load_with) -> None:
    settings = load_with({"lambda_bal": 5.0, "backbone.epochs": 7})
    row = read_published_tables()["table2"].rows["no_pure"]
    names = ("lambda_pure", "lambda_bal", "lambda_mle", "lr")
    choices = settings.choices("places_lt", "filter", names, row)
    described = {
        name: (choice.value, choice.published, choice.origin, choice.source)
        for name, choice in choices.items()
    }
    assert described == {
        "lambda_pure": (0.0, 0.03, "row", "row w/o L_pure"),
        "lambda_bal": (5.0, 2.0, "overridden", "Sect. 5"),
        "lambda_mle": (
            1.0,
            1.0,
            "published",
            "released code (the supplement is silent)",
        ),
        "lr": (0.1, 0.1, "published", "Sect. 5 (released code: 0.2)"),
    }
    training = settings.choices("places_lt", "ce", ("epochs", "lr", "momentum"))
    assert [choice.origin for choice in training.values()] == [
        "overridden",
        "stand-in",
        "guess",
    ]
    assert training["lr"].value == shipped()["stand_in"]["lr"]
    pretrained = settings.choices("places_lt", "backbone", ("pretrained",))
    assert pretrained["pretrained"].value is None
    assert pretrained["pretrained"].published == "resnet152.tv_in1k"
    assert pretrained["pretrained"].origin == "stand-in"


# --- what is published


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_entry_of_a_recipe_has_value_and_source(benchmark) -> None:
    recipe = read_recipe(benchmark)
    assert isinstance(recipe.pop("title"), str)
    assert isinstance(recipe.pop("classes"), int | None)
    for section, entries in recipe.items():
        for name, entry in entries.items():
            assert set(entry) == {"value", "source"}, f"{section}.{name}"
            assert isinstance(entry["source"], str) and entry["source"].strip()


def test_recipes_have_the_same_settings() -> None:
    shapes = [
        {
            (section, name)
            for section, entries in read_recipe(benchmark).items()
            if section not in ("title", "classes")
            for name in entries
        }
        for benchmark in BENCHMARKS
    ]
    assert all(shape == shapes[0] for shape in shapes)


# Sect. 5; where it is silent, facts/field.md: released code.
SECTION_5 = {
    "imagenet_lt": ("resnet50", None, 0.2, 1024, 50, 2, 1, 0.02, 3),
    "places_lt": ("resnet152", "resnet152.tv_in1k", 0.1, 512, 60, 1, 2, 0.03, 1),
    "inat18": ("resnet50", "resnet50.tv_in1k", 0.2, 1024, 30, 1, 1, 0.05, 3),
}


@pytest.mark.parametrize("benchmark", SECTION_5)
def test_recipe_is_that_of_section_5(load_with, tmp_path, benchmark) -> None:
    settings = load_with(all_inputs(tmp_path))
    backbone = settings.backbone(benchmark)
    flow = settings.filter(benchmark)
    cascade = settings.cascade(benchmark)
    assert SECTION_5[benchmark] == (
        backbone.network,
        backbone.pretrained,
        flow.lr,
        flow.batch_size,
        flow.epochs,
        flow.lambda_mle,
        flow.lambda_bal,
        flow.lambda_pure,
        cascade.depth,
    )
    assert (flow.num_clusters, flow.sigma) == (500, 0.05)
    assert (flow.eta, flow.weight_exponent) == (0.7, 2)
    assert cascade.leaving_share == 0.3
    classifier = settings.classifier(benchmark)
    assert (classifier.lr, classifier.batch_size, classifier.epochs) == (1e-4, 128, 150)


# facts/field.md, section 1: epochs, warm-up, lr, weight decay, batch, queue, ...
# projection, T, alpha.
PACO = {
    "imagenet_lt": (400, 10, 0.02, 5e-4, 128, 8192, 128, 0.2, 0.05),
    "inat18": (400, 10, 0.02, 1e-4, 128, 8192, 128, 0.2, 0.05),
    "places_lt": (30, 5, 0.02, 5e-4, 128, 8192, 128, 0.2, 0.05),
    "cifar100_lt": (400, 10, 0.05, 5e-4, 128, 1024, 32, 0.05, 0.01),
}


@pytest.mark.parametrize("benchmark", PACO)
def test_recipe_is_that_of_paco(benchmark) -> None:
    recipe = read_recipe(benchmark)["paco"]
    names = (
        "epochs",
        "warmup_epochs",
        "lr",
        "weight_decay",
        "batch_size",
        "queue_size",
        "projection_dim",
        "temperature",
        "alpha",
    )
    assert tuple(recipe[name]["value"] for name in names) == PACO[benchmark]
    assert recipe["key_momentum"]["value"] == 0.999
    assert recipe["schedule"]["value"] == (
        "steps" if benchmark == "cifar100_lt" else "cosine"
    )


def printed_table(text: str, number: int) -> dict[str, dict[str, float | None]]:
    """A table of the supplement: label without references -> metric -> percent."""
    lines = text.splitlines()
    caption = next(i for i, x in enumerate(lines) if x.startswith(f"Table {number}:"))
    rows = []
    for line in lines[caption + 1 :]:
        if rows and not line.startswith("|"):
            break
        if line.startswith("|") and not set(line) <= set("|-: "):
            rows.append([bare(cell) for cell in line.strip("|").split("|")])
    header = [name.lower() for name in rows[0][1:]]
    return {
        label: {
            metric: None if cell == "-" else float(cell)
            for metric, cell in zip(header, cells, strict=True)
        }
        for label, *cells in rows[1:]
    }


def bare(cell: str) -> str:
    """A cell without bold, references, TeX and blanks."""
    cell = re.sub(r"</?b>|\[\d+\]|\$|\s", "", cell)
    return re.sub(r"\\mathcal\{L\}_\{(\w+)\}", r"L_\1", cell)


@pytest.mark.parametrize("number", [1, 2])
def test_published_table_is_the_printed_one(shared, number) -> None:
    printed = printed_table((shared / "paper" / "supplement.md").read_text(), number)
    table = read_published_tables()[f"table{number}"]
    ours = {bare(row.label): dict(row.values) for row in table.rows.values()}
    assert ours == printed
    assert list(ours) == list(printed)
    assert all(tuple(row) == table.metrics for row in ours.values())


def test_published_class_counts_are_the_facts(shared) -> None:
    facts = json.loads((shared / "facts" / "class_count_histograms.json").read_text())
    ours = json.loads((PUBLISHED / "class_counts.json").read_text())
    for benchmark, entry in ours.items():
        assert entry["histogram"] == facts[benchmark]["histogram"]


def test_published_numbers_of_classes_are_those_of_the_published_counts() -> None:
    counts = read_json(PUBLISHED / "class_counts.json")
    for benchmark, published in counts.items():
        assert read_recipe(benchmark)["classes"] == published["classes"]
