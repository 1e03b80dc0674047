"""Long tails: published counts, shot groups, thinning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.core.files import read_json
from replication.core.settings import PUBLISHED
from replication.samples.shots import (
    class_counts,
    exponential_counts,
    shot_groups,
    thin,
)


@pytest.mark.parametrize(
    ("factor", "images"), [(100, 10_847), (50, 12_608), (10, 19_573)]
)
def test_cifar100_lt_has_the_fields_number_of_images(factor, images) -> None:
    counts = exponential_counts(500, factor, 100)
    assert counts.sum() == images
    assert counts[0] == 500 and counts[-1] == 500 // factor


@given(st.integers(1, 5000), st.floats(1, 1000, allow_nan=False), st.integers(1, 400))
def test_exponential_counts_fall_and_none_is_empty(largest, factor, classes) -> None:
    counts = exponential_counts(largest, factor, classes)
    assert counts.shape == (classes,) and counts.dtype == np.int64
    assert counts[0] == largest
    assert counts.min() >= 1
    assert (np.diff(counts) <= 0).all()


def test_edges_of_the_shot_groups() -> None:
    groups = shot_groups(np.array([0, 19, 20, 100, 101, 5000]))
    assert {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()} == {
        "many": [4, 5],
        "medium": [2, 3],
        "few": [0, 1],
    }


# As published: classes, images, max, min, Many, Medium, Few
PUBLISHED_COUNTS = {
    "imagenet_lt": (1000, 115_846, 1280, 5, 385, 479, 136),
    "places_lt": (365, 62_500, 4980, 5, 131, 163, 71),
    "inat18": (8142, 437_513, 1000, 2, 842, 4076, 3224),
}


def published_counts(benchmark: str) -> np.ndarray:
    histogram = read_json(PUBLISHED / "class_counts.json")[benchmark]["histogram"]
    return np.repeat([int(count) for count in histogram], list(histogram.values()))


@pytest.mark.parametrize("benchmark", PUBLISHED_COUNTS)
def test_published_counts_are_those_of_the_lists(benchmark) -> None:
    counts = published_counts(benchmark)
    sizes = [int(mask.sum()) for mask in shot_groups(counts).values()]
    assert PUBLISHED_COUNTS[benchmark] == (
        len(counts),
        counts.sum(),
        counts.max(),
        counts.min(),
        *sizes,
    )
    entry = read_json(PUBLISHED / "class_counts.json")[benchmark]
    assert (entry["classes"], entry["images"]) == PUBLISHED_COUNTS[benchmark][:2]


@given(
    labels=st.lists(st.integers(0, 4), max_size=80),
    counts=st.lists(st.integers(1, 20), min_size=5, max_size=5),
    validation=st.integers(0, 6),
    seed=st.integers(0, 100),
)
def test_thinning_takes_what_it_may_and_never_twice(
    labels, counts, validation, seed
) -> None:
    array = np.array(labels, dtype=np.int64)
    train, held_out = thin(
        array, np.array(counts), validation, np.random.default_rng(seed)
    )
    assert not set(train) & set(held_out)
    for chosen in (train, held_out):
        assert (np.diff(chosen) > 0).all()
    at_hand = class_counts(array, 5)
    in_train = np.minimum(at_hand, counts)
    assert class_counts(array[train], 5).tolist() == in_train.tolist()
    left = np.minimum(at_hand - in_train, validation)
    assert class_counts(array[held_out], 5).tolist() == left.tolist()
