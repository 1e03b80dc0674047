"""Sect. 3: the spread of the centres, Eq. 5."""
