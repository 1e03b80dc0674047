"""Peaks of known works, measured in a process whose heap nothing else has used.

python -m tests.bench.peaks
"""

import json

import torch

from bench.measuring import take

CPU = torch.device("cpu")
MB = 2**20


def work() -> None:
    """100 MB, for a moment."""
    torch.ones(100 * MB // 4).sum()


def after_more() -> float:
    """A higher peak than the work's, and over before it."""
    before = torch.ones(400 * MB // 4)
    del before
    return take(work, 2, CPU).peak_mb


def beside_freed_blocks() -> float:
    """400 MB that the C library keeps, resident, in its heap for reuse.

    Blocks under glibc's mmap threshold, which rises to what is freed, stay there.
    """
    threshold = torch.ones(30 * MB // 4)
    del threshold
    blocks = [torch.ones(20 * MB // 4) for _ in range(20)]
    pins = [torch.ones(64) for _ in range(2000)]  # above them: not to be trimmed
    del blocks
    peak = take(work, 2, CPU).peak_mb
    assert len(pins) == 2000
    return peak


def beside_what_stays() -> float:
    """100 MB that are there before and after."""
    kept = torch.ones(100 * MB // 4)
    return take(lambda: kept[:10].sum(), 2, CPU).peak_mb


if __name__ == "__main__":
    peaks = (after_more, beside_freed_blocks, beside_what_stays)
    print(json.dumps({peak.__name__: peak() for peak in peaks}))
