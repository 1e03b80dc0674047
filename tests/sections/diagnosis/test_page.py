"""The page of what DLSA would need, on made answers."""

import copy
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from replication.core.files import read_json, write_json
from replication.sections.diagnosis import experiment, page
from replication.sections.diagnosis.experiment import Answers, Setting, Tried

SEEDS = (0, 1, 2)
LABELS = {
    "val": np.repeat(np.arange(4), 30),
    "test": np.repeat(np.arange(4), 100),
}
COUNTS = np.array([200, 120, 50, 5])
BASE = Setting(
    lr=1e-4,
    depth=2,
    leaving_share=0.3,
    sigma=0.05,
    num_clusters=500,
    weight_exponent=2.0,
    lambda_mle=1.0,
    lambda_bal=1.0,
    lambda_pure=0.02,
)
CHOSEN = replace(BASE, refitted=True, drawn=False)
SINGLES = [
    ("lr", replace(BASE, lr=0.1)),
    ("refitted", replace(BASE, refitted=True)),
    ("sigma", replace(BASE, sigma=1.0)),
]


def answered(share: float, classifiers: int, seed: int) -> Tried:
    """Right on a share of the samples of each class; parts in turn."""
    generator = np.random.default_rng([seed, round(1000 * share)])
    predictions = {}
    for split, labels in LABELS.items():
        wrong = generator.random(len(labels)) >= share
        predictions[split] = np.where(wrong, (labels + 1) % 4, labels)
    part = np.arange(len(LABELS["test"])) % classifiers
    return Tried(predictions, part, [{"moved": share}] * classifiers)


def made(chosen: float, plain: float, steps: bool = True) -> dict[str, Any]:
    """What the stage writes where settings come to these accuracies."""
    found = CHOSEN if steps else BASE
    rungs = {lr: experiment.ladder(replace(BASE, lr=lr)) for lr in (1e-4, 0.1)}
    bare = experiment.without_split(BASE, {"lr": [0.1]})
    worth = {one: 0.4 for some in rungs.values() for one in some.values()}
    worth |= {SINGLES[0][1]: 0.5, SINGLES[1][1]: 0.6, SINGLES[2][1]: 0.45}
    worth |= {bare["refitted"][0]: 0.6, bare["plain"][1]: plain, BASE: 0.15}
    worth |= {CHOSEN: chosen} if steps else {}
    results = {
        setting: {
            seed: answered(share, setting.depth + 1, seed) for seed in SEEDS
        }
        for setting, share in worth.items()
    }  # fmt: skip
    answers = Answers(results, LABELS, COUNTS)
    named = {
        "head": bare["head"][0],
        "refitted": bare["refitted"][0],
        "plain": bare["plain"][1],
        "published": BASE,
        "chosen": found,
    }
    methods, differences = experiment.compared(answers, named)
    kept = {"factor": "refitted", "old": False, "new": True}
    run = {
        "stage": "diagnosis@cifar100_lt",
        "commit": "0123456789abcdef",
        "clean": True,
        "device": "a processor",
        "seconds": 3.4,
        "peak_memory_mb": 900,
        "libraries": {"torch": "2"},
    }
    return {
        "benchmark": "cifar100_lt",
        "data": {
            "benchmark": "cifar100_lt",
            "stand_in": False,
            "hash": "0123456789abcdef",
            "images": {"val": 120},
        },
        "tried": {"cascades": 17, "plain": 4},
        "methods": methods,
        "differences": differences,
        "factors": experiment.factor_records(answers, BASE, SINGLES),
        "steps": [kept | {"before": 0.3, "after": chosen}] if steps else [],
        "ladders": [
            {"lr": lr, "rungs": experiment.ladder_records(answers, some)}
            for lr, some in rungs.items()
        ],
        "parts": [
            {
                "first": first,
                "second": second,
                "parts": answers.contributions(named[first], named[second]),
            }
            for first, second in (("published", "head"), ("chosen", "plain"))
        ],
        "claims": [],
        "settings": {
            "overridden": [],
            "guessed": [],
            "seeds": [0, 1, 2],
            "searched": [0, 1],
        },
        "runs": [run],
    }


def through_json(measured: dict[str, Any], folder) -> dict[str, Any]:
    file = folder / "diagnosis.json"
    write_json(file, measured)
    return read_json(file)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[str, Any]:
    return through_json(made(0.7, 0.7), tmp_path_factory.mktemp("diagnosis"))


@pytest.fixture(scope="module")
def written(measured) -> tuple[str, dict[str, str]]:
    return page.diagnosis_page(measured, "CIFAR-100-LT", "figures/diagnosis")


def test_the_page_begins_with_its_data_and_its_finding(written) -> None:
    lines = written[0].splitlines()
    assert lines[0].startswith("> **CIFAR-100-LT**, not the paper's benchmarks:")
    assert lines[2] == "# What DLSA would need on CIFAR-100-LT"
    assert lines[4].startswith(
        "The best of 17 settings, chosen on validation alone, beats the head that DLSA "
        "starts from: "
    )
    assert lines[6].startswith(
        "This is a search, not a replication: 17 settings of the cascade and 4 of a "
        "plain head were tried"
    )
    assert "on the 120 validation images alone, mean over seeds 0, 1;" in lines[6]


def test_every_figure_is_linked_and_is_a_picture(written) -> None:
    text, figures = written
    assert set(figures) == {"ladder.svg", "factors.svg"}
    for name, drawing in figures.items():
        assert f"(figures/diagnosis/{name})" in text
        assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_the_same_records_give_the_same_figures(measured, written) -> None:
    assert page.ladder_figure(measured["ladders"]) == written[1]["ladder.svg"]
    assert page.factors_figure(measured["factors"]) == written[1]["factors.svg"]


@pytest.mark.parametrize(
    ("chosen", "plain", "head", "cascade"),
    [
        (0.9, 0.6, "beats the head", "so that the cascade itself is worth something"),
        (0.7, 0.9, "beats the head", "so that the cascade itself takes away"),
        (0.1, 0.9, "loses to the head", "so that the cascade itself takes away"),
        (
            0.41,
            0.42,
            "is not distinguishable from the head",
            "so that no gain of the cascade itself is shown",
        ),
    ],
)
def test_the_finding_can_come_out_every_way(chosen, plain, head, cascade) -> None:
    said = page.summarise_diagnosis(made(chosen, plain))
    assert head in said and cascade in said
    assert "The published settings reach " in said


def test_the_finding_names_the_factor_that_matters_on_validation(measured) -> None:
    said = page.summarise_diagnosis(measured)
    assert (
        "The single factor that matters most is first terms start from the refitted "
        "head instead of the head as it is: +"
    ) in said
    # Its filters diverged under one seed: another one is named, and the table says so.
    failed = copy.deepcopy(measured)
    next(one for one in failed["factors"] if one["factor"] == "refitted")["refused"] = (
        0.5
    )
    said = page.summarise_diagnosis(failed)
    assert "is learning rate of the classifiers 0.1 instead of 0.0001: +" in said
    last = page.factors_table(failed["factors"]).splitlines()[-1]
    assert "| diverged on 50 % of the seeds | — |" in last


def test_where_nothing_helps_the_page_says_so(tmp_path) -> None:
    nothing = through_json(made(0.3, 0.7, steps=False), tmp_path)
    said = page.summarise_diagnosis(nothing)
    assert said.startswith(
        "Of 17 settings tried, none is better than the published ones on validation; "
        "nothing was found that DLSA would need. The published settings reach "
    )
    text, _ = page.diagnosis_page(nothing, "CIFAR-100-LT", "figures")
    assert "Nothing: no change helped." in text
    assert "Chosen on validation, DLSA: nothing." in text


def test_steps_of_the_ladder_by_hand(measured) -> None:
    rows = page.ladder_table(measured["ladders"][0]["rungs"]).splitlines()[2:]
    assert len(rows) == 9
    first, split, *_, whole, untrained = rows
    assert first.startswith("| the head | ") and "| — |" in first
    # Answers depend on nothing but a setting's accuracy here: the split is the head.
    assert "| +0.0 [" in split and split.endswith("| 0.4 | 0.0 |")
    assert whole.startswith("| + second terms drawn: DLSA |")
    assert untrained.startswith("| off the ladder: ")
    worst = page.summarise_diagnosis(measured)
    assert "at learning rate 0.0001 “+ second terms drawn: DLSA” (−" in worst
    assert "; at learning rate 0.1 “split, a head retrained on each part” (−" in worst
    unharmed = page.summarise_diagnosis(made(0.7, 0.4))
    assert "; at learning rate 0.1 none, the lowest is “" in unharmed


def test_tables_have_a_row_for_each_record(measured) -> None:
    methods = page.methods_table(measured["methods"]).splitlines()
    assert [row.split("|")[1].strip() for row in methods[2:]] == list(
        page.METHODS.values()
    )
    measured["methods"][0]["refused"] = 0.2
    marked = page.methods_table(measured["methods"]).splitlines()[2]
    assert "(diverged under 20 % of the seeds, counted as wrong) |" in marked
    differences = page.differences_table(measured["differences"]).splitlines()
    assert len(differences) == 2 + len(experiment.PAIRS)
    assert differences[2].endswith("| yes |")
    parts = page.parts_table(measured["parts"][0]["parts"]).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in parts] == [
        "leaving at depth 1",
        "leaving at depth 2",
        "plain classifier, the rest",
    ]
    steps = page.steps_table(measured["steps"]).splitlines()
    assert steps[2] == (
        "| first terms start from | the head as it is | the refitted head | 30.00 | "
        "70.00 |"
    )


def test_every_factor_and_rung_has_a_name() -> None:
    assert set(page.FACTORS) == set(experiment.FACTORS)
    assert set(page.RUNGS) == {*experiment.RUNGS, "untrained"}
    assert {one for pair in experiment.PAIRS for one in pair} == set(page.METHODS)


def test_settings_that_are_not_published_are_named(measured) -> None:
    changed = copy.deepcopy(measured)
    changed["settings"]["overridden"] = ["filter.lambda_pure"]
    changed["settings"]["guessed"] = ["filter.lr"]
    text, _ = page.diagnosis_page(changed, "CIFAR-100-LT", "figures")
    assert "Not as published there: filter.lambda_pure." in text
    assert text.count("No source publishes these for CIFAR-100-LT, [") == 1
    assert "(settings.md): filter.lr." in text
