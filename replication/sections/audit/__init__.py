"""The printed numbers, held against each other."""
