"""Sect. 7: Table 2, the ablation."""
