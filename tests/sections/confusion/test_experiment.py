"""Confusion matrices by bins, error masses and the claims of Sect. 4."""

import numpy as np
import pytest

from replication.samples.predictions import predictions_table
from replication.sections.confusion.experiment import (
    PARTS,
    Pair,
    areas,
    binned_confusion,
    binned_predictions,
    confusion_claims,
    confusion_matrices,
    error_scores,
    frequency_bins,
    mass_records,
    masses,
    measure_confusion,
    pair_predictions,
)

# Four classes in two bins: the frequent are 1 and 3, the rare 0 and 2.
COUNTS = np.array([5, 300, 10, 200])
BINS = np.array([1, 0, 1, 0])
LABELS = np.array([1, 1, 3, 3, 0, 0, 2, 2])
PREDICTIONS = np.array([[1, 3, 0, 2, 0, 1, 0, 2], [1, 1, 1, 2, 0, 0, 2, 0]])

# Nine classes, most frequent first, of the three shot groups; 150 test images each.
NINE = np.array([900, 500, 300, 80, 60, 40, 9, 7, 5])
NINE_LABELS = np.repeat(np.arange(9), 150)
PROTOCOLS = ("paper", "released_code")


def with_errors(
    shares: dict[tuple[int, int], float], seeds: int = 3, start: int = 0
) -> np.ndarray:
    """Predictions (S, N) with a share of the errors third -> third, else right."""
    predictions = np.tile(NINE_LABELS, (seeds, 1))
    thirds = NINE_LABELS // 3
    for seed, row in enumerate(predictions):
        generator = np.random.default_rng([seed, start])
        draw = generator.random(len(row))
        done = np.zeros(len(row))
        for (true, predicted), share in shares.items():
            mine = (thirds == true) & (draw >= done) & (draw < done + share)
            wrong = (NINE_LABELS + generator.integers(1, 3, len(row))) % 3
            row[mine] = 3 * predicted + wrong[mine]
            done[thirds == true] += share
    return predictions


def claims_of(
    without: dict[tuple[int, int], float], with_dlsa: dict[tuple[int, int], float]
) -> dict[str, str]:
    """Verdict of each test on made predictions, by the first words of the test."""
    bins = frequency_bins(NINE)
    pair = Pair(
        with_errors(without, start=1),
        with_errors(with_dlsa, start=2),
        NINE_LABELS,
        (0, 1, 2),
    )
    claims = confusion_claims(pair, masses(NINE, bins, 9), "paper")
    return {claim["test"].split(": ")[0]: claim["verdict"] for claim in claims}


HEAD = ("Many taken for Few", "frequent half taken for rare")
BLOCKS = "right top, and the middle block"
COLUMNS = "right columns, of the top and middle rows"


def test_bins_by_hand() -> None:
    assert frequency_bins(COUNTS, 2).tolist() == BINS.tolist()


def test_bins_break_ties_by_class_index() -> None:
    assert frequency_bins(np.array([7, 9, 7, 7]), 4).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("classes", [1, 3, 19, 20, 21, 60, 365, 1000, 8142])
def test_bins_partition_the_classes_in_order_and_evenly(classes: int) -> None:
    counts = np.random.default_rng(classes).integers(2, 1000, classes)
    bins = frequency_bins(counts)
    sizes = np.bincount(bins)
    assert len(sizes) == min(classes, 20)
    assert sizes.min() >= 1 and np.ptp(sizes) <= 1
    smallest = [counts[bins == number].min() for number in range(len(sizes))]
    largest = [counts[bins == number].max() for number in range(len(sizes))]
    assert all(np.array(smallest[:-1]) >= np.array(largest[1:]))


def test_errors_by_hand() -> None:
    """Seed 0: 1->3 inside the first bin, 3->0 and 3->2 out of it, 0->1, 2->0."""
    counts = binned_confusion(PREDICTIONS, LABELS, BINS, 2)
    assert counts.tolist() == [[[1, 2], [1, 1]], [[1, 1], [0, 1]]]


def test_all_predictions_by_hand() -> None:
    counts = binned_predictions(PREDICTIONS, LABELS, BINS, 2)
    assert counts.tolist() == [[[2, 2], [1, 3]], [[3, 1], [0, 4]]]


def test_errors_sum_to_the_wrong_predictions_and_all_to_the_test_images() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 30, 500)
    predictions = generator.integers(0, 30, (4, 500))
    bins = frequency_bins(generator.integers(2, 900, 30), 7)
    wrong = binned_confusion(predictions, labels, bins, 7)
    everything = binned_predictions(predictions, labels, bins, 7)
    assert wrong.sum((1, 2)).tolist() == (predictions != labels).sum(1).tolist()
    rows = np.bincount(bins[labels], minlength=7)
    assert (everything.sum(2) == rows).all()
    off_diagonal = ~np.eye(7, dtype=bool)
    assert (wrong[:, off_diagonal] == everything[:, off_diagonal]).all()


def test_one_class_a_bin_leaves_no_errors_on_the_diagonal() -> None:
    counts = binned_confusion(PREDICTIONS, LABELS, np.arange(4), 4)
    assert (np.diagonal(counts, axis1=1, axis2=2) == 0).all()


def test_matrices_by_hand() -> None:
    right = np.tile(LABELS, (2, 1))
    matrices = confusion_matrices(Pair(PREDICTIONS, right, LABELS, (0, 1)), BINS, 2)
    assert matrices["counts"]["without"].tolist() == [[1, 1.5], [0.5, 1]]
    assert matrices["rates"]["without"].tolist() == [[0.25, 0.375], [0.125, 0.25]]
    assert matrices["accuracy"]["without"].tolist() == [0.375, 0.625]
    assert matrices["accuracy"]["with"].tolist() == [1, 1]
    assert (matrices["counts"]["difference"] == -matrices["counts"]["without"]).all()


def test_the_difference_changes_its_sign_when_the_methods_change_places() -> None:
    other = np.roll(PREDICTIONS, 1, axis=1)
    one = confusion_matrices(Pair(PREDICTIONS, other, LABELS, (0, 1)), BINS, 2)
    two = confusion_matrices(Pair(other, PREDICTIONS, LABELS, (0, 1)), BINS, 2)
    for kind in ("counts", "rates"):
        assert (one[kind]["difference"] == -two[kind]["difference"]).all()
        assert one[kind]["difference"].any()


def test_rows_of_rates_and_accuracy_sum_to_one() -> None:
    found = confusion_matrices(Pair(PREDICTIONS, PREDICTIONS, LABELS, (0, 1)), BINS, 2)
    whole = found["rates"]["with"].sum(1) + found["accuracy"]["with"]
    assert whole == pytest.approx([1, 1])


def test_a_bin_without_test_images_has_no_rate() -> None:
    labels = np.array([1, 3])
    pair = Pair(np.array([[1, 0]]), np.array([[1, 3]]), labels, (0,))
    rates = confusion_matrices(pair, BINS, 2)["rates"]["without"]
    assert rates[0].tolist() == [0, 0.5] and np.isnan(rates[1]).all()


def test_areas_of_six_bins_by_hand() -> None:
    named = areas(6)
    drawn = ["".join(".x"[cell] for cell in row) for row in named["blocks"].astype(int)]
    assert drawn == ["....xx", "....xx", "..xx..", "..xx..", "......", "......"]
    drawn = [
        "".join(".x"[cell] for cell in row)
        for row in named["right_columns"].astype(int)
    ]
    assert drawn == ["....xx"] * 4 + ["......"] * 2


@pytest.mark.parametrize("bins", [3, 4, 5, 19, 20])
def test_a_reading_is_its_two_parts(bins: int) -> None:
    named = areas(bins)
    for reading, (first, second) in PARTS.items():
        assert not (named[first] & named[second]).any()
        assert named[reading].sum() == named[first].sum() + named[second].sum()
        assert named[first].any() and named[second].any()


def test_scores_sum_to_the_counts() -> None:
    cells = np.array([[1.0, 10.0], [100.0, 1000.0]])
    scores = error_scores(PREDICTIONS, LABELS, BINS, cells)
    counts = binned_confusion(PREDICTIONS, LABELS, BINS, 2)
    assert scores.shape == PREDICTIONS.shape
    assert scores.sum(1).tolist() == (counts * cells).sum((1, 2)).tolist()


def test_masses_by_hand() -> None:
    """Many: classes 1 and 3, Few: 0 and 2. Without: 3 of 16 errors Many to Few."""
    pair = Pair(PREDICTIONS, np.tile(LABELS, (2, 1)), LABELS, (0, 1))
    kinds = masses(COUNTS, frequency_bins(COUNTS), 4)
    records = {
        (record["mass"], record["of"]): record
        for record in mass_records(pair, kinds, "paper")
    }
    forth, back = records["many_to_few", "all"], records["few_to_many", "all"]
    assert forth["without"]["mean"] == pytest.approx(3 / 16)
    assert forth["without"]["per_seed"] == pytest.approx([2 / 8, 1 / 8])
    assert forth["change"]["mean"] == pytest.approx(-3 / 16)
    assert back["without"]["mean"] == pytest.approx(1 / 16)
    assert records["many_to_few", "true"]["without"]["mean"] == pytest.approx(3 / 8)
    halves = records["upper_to_lower", "all"]["without"]["mean"]
    assert halves == forth["without"]["mean"]


def test_errors_that_no_class_could_make_are_not_counted_as_zero() -> None:
    """Without a Few class nothing can be taken for one."""
    counts = np.array([500, 300, 200, 50])
    pair = Pair(PREDICTIONS, PREDICTIONS, LABELS, (0, 1))
    kinds = masses(counts, frequency_bins(counts), 4)
    records = mass_records(pair, kinds, "paper")
    assert all(
        np.isnan(record["change"]["mean"]) == (record["mass"].count("few") == 1)
        for record in records
    )
    claims = confusion_claims(pair, kinds, "paper")
    assert claims[0]["verdict"] == "not run"
    assert claims[1]["verdict"] != "not run"


def test_removed_head_to_tail_errors_support_the_sentence() -> None:
    verdicts = claims_of({(0, 2): 0.6, (2, 0): 0.2}, {(0, 2): 0.2, (2, 0): 0.2})
    assert {verdicts[name] for name in HEAD} == {"supported"}


def test_added_head_to_tail_errors_contradict_it() -> None:
    verdicts = claims_of({(0, 2): 0.2}, {(0, 2): 0.6})
    assert set(verdicts.values()) == {"contradicted"}


def test_unchanged_predictions_leave_it_undecided() -> None:
    pair = Pair(*[with_errors({(0, 2): 0.4, (1, 1): 0.3})] * 2, NINE_LABELS, (0, 1, 2))
    claims = confusion_claims(pair, masses(NINE, frequency_bins(NINE), 9), "paper")
    assert len(claims) == 4
    for claim in claims:
        assert claim["mean"] == 0 and claim["p_value"] == 1
        assert claim["low"] < 0 < claim["high"]  # 0 of few images is not certain
        assert claim["verdict"] == "undecided"


def test_an_error_per_cell_counts_as_one_error_over_cells() -> None:
    """Where nothing changes, the interval of a part is that of its share, per cell."""
    same = with_errors({(0, 2): 0.4, (1, 1): 0.3})
    pair = Pair(same, same, NINE_LABELS, (0, 1, 2))
    kinds = masses(NINE, frequency_bins(NINE), 9)
    blocks = next(
        claim
        for claim in confusion_claims(pair, kinds, "paper")
        if claim["test"].startswith(BLOCKS)
    )
    (share,) = (
        record["change"]
        for record in mass_records(pair, kinds, "paper")
        if (record["mass"], record["of"]) == ("right_top", "all")
    )
    part = blocks["parts"][kinds["right_top"].label]
    assert share["high"] > 0
    assert part["high"] == pytest.approx(share["high"] / 9)


def test_every_test_has_p_values_a_correction_and_what_could_have_been_seen() -> None:
    without = {(0, 2): 0.4, (1, 1): 0.3}
    some = {
        name: predictions_table(
            NINE_LABELS,
            {
                (seed, protocol): row
                for seed, row in enumerate(with_errors(errors, start=number))
                for protocol in PROTOCOLS
            },
        )
        for number, (name, errors) in enumerate(
            {"without": without, "with": {(0, 2): 0.2, (1, 1): 0.2}}.items()
        )
    }
    claims = measure_confusion(some["without"], some["with"], NINE)["claims"]
    for claim in claims:
        family = [one for one in claims if one["protocol"] == claim["protocol"]]
        assert claim["p_value"] <= claim["holm"] <= len(family) * claim["p_value"]
        assert claim["detectable"] > 0


def test_fewer_tail_to_head_errors_say_nothing_of_head_to_tail() -> None:
    verdicts = claims_of({(2, 0): 0.6}, {(2, 0): 0.2})
    assert {verdicts[name] for name in HEAD} == {"undecided"}


def test_the_two_readings_are_told_apart() -> None:
    """Right top falls in both; the middle block only in the first reading."""
    before = {(0, 2): 0.6, (1, 1): 0.45, (1, 2): 0.45}
    blocks = claims_of(before, {(0, 2): 0.1, (1, 1): 0.05, (1, 2): 0.75})
    assert (blocks[BLOCKS], blocks[COLUMNS]) == ("supported", "contradicted")
    columns = claims_of(before, {(0, 2): 0.1, (1, 1): 0.75, (1, 2): 0.05})
    assert (columns[BLOCKS], columns[COLUMNS]) == ("contradicted", "supported")


def test_reductions_that_are_larger_outside_contradict_the_areas() -> None:
    """Both parts lose errors, but the rest of the matrix loses more by the cell."""
    before = {(true, predicted): 0.3 for true in range(3) for predicted in range(3)}
    named = ((0, 2), (1, 1), (1, 2))
    after = {cell: 0.26 if cell in named else 0.0 for cell in before}
    pair = Pair(
        with_errors(before, start=1),
        with_errors(after, start=2),
        NINE_LABELS,
        (0, 1, 2),
    )
    claims = confusion_claims(pair, masses(NINE, frequency_bins(NINE), 9), "paper")
    for claim in claims[2:]:
        contrast = claim["parts"].pop("inside minus outside")
        assert all(part["mean"] > 0 for part in claim["parts"].values())
        assert contrast["high"] < 0
        assert claim["verdict"] == "contradicted"


def test_an_area_is_judged_by_its_smallest_part() -> None:
    pair = Pair(
        with_errors({(0, 2): 0.6, (1, 1): 0.4}, start=1),
        with_errors({(0, 2): 0.1, (1, 1): 0.4}, start=2),
        NINE_LABELS,
        (0, 1, 2),
    )
    claims = confusion_claims(pair, masses(NINE, frequency_bins(NINE), 9), "paper")
    blocks = claims[2]
    assert len(blocks["parts"]) == 3
    for end in ("mean", "low"):
        assert blocks[end] == min(part[end] for part in blocks["parts"].values())
    # One of three is below zero by chance thrice as often: its upper end is further up.
    assert blocks["high"] > min(part["high"] for part in blocks["parts"].values())
    assert blocks["verdict"] == "undecided"


def test_an_area_with_a_part_that_cannot_be_measured_is_not_run() -> None:
    """No test image of the middle third: right top alone is not the area."""
    some = NINE_LABELS[NINE_LABELS // 3 != 1]
    pair = Pair(np.where(some < 3, 8, some)[None], some[None], some, (0,))
    claims = confusion_claims(pair, masses(NINE, frequency_bins(NINE), 9), "paper")
    assert [claim["verdict"] for claim in claims[2:]] == ["not run", "not run"]
    assert claims[0]["verdict"] == "supported"


def test_inside_minus_outside_by_hand() -> None:
    """Nine cells of three bins, two of them inside; one error of each kind goes.

    Inside loses 1 of 3 images over 2 cells, outside 1 of 3 over 7.
    """
    counts = np.array([500, 50, 5])
    labels = np.arange(3)
    pair = Pair(np.array([[2, 1, 0]]), labels[None], labels, (0,))
    claim = confusion_claims(pair, masses(counts, frequency_bins(counts), 3), "paper")[
        2
    ]
    parts = claim["parts"]
    assert parts["inside minus outside"]["mean"] == pytest.approx(1 / 3 / 2 - 1 / 3 / 7)
    first = next(name for name in parts if name.startswith("right top"))
    assert parts[first]["mean"] == pytest.approx(1 / 3)


def tables(seeds: tuple[int, ...], labels: np.ndarray) -> tuple:
    """Tables without and with, the first with right answers only."""
    return tuple(
        predictions_table(
            labels,
            {(seed, p): (labels + shift) % 4 for seed in seeds for p in PROTOCOLS},
        )
        for shift in (0, 1)
    )


def test_everything_from_two_tables() -> None:
    found = measure_confusion(*tables((0, 1), LABELS), COUNTS)
    assert found["seeds"] == [0, 1]
    assert [one["largest"] for one in found["bins"]] == [300, 200, 10, 5]
    assert [one["test_images"] for one in found["bins"]] == [2, 2, 2, 2]
    assert set(found["matrices"]) == set(PROTOCOLS)
    for matrices in found["matrices"].values():
        assert matrices["counts"]["difference"].sum() == len(LABELS)
    areas_of = [record for record in found["areas"] if record["protocol"] == "paper"]
    assert all(np.isnan(record["reductions"]) for record in areas_of)
    assert {claim["protocol"] for claim in found["claims"]} == set(PROTOCOLS)


def test_other_seeds_and_other_labels_are_refused(refused) -> None:
    without, _ = tables((0, 1), LABELS)
    _, fewer = tables((0,), LABELS)
    assert refused(lambda: pair_predictions(without, fewer, "paper")) == [
        "predictions: expected the same seeds without and with DLSA, got [0, 1] and [0]"
    ]
    _, other = tables((0, 1), LABELS[::-1])
    assert refused(lambda: pair_predictions(without, other, "paper")) == [
        "predictions: expected the same labels without and with DLSA, got 8 and 8 that "
        "differ"
    ]
