"""Intervals, verdicts, and the one data model of results."""
