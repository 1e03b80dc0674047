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


@pytest.mark.parametrize("seed", range(2))
def test_accuracies_equal_scikit_learns(seed: int) -> None:
    """Overall is the share right; a group's is the mean of its classes' recalls."""
    predictions, labels, counts = random_case(seed)
    found = accuracies(predictions, labels, counts)
    assert found["overall"] == pytest.approx(accuracy_score(labels, predictions))
    recalls = recall_score(labels, predictions, average=None, labels=np.arange(12))
    for name, size in (("many", 300), ("medium", 50), ("few", 7)):
        assert found[name] == pytest.approx(recalls[counts == size].mean())


def test_what_is_not_tested_does_not_count() -> None:
    """Of Medium only class 1 is tested, of Few none: NaN, neither 0 nor left out."""
    labels, predictions = np.array([0, 1, 1]), np.array([0, 1, 0])
    values = accuracies(predictions, labels, EDGES)
    assert values["medium"] == pytest.approx(1 / 2)
    assert math.isnan(values["few"])
    assert np.isnan(accuracy_weights(labels, EDGES)["few"]).all()


@pytest.mark.parametrize("seed", range(2))
def test_a_metric_is_the_weighted_mean_of_its_scores(seed: int) -> None:
    """The last three are scikit-learn's; of a balanced test set one repeats Overall."""
    predictions, labels, counts = random_case(seed)
    weights = metric_weights(labels, counts)
    expected = accuracies(predictions, labels, counts) | {
        "mcc": matthews_corrcoef(labels, predictions),
        "nmi": normalized_mutual_info_score(labels, predictions),
        "class_mean": balanced_accuracy_score(labels, predictions),
    }
    assert weights.keys() == expected.keys()
    assert "class_mean" not in metric_weights(np.repeat(np.arange(12), 3), counts)
    for metric, value in expected.items():
        scores = metric_scores(metric, predictions[None], labels, 12)
        assert scores @ weights[metric] == pytest.approx([value])
