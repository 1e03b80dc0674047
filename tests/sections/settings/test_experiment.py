"""Each setting once, its origin right; every discrepancy a valid entry."""

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from replication.core.files import read_json, read_yaml
from replication.core.settings import (
    BENCHMARKS,
    PUBLISHED,
    STAND_IN,
    Settings,
    load,
    read_recipe,
)
from replication.flow_filter.losses import class_weights
from replication.sections.settings.experiment import (
    DISCREPANCIES,
    Discrepancy,
    InUse,
    looked_up,
    read_discrepancies,
    settings_in_use,
    unused_sections,
)

SHIPPED = read_yaml(Path(__file__).resolve().parents[3] / "params.yaml")

LoadWith = Callable[[Mapping[str, Any]], Settings]
Write = Callable[[Any], Path]


@pytest.fixture
def load_with(tmp_path: Path) -> LoadWith:
    """The shipped settings with changes by dotted key."""

    def call(changes: Mapping[str, Any]) -> Settings:
        params = copy.deepcopy(SHIPPED)
        for key, value in changes.items():
            *sections, name = key.split(".")
            place = params
            for section in sections:
                place = place[section]
            place[name] = value
        with (tmp_path / "params.yaml").open("w") as file:
            YAML(typ="safe", pure=True).dump(params, file)
        return load(tmp_path / "params.yaml")

    return call


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of entries."""

    def call(entries: Any) -> Path:
        path = tmp_path / "discrepancies.yaml"
        with path.open("w") as file:
            YAML(typ="safe", pure=True).dump(entries, file)
        return path

    return call


@pytest.fixture(scope="session")
def entries() -> list[Discrepancy]:
    return read_discrepancies()


def by_key(settings: Settings, benchmark: str) -> dict[str, InUse]:
    in_use = settings_in_use(settings, benchmark)
    return {f"{some.section}.{some.name}": some for some in in_use}


def entry(**changes: Any) -> dict[str, Any]:
    """A well-formed entry, with changes; None takes a field out."""
    plain = {
        "part": "silent",
        "topic": "A topic",
        "supplement": "silent",
        "released_code": {"says": "0.7", "place": "a file"},
        "we_run": {"both": "The same"},
        "effect": "not measured",
    }
    return {name: some for name, some in (plain | changes).items() if some is not None}


# ---- Settings -----------------------------------------------------------------------


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_setting_of_the_recipe_stands_there_once(
    load_with: LoadWith, benchmark: str
) -> None:
    recipe = read_recipe(benchmark)
    wanted = [
        (section, name)
        for section, names in recipe.items()
        if section not in ("title", "classes")
        for name in names
    ]
    in_use = settings_in_use(load_with({}), benchmark)
    assert [(some.section, some.name) for some in in_use] == wanted
    assert len(set(wanted)) == len(wanted)


def test_origin_of_a_stand_in(load_with: LoadWith) -> None:
    found = by_key(load_with({}), "places_lt")
    network = found["backbone.network"]
    assert (network.origin, network.published) == ("stand-in", "resnet152")
    assert network.value == read_recipe(STAND_IN)["backbone"]["network"]["value"]
    assert found["filter.lr"].origin == "published"
    assert found["filter.lr"].source.startswith("Sect. 5")
    assert found["head.lr"].origin == "guess"


def test_what_is_overridden_is_so_even_where_a_stand_in_or_a_guess_stood(
    load_with: LoadWith,
) -> None:
    settings = load_with({"lambda_pure": 0.5, "paco.lr": 0.3, "head.lr": 0.3})
    found = by_key(settings, "places_lt")
    for key, value, published in (
        ("filter.lambda_pure", 0.5, 0.03),
        ("paco.lr", 0.3, 0.02),
        ("head.lr", 0.3, 0.2),
    ):
        some = found[key]
        assert (some.origin, some.value) == ("overridden", value)
        assert some.published == published
    assert found["filter.lambda_bal"].origin == "published"


def test_cached_features_leave_no_images_to_augment(
    load_with: LoadWith, tmp_path: Path
) -> None:
    settings = load_with({"inputs.inat18.features": str(tmp_path)})
    found = by_key(settings, "inat18")
    for key in ("decoupling.inputs", "fig2.inputs"):
        some = found[key]
        assert (some.value, some.origin) == ("features", "input")
        assert some.published == "images"
    unused = {some.section for some in found.values() if some.unused}
    assert unused == {"data", "backbone", "ce", "paco"}


def test_sections_that_a_run_does_not_read(load_with: LoadWith, tmp_path: Path) -> None:
    lists = {"benchmarks": ["inat18", "places_lt"], "comparison": ["inat18"]}
    lists |= {"separation": ["places_lt"]}
    assert unused_sections(load_with(lists), "places_lt") == {
        "ce": "not listed in `comparison`",
        "decoupling": "not listed in `comparison`",
    }
    weights = tmp_path / "paco.pth"
    weights.touch()
    given = {
        "inputs.inat18.images": str(tmp_path),
        "inputs.inat18.checkpoint": {"ce": None, "paco": str(weights)},
    }
    assert unused_sections(load_with(lists | given), "inat18") == {
        "fig2": "not listed in `separation`",
        "paco": "weights are given",
    }


# ---- Discrepancies ----------------------------------------------------------------


def test_every_shipped_entry_is_valid(entries: list[Discrepancy]) -> None:
    assert len(entries) == len(read_yaml(DISCREPANCIES))
    topics = Counter(some.topic for some in entries)
    assert max(topics.values()) == 1
    assert {some.part for some in entries} == {
        "text",
        "disagree",
        "silent",
        "protocol",
        "code",
        "ours",
    }
    for some in entries:
        # A point on which both sources are silent is only one if we had to guess.
        if some.supplement is None:
            assert some.released_code is not None, some.topic
        assert (some.part == "protocol") == (some.we_run.paper is not None), some.topic
        for benchmark in some.we_run.benchmarks or ():
            known = read_recipe(benchmark)[some.we_run.section]
            assert set(some.we_run.names) <= set(known), some.topic


def test_places_of_the_released_code_name_a_commit(
    entries: list[Discrepancy],
) -> None:
    for some in entries:
        if some.released_code is not None:
            for place in some.released_code.place.split("; "):
                assert re.match(r"[\w-]+/[\w-]+@[0-9a-f]{7} \S", place), some.topic


def test_values_that_disagree_are_those_of_the_recipes(
    entries: list[Discrepancy],
) -> None:
    """The supplement wins: what an entry quotes from it is what the recipe has."""
    for some in (some for some in entries if some.part == "disagree"):
        (benchmark,), (name,) = some.we_run.benchmarks, some.we_run.names
        published = read_recipe(benchmark)[some.we_run.section][name]
        assert float(some.supplement.says) == published["value"]
        assert float(some.released_code.says) != published["value"]
        assert f"released code: {some.released_code.says}" in published["source"]


def test_share_of_the_weight_that_few_shot_classes_carry(
    entries: list[Discrepancy],
) -> None:
    """The shares and effective numbers of classes, from the published counts."""
    (said,) = (
        some.released_code.says
        for some in entries
        if some.topic.startswith("Class weig")
    )
    shares, effective = [], []
    for benchmark in ("imagenet_lt", "places_lt", "inat18"):
        histogram = read_json(PUBLISHED / "class_counts.json")[benchmark]["histogram"]
        counts = torch.tensor(
            [int(n) for n, of in histogram.items() for _ in range(of)]
        )
        weights = class_weights(counts, 2.0).double()
        shares.append(f"{100 * weights[counts < 20].sum() / weights.sum():.0f} %")
        effective.append(f"{weights.sum() ** 2 / weights.square().sum():.0f}")
    assert f"{shares[0]}, {shares[1]} and {shares[2]} of the weight" in said
    assert f"{effective[0]}, {effective[1]} and {effective[2]} equal classes" in said


def test_settings_are_looked_up_in_the_run(load_with: LoadWith, write: Write) -> None:
    named = {
        "benchmarks": ["imagenet_lt", "places_lt"],
        "section": "filter",
        "names": ["lr", "eta"],
    }
    given = read_discrepancies(write([entry(we_run=named), entry()]))
    settings = load_with({"filter.eta": 0.9})
    record, plain = looked_up(given, settings_in_use(settings, "places_lt"))
    assert plain["we_run"] == {"both": "The same"}
    assert (record["supplement"], record["effect"]) == (None, None)
    assert [
        (some["benchmark"], some["name"], some["value"], some["origin"])
        for some in record["we_run"]["settings"]
    ] == [
        ("places_lt", "lr", 0.1, "published"),
        ("places_lt", "eta", 0.9, "overridden"),
    ]
    elsewhere, _ = looked_up(given, settings_in_use(settings, "inat18"))
    assert elsewhere["we_run"] == {"settings": []}


def test_malformed_entries_are_one_line_each(write: Write, refused: Callable) -> None:
    path = write(
        [
            entry(effects="x"),
            entry(effect=None, supplement="quiet"),
            entry(we_run={"both": "x", "paper": "y"}),
            entry() | {"supplement": None},
        ]
    )
    lines = refused(lambda: read_discrepancies(path))
    assert [text.split(": ")[:2] for text in lines] == [
        [str(path), f"entry {place}"]
        for place in (
            "1.effects",
            "2.supplement",
            "2.effect",
            "3.we_run",
            "4.supplement",
        )
    ]
    assert lines[3].endswith(
        "(benchmarks, section, names) or (paper, released_code) or (both), "
        "got {'both': 'x', 'paper': 'y'}"
    )
    assert "fields by name or `silent`" in lines[4]
