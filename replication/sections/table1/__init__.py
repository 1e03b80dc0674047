"""Sect. 6: Table 1."""
