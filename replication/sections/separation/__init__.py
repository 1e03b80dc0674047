"""Sect. 1: Fig. 2, head and tail sent apart with probability p."""
