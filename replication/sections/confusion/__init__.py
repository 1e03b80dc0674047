"""Sect. 4: confusion matrices without and with DLSA."""
