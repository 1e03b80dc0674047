"""ImageNet-LT's settings at another size: worked cases, and what must stay the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.core.scaling import FLOORS, IMAGENET_LT, KEPT, Size, scaled
from replication.core.settings import read_recipe

K, BATCH = ("filter", "num_clusters"), ("filter", "batch_size")
SIGMA, LR = ("filter", "sigma"), ("classifier", "lr")


def test_at_its_own_size_every_setting_is_imagenet_lts() -> None:
    recipe = read_recipe("imagenet_lt")
    for (section, name), at in scaled(IMAGENET_LT).items():
        value = recipe[section][name]["value"]
        assert (at.value, type(at.value)) == (value, type(value))


# CIFAR-100-LT (imbalance factor 100, ResNet-32), then sizes at which a bound holds.
WORKED = [
    (10_847, 64, 47, 96, 0.28284, 1.06800e-3),
    (115_846, 1280, 500, 1024, 0.063246, 1e-4),
    (463, 2048, 2, 32, 0.05, 2.50207e-2),
    (100, 8, 2, 32, 0.8, 9.05047e-2),
    (437_513, 2048, 1888, 3867, 0.05, 2.64783e-5),
]


@pytest.mark.parametrize("case", WORKED, ids=str)
def test_worked(case) -> None:
    samples, dimensions, clusters, batch, sigma, lr = case
    got = scaled(Size(samples, dimensions))
    assert (got[K].value, got[BATCH].value) == (clusters, batch)
    assert got[SIGMA].value == pytest.approx(sigma, rel=1e-4)
    assert got[LR].value == pytest.approx(lr, rel=1e-5)


def test_the_arithmetic_in_words() -> None:
    assert [at.arithmetic for at in scaled(Size(10_847, 64)).values()] == [
        "500 x 10,847 / 115,846",
        "1,024 x 10,847 / 115,846",
        "0.05 x sqrt(2,048 / 64)",
        "0.0001 x 115,846 / 10,847",
    ]
    assert [at.arithmetic for at in scaled(Size(100, 64)).values()] == [
        "500 x 100 / 115,846, at least 2",
        "1,024 x 100 / 115,846, at least 32",
        "0.05 x sqrt(2,048 / 64)",
        "0.0001 x 115,846 / 128 (one batch; 100 samples)",
    ]


def test_below_what_size_a_batch_holds_its_floor() -> None:
    """The number that the floors' sentence names; every scaled setting is explained."""
    assert scaled(Size(3_600, 64))[BATCH].arithmetic == "1,024 x 3,600 / 115,846"
    assert "3,600 samples" in FLOORS
    assert scaled(Size(3_500, 64))[BATCH].arithmetic.endswith("at least 32")
    assert scaled(IMAGENET_LT).keys() == KEPT.keys()


@given(samples=st.integers(5_000, 2_000_000), dimensions=st.integers(2, 4096))
def test_what_has_no_dimension_stays(samples, dimensions) -> None:
    """Samples and pairs of a cluster, steps an epoch, distances, rate times steps."""
    got = {key: at.value for key, at in scaled(Size(samples, dimensions)).items()}
    reference = IMAGENET_LT.samples
    near = {"rel": 0.5 / got[K] + 0.5 / got[BATCH] + 1e-9}  # rounded to whole numbers
    assert samples / got[K] == pytest.approx(reference / 500, **near)
    assert got[BATCH] / got[K] == pytest.approx(1024 / 500, **near)
    assert samples / got[BATCH] == pytest.approx(reference / 1024, **near)
    distance = 2 * dimensions * got[SIGMA] ** 2
    assert distance == pytest.approx(2 * 2048 * 0.05**2)
    assert got[LR] * samples == pytest.approx(1e-4 * reference)
