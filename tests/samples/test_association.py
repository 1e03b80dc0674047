"""MCC and NMI as sample scores: against scikit-learn, and the coverage of intervals.

The simulation is that of `bench/statistics.py`: a class has its own chances of the
right and of five wrong answers, and a test image a difficulty of its own that all seeds
and
methods share. The truth is the expected statistic of a test set of this size. A
coverage fails that is outside 93 to 97 % by more than two standard errors.
"""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, normalized_mutual_info_score

from bench.statistics import association_coverage
from replication.samples.association import mcc_scores, nmi_scores

BOTH = pytest.mark.parametrize(
    ("scores", "reference"),
    [(mcc_scores, matthews_corrcoef), (nmi_scores, normalized_mutual_info_score)],
    ids=["mcc", "nmi"],
)
Scores = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
Reference = Callable[..., float]


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (3, 80) and labels (80,) of 9 classes, of which not all occur."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(8, size=80)
    wrong = generator.random((3, 80)) < 0.2 + 0.3 * seed
    return np.where(wrong, generator.integers(9, size=(3, 80)), labels), labels


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_scikit_learns(
    scores: Scores, reference: Reference, seed: int
) -> None:
    predictions, labels = random_case(seed)
    found = scores(predictions, labels, 9)
    assert found.shape == predictions.shape
    expected = [reference(labels, row) for row in predictions]
    assert found.mean(1) == pytest.approx(expected, abs=1e-12)


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_a_score_is_what_leaving_the_sample_out_takes(
    scores: Scores, reference: Reference, seed: int
) -> None:
    """Delete-one jackknife, recomputed by scikit-learn without each sample."""
    predictions, labels = random_case(seed)
    found = scores(predictions[:1], labels, 9)[0]
    without = np.array(
        [
            reference(np.delete(labels, i), np.delete(predictions[0], i))
            for i in range(80)
        ]
    )
    assert found - found.mean() == pytest.approx(79 * (without.mean() - without))


def test_nmi_of_two_classes_by_hand() -> None:
    """Labels 0 0 1 1, predicted 0 0 0 1: H(y) = log 2, H(p), H(y, p) from quarters."""
    found = nmi_scores(np.array([[0, 0, 0, 1]]), np.array([0, 0, 1, 1]), 2)
    of_prediction = -(3 / 4 * np.log(3 / 4) + 1 / 4 * np.log(1 / 4))
    joint = -(1 / 2 * np.log(1 / 2) + 2 * 1 / 4 * np.log(1 / 4))
    information = np.log(2) + of_prediction - joint
    assert found.mean() == pytest.approx(2 * information / (np.log(2) + of_prediction))


@BOTH
def test_all_right_is_one_and_one_answer_to_everything_is_nothing(
    scores: Scores, reference: Reference
) -> None:
    """Neither varies with the sample."""
    labels = np.repeat(np.arange(5), 4)
    assert scores(labels[None], labels, 5) == pytest.approx(np.ones((1, 20)))
    constant = np.full(20, 2)
    assert scores(constant[None], labels, 5) == pytest.approx(np.zeros((1, 20)))


@pytest.mark.filterwarnings("ignore:A single label was found")
@BOTH
def test_one_class_alone_is_what_scikit_learn_says(
    scores: Scores, reference: Reference
) -> None:
    """MCC 0, NMI 1."""
    constant = np.full(20, 2)
    alone = scores(constant[None], constant, 5)
    assert (alone == reference(constant, constant)).all()


@pytest.mark.parametrize(
    ("classes", "images", "seeds"), [(20, 20, 1), (30, 10, 3), (120, 3, 1)]
)
def test_95_percent_intervals_hold_the_truth_95_times_in_100(
    classes: int, images: int, seeds: int
) -> None:
    """Also with three seeds that have an effect of their own; 3 are iNaturalist18's."""
    spread = 0.05 * (seeds > 1)
    results = association_coverage(classes, images, seeds, spread, 5, 800)
    assert {(metric, what) for metric, what in results} >= {
        (metric, what) for metric in ("mcc", "nmi") for what in ("value", "difference")
    }
    assert not any(result.outside for result in results.values()), results
