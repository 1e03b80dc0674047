"""Speed and memory, measured; the figures are committed with the device's name."""
