"""The ladder's Cells from made predictions, and the step that a difference is from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from replication.protocols import AS_RELEASED, LADDER, rungs_of
from replication.samples.predictions import by_seed
from replication.sections.ladder.experiment import (
    deciding_step,
    ladder_cells,
    steps,
    whole,
)
from replication.statistics.results import PROTOCOLS, Cell, pick
from tests.made import basis, predicted

LABELS = np.repeat(np.arange(12), 20)
BASIS = basis("ladder")
NAMES = tuple(rungs_of(AS_RELEASED))
SHARES = {name: 0.5 + 0.03 * place for place, name in enumerate(NAMES)}
NOTES = {
    str(seed): {
        protocol: {
            name: [{"moved": [0.1, 0.3]}, {"moved": [0.2 + seed / 10]}]
            for name in NAMES
        }
        for protocol in PROTOCOLS
    }
    for seed in range(3)
}


def rungs() -> dict[str, pd.DataFrame]:
    """As the stage writes them: two are of `as_released` alone."""
    tables = predicted(SHARES, LABELS)
    for name in ("on_validation", "removed_gone"):
        tables[name] = tables[name][tables[name]["protocol"] == "as_released"]
    return tables


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return ladder_cells(rungs(), NOTES, "drawn", BASIS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_steps_add_up_to_the_whole(cells, protocol) -> None:
    of = steps(cells, protocol, "drawn")
    assert [cell.method for cell in of] == list(LADDER)[1:]
    total = whole(cells, protocol, "drawn")
    assert sum(step.mean for step in of) == pytest.approx(total.mean)
    at_zero = steps(cells, protocol, "zero")
    assert at_zero == of[:-1]
    shorter = whole(cells, protocol, "zero")
    assert sum(step.mean for step in at_zero) == pytest.approx(shorter.mean)


def test_every_number_is_that_of_its_predictions(cells) -> None:
    tables = rungs()
    for name, protocol, minus in (
        ("plain", "validated", "head"),
        ("prior", "as_released", "split"),
        ("random", "validated", "drawn"),
        ("removed_gone", "as_released", "head"),
    ):
        ours, other = (
            by_seed(tables[rung], protocol)[0] == LABELS for rung in (name, minus)
        )
        of = {"method": name, "protocol": protocol, "metric": "overall"}
        value, gap = (pick(cells, minus=m, **of) for m in (None, minus))
        assert value.per_seed == pytest.approx(ours.mean(1))
        assert gap.per_seed == pytest.approx(ours.mean(1) - other.mean(1))
        few = pick(cells, **of | {"metric": "few"}, minus=None)
        assert few.per_seed == pytest.approx(ours[:, -80:].mean(1))


def test_movement_is_the_mean_over_classifiers_and_seeds(cells) -> None:
    of = {"method": "drawn", "protocol": "validated"}
    first, second, third = (
        pick(cells, metric=metric, **of)
        for metric in ("moved_first", "moved_second", "moved_frequencies")
    )
    assert first.mean == pytest.approx((3 * 0.1 + 0.2 + 0.3 + 0.4) / 6)
    assert second.mean == pytest.approx(0.3)
    assert third is None
    assert pick(cells, metric="changed", method="head").mean == 0


def test_a_protocol_has_its_own_rungs_beside_the_ladder(cells) -> None:
    of = {
        protocol: {cell.method for cell in cells if cell.protocol == protocol}
        for protocol in PROTOCOLS
    }
    assert of["as_released"] - of["validated"] == {"on_validation", "removed_gone"}
    labels = {cell.protocol: cell.label for cell in cells if cell.method == "second"}
    assert labels == {
        "validated": "z as second input",
        "as_released": "x once more as second input",
    }


def made(verdict: str, means: list[float], verdicts: list[str]) -> list[Cell]:
    """Steps of these means and verdicts; the whole has another."""
    cells, names = [], list(LADDER)
    for before, name, mean, step in zip(
        names, names[1:], means, verdicts, strict=False
    ):
        cell = BASIS.cell(
            method=name, label=name, metric="overall", mean=mean, minus=before,
            protocol="validated", verdict=step,
        )  # fmt: skip
        cells.append(cell)
    total = replace(cell, minus="head", mean=sum(means), verdict=verdict)
    return [*cells, total]


NO, UP, DOWN = "undecided", "supported", "contradicted"


@pytest.mark.parametrize(
    ("verdict", "means", "verdicts", "step", "shown"),
    [
        # The longest of those that are shown to go the way of the whole.
        (DOWN, [0, 0, -1, 0, 0, -2], [NO, NO, DOWN, NO, NO, DOWN], "drawn", True),
        # A longer one that is not shown, or goes the other way, is not it.
        (DOWN, [2, 0, -1, -3, 0, 0], [UP, NO, DOWN, NO, NO, NO], "prior", True),
        # None is shown: the longest that way, and it is said so.
        (UP, [-2, 3, 1, 0, 0, 0], [NO] * 6, "split", False),
        # Nothing to explain: the longest of all.
        (NO, [-2, 1, 1, 0, 0, 0], [DOWN, UP, NO, NO, NO, NO], "plain", False),
    ],
)
def test_the_step_that_a_difference_comes_from(
    verdict, means, verdicts, step, shown
) -> None:
    cells = made(verdict, means, verdicts)
    deciding, alone = deciding_step(cells, "validated", "drawn")
    assert (deciding.method, alone) == (step, shown)
