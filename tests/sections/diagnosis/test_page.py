"""The page of what DLSA would need, on made answers."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from replication.sections.diagnosis import search
from replication.sections.diagnosis.experiment import (
    PAIRS,
    Answers,
    Tried,
    all_cells,
    details,
)
from replication.sections.diagnosis.page import finding, page
from replication.sections.diagnosis.search import Chosen, Setting, Step
from replication.statistics.results import Measurement
from tests.made import as_read

SEEDS = (0, 1, 2)
LABELS = {"val": np.repeat(np.arange(4), 30), "test": np.repeat(np.arange(4), 100)}
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
TUNED = replace(BASE, refitted=True, drawn=False)
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


def made(
    tuned: float, plain: float, steps: bool = True, diverged: bool = False
) -> Measurement:
    """What is measured where settings come to these accuracies."""
    rungs = {lr: search.ladder(replace(BASE, lr=lr)) for lr in (1e-4, 0.1)}
    bare = search.without_split(BASE, {"lr": [0.1]})
    worth = {rung: 0.4 for some in rungs.values() for rung in some.values()}
    worth |= {SINGLES[0][1]: 0.5, SINGLES[1][1]: 0.6, SINGLES[2][1]: 0.45}
    worth |= {bare["refitted"][0]: 0.6, bare["plain"][1]: plain, BASE: 0.15}
    worth |= {TUNED: tuned} if steps else {}
    results = {
        setting: {
            seed: answered(share, setting.depth + 1, seed) for seed in SEEDS
        }
        for setting, share in worth.items()
    }  # fmt: skip
    if diverged:
        refused = results[SINGLES[1][1]][2]
        results[SINGLES[1][1]][2] = replace(refused, notes=[])
    named = {
        "head": bare["head"][0],
        "refitted": bare["refitted"][0],
        "plain": bare["plain"][1],
        "published": BASE,
        "chosen": TUNED if steps else BASE,
    }
    step = Step("refitted", False, True, 0.3, tuned)
    chosen = Chosen(named, rungs, SINGLES, [step] if steps else [], 17, 4)
    answers = Answers(results, LABELS, COUNTS, "cifar100_lt", "images abc")
    about = {"overridden": ["filter.lambda_pure"], "guessed": ["filter.lr"]}
    about |= {"seeds": [0, 1, 2], "searched": [0, 1]}
    return Measurement(
        "diagnosis",
        "cifar100_lt",
        cells=tuple(all_cells(chosen, answers, answers)),
        data={
            "benchmark": "cifar100_lt",
            "stand_in": False,
            "hash": "abc",
            "images": {"val": 120},
        },
        details=details(chosen) | about,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[str, dict[str, str]]:
    folder: Path = tmp_path_factory.mktemp("diagnosis")
    return page(as_read(made(0.7, 0.7), folder), "CIFAR-100-LT", "figures/diagnosis")


def rows_of(text: str, heading: str) -> list[str]:
    """Rows of the first table below a line that begins so."""
    lines = text.split(heading, 1)[1].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("|"))
    rows = lines[start + 2 :]
    return rows[: next(n for n, row in enumerate(rows) if not row.startswith("|"))]


def test_the_page_begins_with_its_data_and_its_finding(written) -> None:
    lines = written[0].splitlines()
    assert lines[0].startswith("> **CIFAR-100-LT**, not the paper's benchmarks:")
    assert lines[2] == "# What DLSA would need on CIFAR-100-LT"
    assert lines[4].startswith(
        "DLSA tuned on validation images beats the head that it starts from: "
    )
    assert "17 settings of the cascade and 4 of a plain head were tried" in written[0]
    assert "on the 120 validation images alone, under seeds 0, 1;" in written[0]
    assert "Overridden there: filter.lambda_pure." in written[0]
    assert "Of these no source publishes, for CIFAR-100-LT, filter.lr (" in written[0]


def test_every_figure_is_linked_and_comes_out_the_same(written) -> None:
    text, figures = written
    assert set(figures) == {"ladder.svg", "factors.svg"}
    for name, drawing in figures.items():
        assert f"(figures/diagnosis/{name})" in text
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert page(made(0.7, 0.7), "CIFAR-100-LT", "figures")[1] == figures


@pytest.mark.parametrize(
    ("tuned", "plain", "head", "cascade"),
    [
        (0.9, 0.6, "beats the head", "so the cascade itself is worth something"),
        (0.7, 0.9, "beats the head", "so the cascade itself takes away"),
        (0.1, 0.9, "loses to the head", "so the cascade itself takes away"),
        (0.41, 0.42, "is not distinguishable", "so no gain of the cascade itself"),
    ],
)
def test_the_finding_can_come_out_every_way(tuned, plain, head, cascade) -> None:
    said = finding(made(tuned, plain))
    assert head in said and cascade in said


def test_where_nothing_helps_the_page_says_so() -> None:
    measured = made(0.3, 0.7, steps=False)
    assert finding(measured).startswith(
        "DLSA gains from no other settings on validation images; with those in use it "
    )
    text, _ = page(measured, "CIFAR-100-LT", "figures")
    assert "Nothing: no change helped." in text
    assert "Tuning changed of DLSA: nothing." in text


def test_the_setting_that_helps_most_is_one_that_did_not_diverge(written) -> None:
    assert (
        "The single change that helps most: first terms start from the refitted head "
        "instead of the head as it is, +"
    ) in written[0]
    text, _ = page(made(0.7, 0.7, diverged=True), "CIFAR-100-LT", "figures")
    assert (
        "helps most: learning rate of the classifiers 0.1 instead of 0.0001, +" in text
    )
    last = rows_of(text, "## One setting at a time")[-1]
    assert "| diverged on 33 % of the seeds | — |" in last


def test_a_ladder_has_a_row_a_rung(written) -> None:
    rows = rows_of(written[0], "Learning rate 0.0001:")
    assert len(rows) == 9
    first, split, *_, whole, untrained = rows
    assert first.startswith("| the head | ") and first.endswith("| — | 0.4 | 0.0 |")
    # Answers depend on nothing but a setting's accuracy here: the split is the head.
    assert "| +0.0 ± " in split and split.endswith("| 0.4 | 0.0 |")
    assert whole.startswith("| + second terms drawn: DLSA |")
    assert untrained.startswith("| DLSA before its first step |")
    assert "at learning rate 0.0001 “+ second terms drawn: DLSA” (−" in written[0]
    assert "; at learning rate 0.1 “split, a head retrained on each" in written[0]
    unharmed, _ = page(made(0.7, 0.4), "CIFAR-100-LT", "figures")
    assert "; at learning rate 0.1 none, the lowest is “" in unharmed


def test_tables_have_a_row_a_model_pair_part_and_step(written) -> None:
    models = rows_of(written[0], "## Tuned and untuned")
    assert [row.split(" | ")[0] for row in models] == [
        "| Head",
        "| Head, refitted",
        "| Plain classifier, tuned",
        "| DLSA, untuned",
        "| DLSA, tuned",
    ]
    pairs = rows_of(written[0], models[-1])
    assert len(pairs) == len(PAIRS)
    assert pairs[0].startswith("| DLSA, tuned | Head | **+")
    assert pairs[0].endswith("| yes |")
    parts = rows_of(written[0], "DLSA, untuned, minus Head:")
    assert [row.split(" | ")[0] for row in parts] == [
        "| leaving at depth 1",
        "| leaving at depth 2",
        "| plain classifier",
    ]
    assert rows_of(written[0] + "\n", "## The search") == [
        "| first terms start from | the head as it is | the refitted head | 30.00 | "
        "70.00 |"
    ]
