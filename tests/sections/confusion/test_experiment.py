"""Confusion matrices by bins, kinds of errors and the claims of Sect. 4."""

import numpy as np
import pytest

from replication.samples.predictions import Paired
from replication.sections.confusion.experiment import (
    READINGS,
    area_claims,
    areas,
    confusion_matrices,
    counts_in_bins,
    error_cells,
    error_kinds,
    frequency_bins,
    head_to_tail_claims,
)
from replication.statistics.results import Cell, Claim, pick
from tests.made import basis

# Four classes in two bins: the frequent are 1 and 3, the rare 0 and 2.
COUNTS = np.array([5, 300, 10, 200])
BINS = np.array([1, 0, 1, 0])
LABELS = np.array([1, 1, 3, 3, 0, 0, 2, 2])
ANSWERS = np.array([[1, 3, 0, 2, 0, 1, 0, 2], [1, 1, 1, 2, 0, 0, 2, 0]])
RIGHT = np.tile(LABELS, (2, 1))

# Nine classes, most frequent first, of the three shot groups; 150 test images each.
NINE = np.array([900, 500, 300, 80, 60, 40, 9, 7, 5])
NINE_LABELS = np.repeat(np.arange(9), 150)
KINDS = error_kinds(NINE, frequency_bins(NINE))

NEW = basis("confusion"), "validated"


def pair(
    without: np.ndarray, with_dlsa: np.ndarray, labels: np.ndarray = LABELS
) -> Paired:
    return Paired({"start": without, "full": with_dlsa}, labels, (0, 1))


Shares = dict[tuple[int, int], float]


def with_errors(shares: Shares, start: int) -> np.ndarray:
    """Predictions (3, N) with a share of the errors third -> third, else right."""
    answers = np.tile(NINE_LABELS, (3, 1))
    thirds = NINE_LABELS // 3
    for seed, row in enumerate(answers):
        generator = np.random.default_rng([seed, start])
        draw = generator.random(len(row))
        done = np.zeros(len(row))
        for (true, predicted), share in shares.items():
            some = (thirds == true) & (draw >= done) & (draw < done + share)
            wrong = (NINE_LABELS + generator.integers(1, 3, len(row))) % 3
            row[some] = 3 * predicted + wrong[some]
            done[thirds == true] += share
    return answers


def claims_of(pairs: Paired, kinds=KINDS) -> tuple[dict[str, Claim], list[Cell]]:
    """Every claim by id, and the parts that those on areas are judged by."""
    placed, parts = area_claims(pairs, kinds, *NEW)
    every = [*head_to_tail_claims(pairs, kinds, *NEW), *placed]
    return {claim.id: claim for claim in every}, parts


def verdicts_of(without: Shares, with_dlsa: Shares) -> dict[str, str]:
    pairs = pair(with_errors(without, 1), with_errors(with_dlsa, 2), NINE_LABELS)
    return {name: claim.verdict for name, claim in claims_of(pairs)[0].items()}


FORTH, BACK = "fewer_many_to_few", "fewer_few_to_many"
ROWS, COLUMNS = "dark_rows", "dark_columns"


# --- bins and matrices


def test_bins_by_hand() -> None:
    assert frequency_bins(COUNTS, 2).tolist() == BINS.tolist()
    assert frequency_bins(np.array([7, 9, 7, 7]), 4).tolist() == [1, 0, 2, 3]
    assert counts_in_bins(COUNTS, BINS) == [
        {"largest": 300, "smallest": 200},
        {"largest": 10, "smallest": 5},
    ]


@pytest.mark.parametrize("classes", [1, 19, 21, 8142])
def test_bins_partition_the_classes_in_order_and_evenly(classes: int) -> None:
    counts = np.random.default_rng(classes).integers(2, 1000, classes)
    bins = frequency_bins(counts)
    sizes = np.bincount(bins)
    assert len(sizes) == min(classes, 20)
    assert sizes.min() >= 1 and np.ptp(sizes) <= 1
    smallest = [counts[bins == number].min() for number in range(len(sizes))]
    largest = [counts[bins == number].max() for number in range(len(sizes))]
    assert all(np.array(smallest[:-1]) >= np.array(largest[1:]))


def test_matrices_by_hand() -> None:
    rates = confusion_matrices(pair(ANSWERS, RIGHT), BINS)
    assert rates["without"].tolist() == [[0.25, 0.375], [0.125, 0.25]]
    assert (rates["difference"] == -rates["without"]).all()


def test_a_bin_without_test_images_has_no_rate() -> None:
    labels = np.array([1, 3])
    pairs = pair(np.array([[1, 0]]), np.array([[1, 3]]), labels)
    rates = confusion_matrices(pairs, BINS)["without"]
    assert rates[0].tolist() == [0, 0.5] and np.isnan(rates[1]).all()


# --- areas


def test_areas_of_six_bins_by_hand() -> None:
    cells = {name: np.argwhere(area).tolist() for name, area in areas(6).items()}
    assert cells == {
        "right_top": [[0, 4], [0, 5], [1, 4], [1, 5]],
        "left_bottom": [[4, 0], [4, 1], [5, 0], [5, 1]],
        "middle": [[2, 2], [2, 3], [3, 2], [3, 3]],
    }


# --- kinds of errors


def test_kinds_of_errors_by_hand() -> None:
    """Many: classes 1 and 3, Few: 0 and 2. Without: 3 of 16 errors Many to Few."""
    kinds = error_kinds(COUNTS, frequency_bins(COUNTS))
    cells = error_cells(pair(ANSWERS, RIGHT), kinds, *NEW)

    def mean(metric: str, method: str = "start", minus: str | None = None) -> float:
        return pick(cells, metric=metric, method=method, minus=minus).mean

    forth = pick(cells, metric="many_to_few", method="start")
    assert forth.per_seed == pytest.approx([2 / 8, 1 / 8])
    assert mean("many_to_few", "full", "start") == pytest.approx(-3 / 16)
    assert mean("few_to_many") == pytest.approx(1 / 16)
    assert mean("many_to_few_rate") == pytest.approx(3 / 8)


def test_errors_that_no_class_could_make_are_not_counted_as_zero() -> None:
    """Without a Few class nothing can be taken for one."""
    counts = np.array([500, 300, 200, 50])
    kinds = error_kinds(counts, frequency_bins(counts))
    pairs = pair(ANSWERS, ANSWERS)
    for cell in error_cells(pairs, kinds, *NEW):
        assert np.isnan(cell.mean) == ("few" in cell.metric)
    claims, _ = claims_of(pairs, kinds)
    assert claims[FORTH].verdict == claims[BACK].verdict == "not run"
    assert claims[ROWS].verdict != "not run"


# --- claims


def test_the_sentence_is_judged_by_both_readings_of_the_axes() -> None:
    """Head images taken for tail, or tail images taken for head."""
    fewer = verdicts_of({(0, 2): 0.6}, {(0, 2): 0.2})
    assert (fewer[FORTH], fewer[BACK]) == ("supported", "undecided")
    more = verdicts_of({(0, 2): 0.2, (2, 0): 0.6}, {(0, 2): 0.6, (2, 0): 0.2})
    assert (more[FORTH], more[BACK]) == ("contradicted", "supported")
    pairs = pair(ANSWERS, RIGHT)
    claims = claims_of(pairs, error_kinds(COUNTS, frequency_bins(COUNTS)))[0]
    assert {claim.reading for claim in claims.values()} == set(READINGS.values())


def test_unchanged_predictions_leave_it_undecided() -> None:
    """0 of few images is not certain."""
    same = with_errors({(0, 2): 0.4, (1, 1): 0.3}, 0)
    for claim in claims_of(pair(same, same, NINE_LABELS))[0].values():
        assert claim.mean == 0 and claim.p_value == 1
        assert claim.low < 0 < claim.high
        assert claim.verdict == "undecided"


def test_the_two_readings_of_the_areas_are_told_apart() -> None:
    """The middle falls in both; the right top is the other corner in the second."""
    before = {(0, 2): 0.45, (1, 1): 0.6, (2, 0): 0.45}
    rows = verdicts_of(before, {(0, 2): 0.05, (1, 1): 0.1, (2, 0): 0.75})
    assert (rows[ROWS], rows[COLUMNS]) == ("supported", "contradicted")
    columns = verdicts_of(before, {(0, 2): 0.75, (1, 1): 0.1, (2, 0): 0.05})
    assert (columns[ROWS], columns[COLUMNS]) == ("contradicted", "supported")


def test_an_area_is_judged_by_its_smallest_part() -> None:
    """One of three is below zero by chance thrice as often: its upper end is higher."""
    pairs = pair(
        with_errors({(0, 2): 0.6, (1, 1): 0.4}, 1),
        with_errors({(0, 2): 0.1, (1, 1): 0.4}, 2),
        NINE_LABELS,
    )
    claims, parts = claims_of(pairs)
    blocks = [
        part for part in parts if part.metric.startswith(("right_top", "mid", "rows"))
    ]
    assert len(blocks) == 3
    claim = claims[ROWS]
    assert claim.mean == min(part.mean for part in blocks)
    assert claim.low == min(part.low for part in blocks)
    assert claim.high > min(part.high for part in blocks)
    assert claim.verdict == "undecided"


def test_inside_minus_outside_by_hand() -> None:
    """Nine cells of three bins, two of them inside; one error of each kind goes.

    Inside loses 1 of 3 images over 2 cells, outside 1 of 3 over 7.
    """
    counts = np.array([500, 50, 5])
    labels = np.arange(3)
    pairs = pair(np.array([[2, 1, 0]]), labels[None], labels)
    _, parts = claims_of(pairs, error_kinds(counts, frequency_bins(counts)))
    contrast = pick(parts, metric="rows_inside_minus_outside")
    assert contrast.mean == pytest.approx(1 / 3 / 2 - 1 / 3 / 7)
    assert pick(parts, metric="right_top_per_cell").mean == pytest.approx(1 / 3)
