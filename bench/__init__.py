"""Speed and memory, measured; the figures are committed with the device's name."""

import replication  # noqa: F401  (first: how threads wait is read when PyTorch loads)
