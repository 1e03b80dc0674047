"""The page of what DLSA would need, on made answers."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from replication.sections.diagnosis import search
from replication.sections.diagnosis.experiment import (
    METHODS,
    Answers,
    Tried,
    all_cells,
    details,
)
from replication.sections.diagnosis.page import finding, page
from replication.sections.diagnosis.search import RUNGS, Chosen, Setting, Step
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


def made(tuned: float, plain: float, steps: bool = True) -> Measurement:
    """What is measured where settings come to these accuracies."""
    rungs = {lr: search.ladder(replace(BASE, lr=lr)) for lr in (1e-4, 0.1)}
    named = {
        "head": rungs[1e-4]["head"],
        "refitted": replace(rungs[1e-4]["head"], refitted=True),
        "plain": search.plain_heads(BASE, [0.1])[0],
        "published": BASE,
        "chosen": TUNED if steps else BASE,
    }
    worth = {rung: 0.4 for some in rungs.values() for rung in some.values()}
    worth |= {SINGLES[0][1]: 0.5, SINGLES[1][1]: 0.6, SINGLES[2][1]: 0.45}
    worth |= {named["refitted"]: 0.6, named["plain"]: plain, BASE: 0.15}
    worth |= {TUNED: tuned} if steps else {}
    results = {
        setting: {
            seed: answered(share, setting.depth + 1, seed) for seed in SEEDS
        }
        for setting, share in worth.items()
    }  # fmt: skip
    step = Step("refitted", False, True, 0.3, tuned)
    chosen = Chosen(named, rungs, SINGLES, [step] if steps else [], 17, 4)
    answers = Answers(results, LABELS, COUNTS, "cifar100_lt", "images abc")
    about = {"overridden": [], "guessed": ["filter.lr"]}
    about |= {"seeds": [0, 1, 2], "searched": [0, 1]}
    return Measurement(
        "diagnosis",
        "cifar100_lt",
        cells=tuple(all_cells(chosen, answers, answers)),
        data={
            "benchmark": "cifar100_lt",
            "stand_in": False,
            "images": {"val": 120},
        },
        details=details(chosen) | about,
    )


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


def test_the_page_has_a_row_a_model_pair_rung_part_factor_and_step(tmp_path) -> None:
    measured = as_read(made(0.7, 0.7), tmp_path)
    text, figures = page(measured, "CIFAR-100-LT", "figures/diagnosis")
    lines = text.splitlines()
    assert lines[0].startswith("> **CIFAR-100-LT**, not the paper's benchmarks:")
    assert "Of these no source publishes, for CIFAR-100-LT, filter.lr (" in text
    first_cells = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    for label in (*METHODS.values(), "leaving at depth 1", "plain classifier"):
        assert f"| {label}" in first_cells
    for label in (*RUNGS.values(), "DLSA before its first step"):
        assert first_cells.count(f"| {label}") == 2  # learning rates
    # Answers depend on nothing but a setting's accuracy here: the split is the head.
    split = next(line for line in lines if line.startswith("| split, head unchanged"))
    assert "| +0.0 ± " in split and split.endswith("| 0.4 | 0.0 |")
    pair = next(line for line in lines if line.startswith("| DLSA, tuned | Head | "))
    assert pair.startswith("| DLSA, tuned | Head | **+") and pair.endswith("| yes |")
    assert lines[-1] == (
        "| first terms start from | the head as it is | the refitted head | 30.00 | "
        "70.00 |"
    )
    factors = [line for line in lines if line.startswith("| first terms start from")]
    assert factors[0].startswith("| first terms start from | the refitted head | the ")
    assert "(figures/diagnosis/ladder.svg)" in text
    assert ElementTree.fromstring(figures["ladder.svg"]).tag.endswith("svg")
    assert page(made(0.7, 0.7), "CIFAR-100-LT", "figures")[1] == figures
