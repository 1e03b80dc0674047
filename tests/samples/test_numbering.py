"""Rows of a classifier in another order than the labels are seen in its answers."""

import numpy as np
import pytest

from replication.samples.numbering import swapped_classes

LABELS = np.repeat(np.arange(12), 20)
GENERATOR = np.random.default_rng(0)


def answered(numbers: list[int], share: float) -> np.ndarray:
    """Answers that are right, as far as numbers go, for a share of the samples."""
    right = np.array(numbers)[LABELS]
    chance = GENERATOR.integers(0, 12, len(LABELS))
    return np.where(GENERATOR.random(len(LABELS)) < share, right, chance)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_sorted_text_in_place_of_numbers_is_seen(share) -> None:
    """0, 1, 10, 11, 2, ..., 9: ten of twelve classes move."""
    order = sorted(range(12), key=str)
    assert swapped_classes(answered(order, share), LABELS).tolist() == [*range(2, 12)]
    two = [0, 1, 2, 4, 3, *range(5, 12)]
    assert swapped_classes(answered(two, share), LABELS).tolist() == [3, 4]


def test_a_poor_classifier_is_no_other_numbering() -> None:
    """All rare classes as common ones; pairs that are hard to tell apart; too few."""
    assert swapped_classes(answered([*range(12)], 0.6), LABELS).tolist() == []
    assert swapped_classes(LABELS // 4, LABELS).tolist() == []
    alike = np.where(np.arange(240) % 20 < 12, LABELS ^ 1, LABELS)
    assert swapped_classes(alike, LABELS).tolist() == []
    few = np.array([0] * 9 + [1] * 4 + [2] * 4)
    answers = np.array([0] * 9 + [2] * 4 + [1] * 4)
    assert swapped_classes(answers, few).tolist() == []
