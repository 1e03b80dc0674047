"""Sect. 2: the momentum estimator, Eq. 1 to 4."""
