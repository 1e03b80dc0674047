"""Each setting once, its origin right; every discrepancy a valid entry."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from replication.core.files import read_json, read_yaml
from replication.core.scaling import Size
from replication.core.settings import (
    BENCHMARKS,
    LISTS,
    PUBLISHED,
    STAND_IN,
    Settings,
    load,
    read_recipe,
)
from replication.flow_filter.losses import class_weights
from replication.sections.settings.discrepancies import _PARTS
from replication.sections.settings.experiment import (
    DISCREPANCIES,
    InUse,
    looked_up,
    settings_in_use,
    unused_sections,
)
from replication.stages.report import SECTIONS
from tests.made import write_params

SIZE = Size(10_847, 64)
ENTRIES = read_yaml(DISCREPANCIES)

LoadWith = Callable[..., Settings]


@pytest.fixture
def load_with(tmp_path: Path) -> LoadWith:
    """The shipped settings with changes."""
    return lambda **changes: load(write_params(tmp_path, changes))


def by_key(settings: Settings, benchmark: str) -> dict[str, InUse]:
    in_use = settings_in_use(settings, benchmark, SIZE)
    return {f"{some.section}.{some.name}": some for some in in_use}


# ---- Settings -----------------------------------------------------------------------


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_setting_of_the_recipe_stands_there_once(
    load_with: LoadWith, benchmark: str
) -> None:
    recipe = read_recipe(benchmark)
    wanted = [
        (section, name)
        for section, names in recipe.items()
        if section not in ("title", "classes", "printed")
        for name in names
    ]
    in_use = settings_in_use(load_with(), benchmark, SIZE)
    assert [(some.section, some.name) for some in in_use] == wanted
    assert len(set(wanted)) == len(wanted)


def test_the_origin_is_the_layer_that_gave_the_value(load_with: LoadWith) -> None:
    """What is overridden is so even where a stand-in or a guess stood."""
    by_name = by_key(load_with(), "places_lt")
    network = by_name["backbone.network"]
    assert (network.origin, network.published) == ("stand-in", "resnet152")
    assert network.value == read_recipe(STAND_IN)["backbone"]["network"]["value"]
    assert by_name["filter.lr"].origin == "published"
    assert by_name["filter.lr"].source.startswith("Sect. 5")
    assert by_name["head.lr"].origin == "guess"
    settings = load_with(lambda_pure=0.5, paco={"lr": 0.3}, head={"lr": 0.3})
    by_name = by_key(settings, "places_lt")
    for key, value, published in (
        ("filter.lambda_pure", 0.5, 0.03),
        ("paco.lr", 0.3, 0.02),
        ("head.lr", 0.3, 0.2),
    ):
        some = by_name[key]
        assert (some.origin, some.value) == ("overridden", value)
        assert some.published == published


def test_cached_features_leave_no_images_to_augment(
    load_with: LoadWith, tmp_path: Path
) -> None:
    settings = load_with(inputs={"inat18": {"features": str(tmp_path)}})
    by_name = by_key(settings, "inat18")
    for key in ("decoupling.inputs", "fig2.inputs"):
        some = by_name[key]
        assert (some.value, some.origin) == ("features", "input")
        assert some.published == "images"
    unused = {some.section for some in by_name.values() if some.unused}
    assert unused == {"data", "view", "backbone", "ce", "paco", "extraction"}


def test_sections_that_a_run_does_not_read(load_with: LoadWith, tmp_path: Path) -> None:
    lists = {"benchmarks": ["inat18", "places_lt"], "comparison": ["inat18"]}
    lists |= {name: ["places_lt"] for name in LISTS[2:-1]} | {"diagnosis": []}
    assert unused_sections(load_with(**lists), "places_lt") == {
        "ce": "not listed in `comparison`",
        "decoupling": "not listed in `comparison`",
    }
    weights = tmp_path / "paco.pth"
    weights.touch()
    given = {"images": str(tmp_path), "checkpoint": {"ce": None, "paco": str(weights)}}
    settings = load_with(**lists, inputs={"inat18": given})
    assert unused_sections(settings, "inat18") == {
        "fig2": "not listed in `separation`",
        "paco": "weights are given",
    }


# ---- Discrepancies ----------------------------------------------------------------


def test_every_shipped_entry_is_whole() -> None:
    assert len({some["topic"] for some in ENTRIES}) == len(ENTRIES)
    leads = [some["lead"] for some in ENTRIES if "lead" in some]
    assert sorted(leads) == [1, 2, 3, 4, 5]
    pages = {section.name for section in SECTIONS}
    for some in ENTRIES:
        topic, we_run = some["topic"], some["we_run"]
        assert set(some) - {"lead"} == {
            *("part", "topic", "supplement", "released_code", "we_run", "effect")
        }, topic
        assert some["part"] in _PARTS, topic
        sources = [some["supplement"], some["released_code"]]
        for source in sources:
            assert source == "silent" or set(source) == {"says", "place"}, topic
        assert sources != ["silent", "silent"], topic
        if some["released_code"] != "silent":
            for place in some["released_code"]["place"].split("; "):
                where = r"[\w-]+/[\w-]+(@[0-9a-f]{7} \S| issue \d+$)"
                assert re.match(where, place), topic
        assert some["effect"] == "not measured" or some["effect"]["page"] in pages
        kinds = [{"both"}, {"validated", "as_released"}]
        assert (set(we_run) == kinds[1]) == (some["part"] == "protocol"), topic
        if set(we_run) not in kinds:
            for benchmark in we_run["benchmarks"]:
                known = read_recipe(benchmark)[we_run["section"]]
                assert set(we_run["names"]) <= set(known), topic


def test_values_that_disagree_are_those_of_the_recipes() -> None:
    """The supplement wins: what an entry quotes from it is what the recipe has."""
    for some in (some for some in ENTRIES if some["part"] == "disagree"):
        we_run, code = some["we_run"], some["released_code"]["says"]
        (benchmark,), (name,) = we_run["benchmarks"], we_run["names"]
        published = read_recipe(benchmark)[we_run["section"]][name]
        assert float(some["supplement"]["says"]) == published["value"]
        assert float(code) != published["value"]
        assert f"released code: {code}" in published["source"]


def test_share_of_the_weight_that_few_shot_classes_carry() -> None:
    """The shares and effective numbers of classes, from the published counts."""
    (said,) = (
        some["released_code"]["says"]
        for some in ENTRIES
        if some["topic"].startswith("Class weig")
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


def test_settings_are_looked_up_in_the_run(load_with: LoadWith) -> None:
    named = {
        "benchmarks": ["imagenet_lt", "places_lt"],
        "section": "filter",
        "names": ["lr", "eta"],
    }
    entry = {"topic": "A topic", "we_run": named}
    settings = load_with(filter={"eta": 0.9})
    (row,) = looked_up([entry], settings_in_use(settings, "places_lt", SIZE))
    assert [
        (some["benchmark"], some["name"], some["value"], some["origin"])
        for some in row["we_run"]["settings"]
    ] == [
        ("places_lt", "lr", 0.1, "published"),
        ("places_lt", "eta", 0.9, "overridden"),
    ]
    (row,) = looked_up([entry], settings_in_use(settings, "inat18", SIZE))
    assert row == {"topic": "A topic", "we_run": {"settings": []}}
