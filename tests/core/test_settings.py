"""Settings: null is the published recipe, and what cannot be is one line."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from replication.core.files import read_yaml
from replication.core.scaling import Size
from replication.core.settings import (
    BENCHMARKS,
    LISTS,
    STAND_IN,
    PacoSettings,
    Settings,
    load,
    read_recipe,
)
from replication.published.reader import read_published_tables
from tests.made import write_params

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "params.yaml"
SMALL = Size(10_847, 64)  # CIFAR-100-LT, imbalance factor 100, ResNet-32


Changes = Mapping[str, Any]
LoadWith = Callable[[Changes], Settings]


@pytest.fixture
def load_with(tmp_path: Path) -> LoadWith:
    """The shipped settings with changes by dotted key."""

    def call(changes: Changes) -> Settings:
        (tmp_path / "params.yaml").unlink(missing_ok=True)
        return load(write_params(tmp_path, changes))

    return call


def all_inputs(folder: Path) -> Changes:
    """A folder of images for every benchmark: none is a stand-in."""
    return {f"inputs.{benchmark}.images": str(folder) for benchmark in BENCHMARKS}


# --- what is shipped


def test_shipped_settings_load() -> None:
    settings = load(SHIPPED)
    assert settings.seeds() == tuple(read_yaml(SHIPPED)["seeds"])
    for benchmark in BENCHMARKS:
        assert settings.is_stand_in(benchmark) != settings.is_shipped(benchmark)


# --- what cannot be

KNOWN = "expected a known setting, got this one"
NOTHING = "expected a value or null, got nothing"

# What is ours to say, and two of pydantic's; that every setting has its line is
# tests/bad_input's.
MALFORMED: list[tuple[Changes, list[str]]] = [
    ({"lamda_pure": 1}, [f"lamda_pure: {KNOWN}; did you mean lambda_pure?"]),
    ({1: 2}, [f"1: {KNOWN}"]),
    (
        {"inputs.own.features": {"ce": "/tmp"}},
        ["inputs.own.features.paco: expected a valid string, got None"],
    ),
    (
        {"machine.device": "gpu"},
        [
            "machine.device: expected auto, cpu, cuda, or a GPU such as cuda:0, got "
            "'gpu'"
        ],
    ),
    ({"recipe": "small"}, ["recipe: expected 'scaled' or 'verbatim', got 'small'"]),
    ({"view.mean": [0.5]}, ["view.mean: expected at least 3 items, got [0.5]"]),
    ({"num_clusters": 2.5}, ["num_clusters: expected a valid integer, got 2.5"]),
    ({"seeds": [1, 2, 1]}, ["seeds: expected each once, got [1, 2, 1]"]),
    (
        {"ablation": ["own"]},
        [
            "ablation: expected benchmarks out of benchmarks: ['cifar100_lt', "
            "'inat18'], got own"
        ],
    ),
    (
        {"benchmarks": ["own"]} | {name: [] for name in LISTS[1:]},
        [
            "inputs.own: expected images or features, since benchmarks lists own, "
            "got null"
        ],
    ),
    (
        {"inputs.own.checkpoint": 5},
        ["inputs.own.checkpoint: expected text, or a text each for ce and paco, got 5"],
    ),
    (
        {"inputs.own.images": "~nobody-of-this-name/x"},
        [
            "inputs.own.images: expected a folder that exists, "
            "got '~nobody-of-this-name/x'"
        ],
    ),
    (
        {"inputs.inat18.images": "torchvision"},
        ["inputs.inat18.images: expected a folder that exists, got 'torchvision'"],
    ),
    (
        {"backbone.pretrained": "no/such.pth"},
        [
            "backbone.pretrained: expected a timm weight name, or a file that exists, "
            "got 'no/such.pth'"
        ],
    ),
    (
        {"inputs.inat18.checkpoint": "/tmp"},
        ["inputs.inat18.checkpoint: expected a file that exists, got '/tmp'"],
    ),
    (
        {"inputs.own.checkpoint": str(SHIPPED)},
        [
            "inputs.own.images: expected a folder, since inputs.own.checkpoint needs "
            "images to turn into features, got null"
        ],
    ),
    (
        {"machine.workers": True},
        ["machine.workers: expected auto or a whole number of at least 0, got True"],
    ),
    (
        {"lambda_mle": -1, "ce.schedule": "linear", "backbone": ...},
        [
            "lambda_mle: expected greater than or equal to 0, got -1",
            f"backbone: {NOTHING}",
            "ce.schedule: expected 'cosine' or 'steps', got 'linear'",
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


def test_cifar_alone_has_a_download(load_with) -> None:
    settings = load_with({"inputs.cifar100_lt.images": "torchvision"})
    assert settings.data("cifar100_lt").images == "torchvision"


# --- precedence


SECTIONS = {
    "data": ("data", "view"),
    "backbone": ("backbone", "view", "ce"),
    "paco": ("backbone", "view", "paco"),
    **{name: (name,) for name in ("head", "filter", "cascade", "classifier", "fig2")},
    "decoupling": ("decoupling",),
    "extraction": ("extraction",),
}
AT_SIZE = ("filter", "classifier")


def section_of(settings: Settings, section: str, benchmark: str) -> dict[str, Any]:
    size = [SMALL] if section in AT_SIZE else []
    return getattr(settings, section)(benchmark, *size).model_dump()


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_null_means_the_recipe(load_with, tmp_path, benchmark, section) -> None:
    """Every value of a section that the recipe has is the recipe's, given an input."""
    settings = load_with(all_inputs(tmp_path) | {"recipe": "verbatim"})
    got = section_of(settings, section, benchmark)
    recipe = {
        name: setting["value"]
        for part in SECTIONS[section]
        for name, setting in read_recipe(benchmark)[part].items()
    }
    if recipe.get("from_scratch"):
        recipe["pretrained"] = None
    assert {name: got[name] for name in got.keys() & recipe} == {
        name: recipe[name] for name in got.keys() & recipe
    }
    seed_of = {"backbone": "backbone", "paco": "backbone", "data": "data"}.get(section)
    assert seed_of is None or got["seed"] == read_yaml(SHIPPED)[seed_of]["seed"]


@pytest.mark.parametrize("section", SECTIONS)
def test_null_means_the_stand_ins_recipe_where_there_is_no_input(section) -> None:
    got = section_of(load(SHIPPED), section, "places_lt")
    stand_in = read_recipe(STAND_IN)
    for part in SECTIONS[section]:
        for name, setting in read_recipe("places_lt")[part].items():
            if name in got:
                drawn = stand_in.get(part, {}).get(name, setting)
                assert got[name] == drawn["value"], f"{part}.{name}"


def test_decouple_starts_from_scratch_where_paco_does_not(load_with, tmp_path) -> None:
    """iNaturalist 2018: Table 1's other rows are of a network that was drawn."""
    settings = load_with(all_inputs(tmp_path))
    assert settings.paco("inat18").pretrained == "resnet50.tv_in1k"
    assert settings.backbone("inat18").pretrained is None
    assert settings.backbone("places_lt").pretrained == "resnet152.tv_in1k"
    changed = load_with(all_inputs(tmp_path) | {"ce.from_scratch": False})
    assert changed.backbone("inat18").pretrained == "resnet50.tv_in1k"


def test_pacos_published_rate_goes_with_the_batch(load_with, tmp_path) -> None:
    def paco(**changes: float) -> PacoSettings:
        keys = {f"paco.{name}": value for name, value in changes.items()}
        return load_with(all_inputs(tmp_path) | keys).paco("places_lt")

    published = paco()
    assert paco(batch_size=published.batch_size * 4).lr == published.lr * 4
    assert paco(batch_size=published.batch_size * 4, lr=0.3).lr == 0.3
    stand_in = load_with({"paco.batch_size": 64}).paco("places_lt")
    assert stand_in.lr == read_recipe(STAND_IN)["paco"]["lr"]["value"]


def test_departures_are_what_makes_it_another_experiment(load_with) -> None:
    changes = {
        "lambda_pure": 0.03,
        "filter.eta": 0.9,
        "machine.workers": 0,
        "seeds": [5],
    }
    settings = load_with(changes | {"backbone.seed": 3, "sweep.draws": 7})
    for benchmark in ("places_lt", "inat18"):
        settings.filter(benchmark, SMALL), settings.backbone(benchmark)
    settings.seeds(), settings.workers(), settings.sweep()
    assert settings.departures() == ["filter.eta", "lambda_pure"]


def test_it_is_noted_which_overrides_are_prints_own_values(load_with) -> None:
    """0.03 is printed for Places-LT alone."""
    settings = load_with({"lambda_pure": 0.03, "filter.eta": 0.9})
    settings.filter("places_lt", SMALL)
    assert settings.as_recipe == {"lambda_pure": True, "filter.eta": False}
    settings.filter("inat18", SMALL)
    assert settings.as_recipe == {"lambda_pure": False, "filter.eta": False}
    settings.filter("places_lt", SMALL)
    assert not settings.as_recipe["lambda_pure"]


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


def test_a_checkpoint_left_out_is_null(load_with, tmp_path) -> None:
    (tmp_path / "a.pth").touch()
    doors = {"images": str(tmp_path), "checkpoint": {"ce": str(tmp_path / "a.pth")}}
    own = load_with({"inputs.own": doors})
    assert own.checkpoint("own", "ce") == tmp_path / "a.pth"
    assert own.checkpoint("own", "paco") is None


def test_data_of_ones_own_is_called_by_its_folder(load_with, tmp_path) -> None:
    (tmp_path / "flowers").mkdir()
    folder = str(tmp_path / "flowers")
    settings = load_with({"inputs.own.images": folder, "inputs.inat18.images": folder})
    titles = [settings.title(name) for name in ("own", "inat18")]
    assert titles == ["flowers", read_recipe("inat18")["title"]]


def test_every_row_changes_what_it_says_and_nothing_else() -> None:
    settings = load(SHIPPED)
    plain = settings.filter("places_lt", SMALL).model_dump()
    for row in read_published_tables()["table2"].rows.values():
        got = settings.filter("places_lt", SMALL, row).model_dump()
        assert got == plain | dict(row.changes)


# --- at the size of the data


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_only_what_the_paper_has_no_settings_for_is_scaled(
    load_with, tmp_path, benchmark
) -> None:
    """Worked in test_scaling; a benchmark of the paper is as printed at any size."""
    printed = benchmark in SECTION_5
    used = {}
    for recipe in ("scaled", "verbatim"):
        settings = load_with(all_inputs(tmp_path) | {"recipe": recipe})
        flow, classifier = (
            settings.filter(benchmark, SMALL),
            settings.classifier(benchmark, SMALL),
        )
        used[recipe] = (flow.num_clusters, flow.sigma, classifier.lr)
        assert settings.recipe(benchmark) == ("published" if printed else recipe)
    assert used["verbatim"] == (500, 0.05, 1e-4)
    assert (used["scaled"] == used["verbatim"]) == printed
    assert printed or used["scaled"][0] == 47


def test_a_scaled_settings_source_is_its_arithmetic_and_an_override_wins(
    load_with,
) -> None:
    settings = load_with({"sigma": 0.05, "filter.batch_size": 96})
    settings.filter("cifar100_lt", SMALL)
    names = ("num_clusters", "sigma", "batch_size", "eta")
    chosen = settings.choices("cifar100_lt", "filter", names, size=SMALL)
    assert [choice.origin for choice in chosen.values()] == [
        *("scaled", "overridden", "scaled", "guess")
    ]
    clusters = chosen["num_clusters"]
    assert (clusters.value, clusters.published) == (47, 500)
    assert clusters.source == "scaled: 500 x 10,847 / 115,846"
    assert settings.departures() == ["sigma"]
    assert settings.origins["filter.sigma"] == "overridden"


def test_what_cached_features_leave_no_use_for_is_no_setting_of_a_run(
    load_with, tmp_path
) -> None:
    """So that it counts neither as a guess nor among the settings."""
    for door, used in (("images", True), ("features", False)):
        settings = load_with({f"inputs.own.{door}": str(tmp_path)})
        settings.data("own"), settings.images("own"), settings.head("own")
        assert ("view.mean" in settings.origins) == used
        assert ("data.validation_per_class" in settings.origins) == used
        assert settings.origins["head.lr"] == "guess"


# Table 2's clusters, by hand: 47 x 300 / 500 = 28.2, 47 x 1000 / 500 = 94; of 100 in
# params.yaml 60 and 200; of 2, the fewest, 300 / 500 is 1.2.
ROWS = [
    ({}, SMALL, (28, 94)),
    ({"recipe": "verbatim"}, SMALL, (300, 1000)),
    ({"num_clusters": 100}, SMALL, (60, 200)),
    ({}, Size(300, 64), (2, 4)),
]


@pytest.mark.parametrize(("changes", "size", "expected"), ROWS)
def test_rows_of_clusters_are_in_proportion(load_with, changes, size, expected) -> None:
    settings = load_with(changes)
    rows = read_published_tables()["table2"].rows
    assert expected == tuple(
        settings.filter("cifar100_lt", size, rows[row]).num_clusters
        for row in ("clusters_300", "clusters_1000")
    )


def test_origins(load_with) -> None:
    settings = load_with({"lambda_bal": 5.0, "ce.epochs": 7})
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
    assert training["lr"].value == read_recipe(STAND_IN)["ce"]["lr"]["value"]
    pretrained = settings.choices("places_lt", "backbone", ("pretrained",))
    assert pretrained["pretrained"].value is None
    assert pretrained["pretrained"].published == "resnet152.tv_in1k"
    assert pretrained["pretrained"].origin == "stand-in"


# --- what is published


@pytest.mark.parametrize("benchmark", [*BENCHMARKS, STAND_IN])
def test_every_entry_of_a_recipe_has_value_and_source(benchmark) -> None:
    recipe = read_recipe(benchmark)
    assert isinstance(recipe.pop("title"), str)
    assert isinstance(recipe.pop("classes", None), int | None)
    if benchmark != STAND_IN:
        assert recipe.pop("printed") == (benchmark in SECTION_5)
    for section, entries in recipe.items():
        for name, entry in entries.items():
            assert set(entry) == {"value", "source"}, f"{section}.{name}"
            assert isinstance(entry["source"], str) and entry["source"].strip()


def names_of(recipe: Mapping[str, Any]) -> set[tuple[str, str]]:
    sections = {name: section for name, section in recipe.items() if name in PARTS}
    return {(name, setting) for name, some in sections.items() for setting in some}


PARTS = {part for parts in SECTIONS.values() for part in parts}


def test_recipes_have_the_same_settings_and_the_stand_in_some_of_them() -> None:
    shapes = [names_of(read_recipe(benchmark)) for benchmark in BENCHMARKS]
    assert all(shape == shapes[0] for shape in shapes)
    drawn = {("data", name) for name in ("num_classes", "num_images", "test_per_class")}
    assert names_of(read_recipe(STAND_IN)) - shapes[0] == drawn


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
    flow = settings.filter(benchmark, SMALL)
    cascade = settings.cascade(benchmark)
    assert SECTION_5[benchmark] == (
        backbone.network,
        settings.paco(benchmark).pretrained,
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
    classifier = settings.classifier(benchmark, SMALL)
    assert (classifier.lr, classifier.batch_size, classifier.epochs) == (1e-4, 128, 150)
