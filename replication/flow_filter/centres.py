"""Sect. 3's two readings of "three-sigma", from Eq. 5: E|μp − μq|² = 2 D σ²."""

THREE = 3.0


def squared_reading(dimensions: int) -> float:
    """Sigma at which the mean *squared* distance of two centres is 3.

    Implements: Sect. 3, as printed: sigma = sqrt(3 / (2 D)).
    """
    return (THREE / (2 * dimensions)) ** 0.5


def distance_reading(dimensions: int) -> float:
    """Sigma at which the distance itself is 3 (root mean square).

    Implements: Sect. 3's words, `three-sigma borders`: 2 D sigma^2 = 3^2.
    """
    return THREE / (2 * dimensions) ** 0.5
