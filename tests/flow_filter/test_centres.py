"""Both readings of "three-sigma", worked by hand."""

import pytest

from replication.flow_filter.centres import distance_reading, squared_reading


def test_equation_5_set_to_three_and_to_three_squared() -> None:
    """At D = 1024: 2 D sigma^2 = 3 gives 0.038, the printed 0.04; = 9 gives 0.066."""
    assert squared_reading(1024) == pytest.approx(0.03827, abs=1e-5)
    assert 2 * 1024 * squared_reading(1024) ** 2 == pytest.approx(3)
    assert 2 * 1024 * distance_reading(1024) ** 2 == pytest.approx(9)
