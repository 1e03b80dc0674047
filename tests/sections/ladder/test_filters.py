"""AUROC with DeLong's variance by hand, against a bootstrap, and its claims."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from replication.sections.ladder.filters import (
    Filters,
    auroc_scores,
    classes_weighed,
    filter_cells,
    filter_claims,
    group_weights,
)
from replication.statistics.intervals import Estimate, estimate
from replication.statistics.results import PROTOCOLS, pick
from tests.made import basis

COUNTS = np.array([200, 50, 8])  # Many, Medium, Few
BASIS = basis("ladder", counts=COUNTS)


def estimated(values: np.ndarray, few: np.ndarray, many: np.ndarray) -> Estimate:
    auroc, scores = auroc_scores(values, few, many)
    found = estimate(scores[None], group_weights(few, many), few * 1.0, step=0)
    assert found.mean == pytest.approx(auroc)
    return found


def test_delongs_variance_by_hand() -> None:
    """Few 3 and 1.5, Many 1 and 2: 3 beats both, 1.5 one of them; 1 loses to both.

    Components 1, 0.5 and 1, 0.5; each has variance 1/8, so 1/8 / 2 + 1/8 / 2.
    """
    values = np.array([3, 1.5, 1, 2, 99.0])
    few = np.array([True, True, False, False, False])
    many = np.array([False, False, True, True, False])
    found = estimated(values, few, many)
    assert found.mean == pytest.approx(0.75)
    assert found.test_variance == pytest.approx(1 / 8)


def test_a_tie_counts_half() -> None:
    few, many = np.array([True, False, False]), np.array([False, True, True])
    assert auroc_scores(np.array([2.0, 2.0, 1.0]), few, many)[0] == 0.75


def drawn(few: int, many: int, apart: float, seed: int) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(few + many)
    members = np.arange(few + many) < few
    return values + apart * members, members, ~members


def test_interval_agrees_with_a_bootstrap() -> None:
    values, few, many = drawn(60, 150, 0.8, 1)
    found = estimated(values, few, many)
    assert found.mean == pytest.approx(roc_auc_score(few, values))
    generator = np.random.default_rng(2)
    again = []
    for _ in range(2000):
        some = [generator.choice(np.flatnonzero(g), g.sum()) for g in (few, many)]
        rows = np.concatenate(some)
        again.append(roc_auc_score(few[rows], values[rows]))
    assert found.error == pytest.approx(np.std(again), rel=0.1)


def test_who_has_left_counts_for_nothing() -> None:
    values, few, many = drawn(60, 150, 0.8, 1)
    whole = estimated(values, few, many)
    padded = np.concatenate([values, [np.nan] * 40])
    more = [
        np.concatenate([group, [flag] * 40]) for group, flag in ((few, 1), (many, 0))
    ]
    found = estimated(padded, *(group.astype(bool) for group in more))
    assert found.mean == pytest.approx(whole.mean)
    assert found.test_variance == pytest.approx(whole.test_variance, rel=0.02)


# ---- Filters of a run


def filters(apart: dict[str, float], counts=COUNTS, seeds: int = 3) -> Filters:
    """Depth 1: Few's log P(x) lies so much above; then half of the samples are gone."""
    generator = np.random.default_rng(0)
    arrays, sizes = {}, {"train": (200, 50, 8), "test": (100, 100, 100)}
    for split, size in sizes.items():
        labels = np.repeat(np.arange(3), size)
        arrays[f"labels.{split}"] = labels
        for seed in range(seeds):
            for protocol in PROTOCOLS:
                noise = generator.standard_normal(len(labels))
                values = (noise + apart[split] * (labels == 2)).astype(np.float32)
                arrays[f"{seed}.{protocol}.1.{split}"] = values
                left = np.where(values > np.median(values), np.nan, values)
                arrays[f"{seed}.{protocol}.2.{split}"] = left
    run = {"filters": dict.fromkeys(PROTOCOLS, [{"threshold": 0.5}] * 2)}
    return Filters(arrays, {str(seed): run for seed in range(seeds)}, counts)


def test_cells_by_hand() -> None:
    some = filters({"train": 3.0, "test": 1.0})
    cells = filter_cells(some, 2.0, BASIS)
    labels = some.arrays["labels.test"]
    values = some.arrays["1.validated.1.test"]
    of = {"protocol": "validated", "at": "depth 1, test", "minus": None}
    few, many = labels == 2, labels == 0
    expected = roc_auc_score(few[few | many], values[few | many])
    assert pick(cells, metric="auroc", **of).per_seed[1] == pytest.approx(expected)
    share = (values[few] >= 0.5).mean()
    assert pick(cells, metric="few_leaves", **of).per_seed[1] == pytest.approx(share)
    deeper = some.arrays["1.validated.2.test"][few]
    there = deeper[~np.isnan(deeper)]
    found = pick(cells, metric="few_leaves", **of | {"at": "depth 2, test"})
    assert found.per_seed[1] == pytest.approx((there >= 0.5).mean())
    train, test, gap = (
        pick(cells, metric="auroc", **of | changes)
        for changes in (
            {"at": "depth 1, train"}, {}, {"minus": "depth 1, train"},
        )
    )  # fmt: skip
    assert gap.mean == pytest.approx(test.mean - train.mean)
    apart = train.test_variance + test.test_variance
    assert gap.test_variance == pytest.approx(apart)


def test_classes_weighed_by_hand() -> None:
    """Weights 1, 1/4: (5/4)^2 / (17/16) = 25/17; with q = 0 all count alike."""
    assert classes_weighed(np.array([3, 6]), 2.0) == pytest.approx(25 / 17)
    assert classes_weighed(np.array([3, 6, 900]), 0.0) == pytest.approx(3)
    cells = filter_cells(filters({"train": 1.0, "test": 1.0}), 0.0, BASIS)
    assert pick(cells, metric="classes_weighed").mean == pytest.approx(3)


@pytest.mark.parametrize(
    ("train", "test", "separates", "generalises"),
    [
        (6.0, 6.0, "supported", "supported"),
        (3.0, 0.8, "supported", "contradicted"),
        (2.0, 0.0, "undecided", "contradicted"),
        (1.0, -1.0, "contradicted", "contradicted"),
        (1.5, 2.5, "supported", "supported"),  # better on test is as well
        (-1.0, 0.0, "undecided", "undecided"),  # as what separates nothing
    ],
)
def test_claims_on_test_and_beside_training(
    train: float, test: float, separates: str, generalises: str
) -> None:
    claims = filter_claims(filters({"train": train, "test": test}), BASIS)
    assert [(claim.id, claim.protocol) for claim in claims] == [
        (name, protocol)
        for protocol in PROTOCOLS
        for name in ("filter_separates", "filter_generalises")
    ]
    assert [claim.verdict for claim in claims[:2]] == [separates, generalises]


def test_without_few_classes_nothing_is_tested() -> None:
    none = filters({"train": 1.0, "test": 1.0}, counts=np.array([200, 50, 60]))
    claims = filter_claims(none, BASIS)
    assert {claim.verdict for claim in claims} == {"not run"}
    cells = filter_cells(none, 2.0, BASIS)
    assert math.isnan(pick(cells, metric="auroc").mean)
    assert math.isnan(pick(cells, metric="few_leaves").mean)
    assert not math.isnan(pick(cells, metric="many_leaves").mean)
