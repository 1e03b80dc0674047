"""Samples as arrays: features, shot groups, metrics, predictions."""
