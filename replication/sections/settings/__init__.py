"""Sect. 5: every setting beside the published one; discrepancies."""
