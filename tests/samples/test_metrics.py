"""Worked cases of the six metrics of Table 1."""

import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    matthews_corrcoef,
    normalized_mutual_info_score,
    recall_score,
)

from replication.samples.metrics import (
    ACCURACIES,
    accuracies,
    accuracy_weights,
    metric_scores,
    metric_weights,
)

# On the edges: 101 is Many, 100 and 20 are Medium, 19 is Few.
EDGES = np.array([101, 100, 20, 19])


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, labels and training counts of 12 classes, 4 a shot group."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(12, size=600)
    wrong = generator.random(600) < 0.4
    predictions = np.where(wrong, generator.integers(12, size=600), labels)
    counts = np.repeat([300, 50, 7], 4)[generator.permutation(12)]
    return predictions, labels, counts


def test_shot_groups_by_hand_on_the_edges() -> None:
    """Class shares right: 1/2, 1, 1/4, 1; groups {101}, {100, 20}, {19}."""
    labels = np.array([0, 0, 1, 2, 2, 2, 2, 3, 3])
    predictions = np.array([0, 1, 1, 2, 0, 0, 0, 3, 3])
    found = accuracies(predictions, labels, EDGES)
    assert found == pytest.approx(
        {"overall": 5 / 9, "many": 1 / 2, "medium": (1 + 1 / 4) / 2, "few": 1}
    )


@pytest.mark.parametrize(
    ("count", "group"),
    [(101, "many"), (100, "medium"), (20, "medium"), (19, "few"), (0, "few")],
)
def test_thresholds(count: int, group: str) -> None:
    """Many is above 100, Few below 20, Medium 20 to 100 with both ends."""
    found = accuracies(np.array([0]), np.array([0]), np.array([count]))
    assert found.pop("overall") == found.pop(group) == 1
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("seed", range(3))
def test_accuracies_equal_scikit_learns(seed: int) -> None:
    """Overall is the share right; a group's is the mean of its classes' recalls."""
    predictions, labels, counts = random_case(seed)
    found = accuracies(predictions, labels, counts)
    assert found["overall"] == pytest.approx(accuracy_score(labels, predictions))
    recalls = recall_score(labels, predictions, average=None, labels=np.arange(12))
    for name, size in (("many", 300), ("medium", 50), ("few", 7)):
        assert found[name] == pytest.approx(recalls[counts == size].mean())
        mine = np.isin(labels, np.flatnonzero(counts == size))
        with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
            balanced = balanced_accuracy_score(labels[mine], predictions[mine])
        assert found[name] == pytest.approx(balanced)


def test_weights_sum_to_one_and_stay_within_their_group() -> None:
    predictions, labels, counts = random_case(5)
    weights = accuracy_weights(labels, counts)
    assert tuple(weights) == ACCURACIES
    for name, weight in weights.items():
        assert weight.shape == labels.shape
        assert weight.sum() == pytest.approx(1)
        right = (predictions == labels) @ weight
        assert right == pytest.approx(accuracies(predictions, labels, counts)[name])
    assert (weights["few"][counts[labels] != 7] == 0).all()
    # Each class of a group carries the same weight in all.
    per_class = np.bincount(labels, weights["few"], minlength=12)
    assert per_class[counts == 7] == pytest.approx(1 / 4)


def test_a_class_without_test_samples_does_not_count() -> None:
    """Classes 1 and 2 are Medium; only 1 is tested, so Medium is class 1 alone."""
    labels, predictions = np.array([0, 1, 1]), np.array([0, 1, 0])
    found = accuracies(predictions, labels, EDGES)
    assert found["medium"] == pytest.approx(1 / 2)
    assert math.isnan(found["few"])


@pytest.mark.parametrize("counts", [[500, 200, 300], [50, 60, 70], [1, 2, 3]])
def test_an_empty_group_is_nan(counts: list[int]) -> None:
    """NaN, neither 0 nor left out; the other groups stand."""
    labels = np.array([0, 1, 2])
    found = accuracies(np.array([0, 1, 1]), labels, np.array(counts))
    empty = [name for name, value in found.items() if math.isnan(value)]
    assert len(empty) == 2
    assert sorted(set(found.values()) - {found[name] for name in empty}) == [2 / 3]
    weights = accuracy_weights(labels, np.array(counts))
    assert all(np.isnan(weights[name]).all() for name in empty)


@pytest.mark.parametrize("seed", range(2))
def test_a_metric_is_the_weighted_mean_of_its_scores(seed: int) -> None:
    """All six; the last two are scikit-learn's."""
    predictions, labels, counts = random_case(seed)
    weights = metric_weights(labels, counts)
    expected = accuracies(predictions, labels, counts) | {
        "mcc": matthews_corrcoef(labels, predictions),
        "nmi": normalized_mutual_info_score(labels, predictions),
    }
    assert weights.keys() == expected.keys()
    for metric, value in expected.items():
        scores = metric_scores(metric, predictions[None], labels, 12)
        assert scores @ weights[metric] == pytest.approx([value])
