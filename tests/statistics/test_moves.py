"""What one run changed against another, image by image."""

from dataclasses import replace

import numpy as np
import pytest

from replication.samples.predictions import predictions_table
from replication.statistics.moves import MORE, NOISE, Move, decisions, gathered, moves
from replication.statistics.results import PROTOCOLS, Measurement
from tests.reporting.made import cell, gap, measurement

# 400 images of 4 classes; the head errs on every second, DLSA on every fourth of those.
LABELS = np.repeat(np.arange(4), 100)
HEAD = np.where(np.arange(400) % 2, LABELS, 9)
DLSA = np.where(np.arange(400) % 8, LABELS, 9)


def run(
    full: np.ndarray = DLSA,
    start: np.ndarray = HEAD,
    seeds: tuple[int, ...] = (0, 1),
    labels: np.ndarray = LABELS,
) -> Measurement:
    """A section of two rows, decided alike under every seed and protocol."""
    tables = {
        method: predictions_table(
            labels, {(seed, key): rows for seed in seeds for key in PROTOCOLS}
        )
        for method, rows in (("start", start), ("full", full))
    }
    cells = (cell(method="start"), cell(), gap(minus="start"), cell(metric="few"))
    return measurement(cells=cells, decisions=decisions(tables))


def moved(before: Measurement, *now: Measurement) -> dict[tuple[str, str | None], Move]:
    found = moves(gathered([before]), now)
    return {(move.now.method, move.now.minus): move for move in found}


def better(images: int) -> np.ndarray:
    """DLSA's answers, with so many more of them right."""
    answers, wrong = DLSA.copy(), np.flatnonzero(DLSA == 9)[:images]
    answers[wrong] = LABELS[wrong]
    return answers


def test_a_move_by_hand() -> None:
    """400 images, 350 right before, 390 now: 40 of 400 are 10 points, in each seed.

    The head's decisions are the same, so that the difference to it moves as far.
    """
    found = moved(run(), run(better(40)))
    assert found.keys() == {("full", None), ("full", "start")}
    alone, gained = found["full", None], found["full", "start"]
    means = [getattr(alone, of).mean for of in ("before", "now", "change")]
    assert means == pytest.approx([0.875, 0.975, 0.1])
    means = [getattr(gained, of).mean for of in ("before", "now", "change")]
    assert means == pytest.approx([0.375, 0.475, 0.1])
    assert alone.change.low == pytest.approx(gained.change.low)
    # Paired: 40 of 400 move. Unpaired, the two means' own errors would add up.
    assert 0.06 < alone.change.low < 0.08 and alone.change.verdict == MORE
    assert alone.seeds == (0, 1)


def test_what_moves_by_chance_is_noise() -> None:
    """Ten images right that were wrong, ten wrong that were right: 0 points."""
    other = better(10)
    other[np.flatnonzero(DLSA == 9)[:10] + 1] = 9
    change = moved(run(), run(other))["full", None].change
    assert change.mean == 0 and change.low < 0 < change.high
    assert change.verdict == NOISE


def test_a_difference_moves_with_what_is_subtracted() -> None:
    found = moved(run(), run(start=DLSA))
    assert found["start", None].change.mean == pytest.approx(0.375)
    assert found["full", "start"].change.mean == pytest.approx(-0.375)


def test_where_no_decision_changed_nothing_moved_and_a_number_counts_once() -> None:
    before, later = run(), run(HEAD)
    assert moved(before, before) == {}
    again = replace(later, section="table1")
    both = gathered([before, replace(before, section="table1")])
    assert len(moves(both, [later, again])) == len(moves(both, [later])) == 2


def test_seeds_in_common_are_paired_and_other_images_are_not_compared() -> None:
    before = run(seeds=(0, 1, 2))
    assert moved(before, run(HEAD, seeds=(2, 5)))["full", None].seeds == (2,)
    assert moved(before, run(HEAD, seeds=(5,))) == {}
    assert moved(before, run(HEAD, labels=LABELS[::-1])) == {}
    assert moved(replace(before, decisions=None), run(HEAD)) == {}


def test_decisions_are_small_and_what_is_the_same_is_kept_once() -> None:
    """A bit an image in base64; alike under both seeds and protocols."""
    kept = run().decisions
    assert len(kept["arrays"]) == 3  # the head's, DLSA's, the labels
    drawn = np.random.default_rng(0).integers(0, 2, 10_000)
    table = predictions_table(np.zeros(10_000, int), {(0, "validated"): drawn})
    released = table.assign(protocol="as_released")
    kept = decisions({"a": table, "b": released})
    (key,) = kept["right"]["validated"]["a"]
    assert len(kept["arrays"][key]) < 1_750
    assert kept["right"]["as_released"].keys() == {"b"}


def test_numbers_that_move_as_one_are_judged_as_one() -> None:
    """Alone and minus an unmoved head: one test, not two that Holm would halve.

    Six images of 400 that were wrong are right: p is between 2.5 and 5 %.
    """
    found = moved(run(), run(better(6)))
    p = found["full", None].change.p_value
    assert 0.025 < p < 0.05
    assert {move.change.verdict for move in found.values()} == {MORE}
