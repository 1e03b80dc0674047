"""MCC and NMI as scores of test samples, so that one interval serves all six metrics.

Neither is a mean over samples. Delete-one jackknife: a sample's score is the statistic
plus (N - 1) times what leaving the sample out takes from it, centred, so that the mean
of the scores is the statistic and their spread its sampling error. Differences of
methods, strata and seeds are then handled by `intervals.estimate` as for accuracies.

Other ways fail where classes have few test images (iNaturalist18 has 3). A bootstrap
raises NMI, because a resampled pair (label, prediction) is its own duplicate. The
derivative with respect to a sample's weight understates the error of NMI, because
k log k is far from straight at k = 3. How often the jackknife's intervals hold:
`bench/statistics.md`.

The truth that is meant is the expected statistic of a test set of this size: NMI falls
as a test set grows, so that only test sets of one size can be compared.
"""

import numpy as np

# What one answer more moves a sample's score by, see `intervals.estimate`. Of NMI it
# depends on how many are right: much where nearly all are, little elsewhere.
STEPS = {"mcc": 1.0, "nmi": 0.0}


def mcc_scores(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Each sample's part in the Matthews correlation coefficient.

    Implements: Sect. 6, Table 1: MCC of several classes.

    Args:
        predictions: (S, N) class of each test sample under each seed.
        labels: (N,), N >= 2.
        num_classes: C.

    Returns (S, N); the mean over samples is scikit-learn's `matthews_corrcoef`: 0 where
    one class is predicted or present alone.
    """
    return np.stack([_mcc(row, labels, num_classes) for row in predictions])


def nmi_scores(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    """Each sample's part in the normalised mutual information.

    Implements: Sect. 6, Table 1: NMI with arithmetic normalisation, natural logs.

    Returns (S, N), arguments as in `mcc_scores`; the mean over samples is
    scikit-learn's `normalized_mutual_info_score`.
    """
    return np.stack([_nmi(row, labels, num_classes) for row in predictions])


def _jackknifed(whole: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(N,) scores from the statistic of all samples and (N,) that without each."""
    return whole + (len(without) - 1) * (without.mean() - without)


def _mcc(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    present = np.bincount(labels, minlength=num_classes).astype(float)
    given = np.bincount(predicted, minlength=num_classes).astype(float)
    right = (predicted == labels).astype(float)
    size, chance = len(labels), present @ given
    whole = _mcc_of(size, right.sum(), chance, present @ present, given @ given)
    without = _mcc_of(
        size - 1,
        right.sum() - right,
        chance - present[predicted] - given[labels] + right,
        present @ present - 2 * present[labels] + 1,
        given @ given - 2 * given[predicted] + 1,
    )
    return _jackknifed(whole, without)


def _mcc_of(
    size: int,
    right: np.ndarray,
    chance: np.ndarray,
    present: np.ndarray,
    given: np.ndarray,
) -> np.ndarray:
    """MCC from whole numbers, each () or (N,): samples, and how many are right.

    Of the class counts of labels and predictions: their inner product, `chance`, and
    that of each with itself, `present` and `given`.
    """
    scale = (size**2 - present) * (size**2 - given)
    known = scale > 0
    scale = np.where(known, scale, 1.0)
    return np.where(known, (right * size - chance) / np.sqrt(scale), 0.0)


def _nmi(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    pairs = labels.astype(np.int64) * num_classes + predicted
    joint, present, given = (_entropies(v) for v in (pairs, labels, predicted))
    return _jackknifed(
        *(_nmi_of(*of) for of in zip(joint, present, given, strict=True))
    )


def _nmi_of(joint: np.ndarray, present: np.ndarray, given: np.ndarray) -> np.ndarray:
    """NMI from entropies, each () or (N,), nats; 1 where there is one class alone."""
    total = present + given
    known = total > 0
    return np.where(known, 2 - 2 * joint / np.where(known, total, 1.0), 1.0)


def _entropies(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entropy of the values' distribution, and (N,) that without each; nats.

    log N - sum k log k / N over the counts k of the values that occur: never a table
    of all pairs of classes.
    """
    _, number, count = np.unique(values, return_inverse=True, return_counts=True)
    size, terms = len(values), _k_log_k(count)
    less = (terms - _k_log_k(count - 1))[number]
    whole = np.log(size) - terms.sum() / size
    without = np.log(size - 1) - (terms.sum() - less) / (size - 1)
    return _cleared(whole), _cleared(without)


def _cleared(entropy: np.ndarray) -> np.ndarray:
    """Make 0 what rounding left of it; the least entropy above 0 is about log N / N."""
    return np.where(entropy < 1e-9, 0.0, entropy)


def _k_log_k(count: np.ndarray) -> np.ndarray:
    return count * np.log(np.maximum(count, 1))
