"""The ledger: each setting once, its origin right, every discrepancy a valid entry."""

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
from replication.core.settings import BENCHMARKS, PUBLISHED, Settings, load, read_recipe
from replication.flow_filter.losses import class_weights
from replication.sections.settings.experiment import (
    DISCREPANCIES,
    Discrepancy,
    read_discrepancies,
    resolved,
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


def by_key(settings: Settings, benchmark: str) -> dict[str, dict[str, Any]]:
    return {
        f"{one['section']}.{one['name']}": one
        for one in settings_in_use(settings, benchmark)
    }


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
    return {name: one for name, one in (plain | changes).items() if one is not None}


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
    records = settings_in_use(load_with({}), benchmark)
    assert [(one["section"], one["name"]) for one in records] == wanted
    assert len(set(wanted)) == len(wanted)


def test_origin_of_a_stand_in(load_with: LoadWith) -> None:
    found = by_key(load_with({}), "places_lt")
    network = found["backbone.network"]
    assert (network["origin"], network["published"]) == ("stand-in", "resnet152")
    assert network["value"] == SHIPPED["stand_in"]["network"]
    assert found["filter.lr"]["origin"] == "published"
    assert found["filter.lr"]["source"].startswith("Sect. 5")
    assert found["head.lr"]["origin"] == "guess"


def test_what_is_overridden_is_so_even_where_a_stand_in_or_a_guess_stood(
    load_with: LoadWith,
) -> None:
    settings = load_with({"lambda_pure": 0.5, "backbone.lr": 0.3, "head.lr": 0.3})
    found = by_key(settings, "places_lt")
    for key, value, published in (
        ("filter.lambda_pure", 0.5, 0.03),
        ("paco.lr", 0.3, 0.02),
        ("head.lr", 0.3, 0.2),
    ):
        one = found[key]
        assert (one["origin"], one["value"]) == ("overridden", value)
        assert one["published"] == published
    assert found["filter.lambda_bal"]["origin"] == "published"


def test_cached_features_leave_no_images_to_augment(
    load_with: LoadWith, tmp_path: Path
) -> None:
    settings = load_with({"inputs.inat18.features": str(tmp_path)})
    found = by_key(settings, "inat18")
    for key in ("decoupling.inputs", "fig2.inputs"):
        one = found[key]
        assert (one["value"], one["origin"]) == ("features", "input")
        assert one["published"] == "images"
    unused = {one["section"] for one in found.values() if one["unused"]}
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
    parts = Counter(one.part for one in entries)
    assert set(parts) == {"text", "disagree", "silent", "protocol", "code", "ours"}
    for one in entries:
        # A point on which both sources are silent is only one if we had to guess.
        if one.supplement is None:
            assert one.released_code is not None, one.topic
        assert (one.part == "protocol") == (one.we_run.paper is not None), one.topic


def test_places_of_the_released_code_name_a_commit(
    entries: list[Discrepancy],
) -> None:
    for one in entries:
        if one.released_code is not None:
            for place in one.released_code.place.split("; "):
                assert re.match(r"[\w-]+/[\w-]+@[0-9a-f]{7} \S", place), one.topic


def test_values_that_disagree_are_those_of_the_recipes(
    entries: list[Discrepancy],
) -> None:
    """The supplement wins: what an entry quotes from it is what the recipe has."""
    for one in (one for one in entries if one.part == "disagree"):
        (benchmark,), (name,) = one.we_run.benchmarks, one.we_run.names
        published = read_recipe(benchmark)[one.we_run.section][name]
        assert float(one.supplement.says) == published["value"]
        assert float(one.released_code.says) != published["value"]
        assert f"released code: {one.released_code.says}" in published["source"]


def test_share_of_the_weight_that_few_shot_classes_carry(
    entries: list[Discrepancy],
) -> None:
    """The shares and effective numbers of classes, from the published counts."""
    (said,) = (
        one.released_code.says for one in entries if one.topic.startswith("Class weig")
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
    looked_up = {
        "benchmarks": ["imagenet_lt", "places_lt"],
        "section": "filter",
        "names": ["lr", "eta"],
    }
    given = read_discrepancies(write([entry(we_run=looked_up)]))
    settings = load_with({"filter.eta": 0.9})
    in_use = {"places_lt": settings_in_use(settings, "places_lt")}
    (record,) = resolved(given, in_use)
    assert (record["supplement"], record["effect"]) == (None, None)
    assert [
        (one["benchmark"], one["name"], one["value"], one["origin"])
        for one in record["we_run"]["settings"]
    ] == [
        ("places_lt", "lr", 0.1, "published"),
        ("places_lt", "eta", 0.9, "overridden"),
    ]
    (elsewhere,) = resolved(given, {"inat18": settings_in_use(settings, "inat18")})
    assert elsewhere["we_run"] == {"settings": []}


def test_sentences_are_passed_on(write: Write) -> None:
    both = {"paper": "One way", "released_code": "Another"}
    given = read_discrepancies(
        write([entry(), entry(part="protocol", topic="Another topic", we_run=both)])
    )
    first, second = resolved(given, {})
    assert first["we_run"] == {"both": "The same"}
    assert second["we_run"] == both


def test_malformed_entries_are_one_line_each(write: Write, refused: Callable) -> None:
    path = write(
        [
            entry(part="other", effects="x"),
            entry(effect=None, supplement="quiet", released_code={"says": "0.7"}),
            entry(we_run={"both": "x", "paper": "y"}, effect={"page": 3, "says": "x"}),
        ]
    )
    kinds = "'text', 'disagree', 'silent', 'protocol', 'code' or 'ours'"
    pages = "'table1', 'table2', 'sigma', 'estimator', 'separation' or 'confusion'"
    ways = "(benchmarks, section, names) or (paper, released_code) or (both)"
    assert refused(lambda: read_discrepancies(path)) == [
        f"{path}: entry 1.part: expected {kinds}, got 'other'",
        f"{path}: entry 1.effects: expected a known field, got this one",
        f"{path}: entry 2.supplement: expected fields by name or `silent`, got 'quiet'",
        f"{path}: entry 2.released_code.place: expected a value, got nothing",
        f"{path}: entry 2.effect: expected a value, got nothing",
        f"{path}: entry 3.we_run: expected {ways}, got both, paper",
        f"{path}: entry 3.effect.page: expected {pages}, got 3",
    ]


def test_a_list_is_wanted(write: Write, refused: Callable) -> None:
    path = write("text")
    assert refused(lambda: read_discrepancies(path)) == [
        f"{path}: expected a list, got 'text'"
    ]


def test_forgotten_values_are_not_taken_for_silence(
    write: Write, refused: Callable
) -> None:
    path = write([entry() | {"supplement": None}])
    assert refused(lambda: read_discrepancies(path)) == [
        f"{path}: entry 1.supplement: expected fields by name or `silent`, got nothing"
    ]


def test_unknown_settings_and_topics_given_twice(
    write: Write, refused: Callable
) -> None:
    mistyped = {"benchmarks": ["inat18"], "section": "filter", "names": ["lrr"]}
    path = write([entry(), entry(we_run=mistyped)])
    assert refused(lambda: read_discrepancies(path)) == [
        f"{path}: topic: expected each once, got 'A topic' 2 times",
        f"{path}: entry 2.we_run: expected settings of the recipe of inat18, "
        "got filter.lrr",
    ]
