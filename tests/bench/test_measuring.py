"""What is said of time and memory is of the work, and of nothing before it."""

import time

import pytest
import torch

from bench.measuring import in_fresh_process, slug, take
from replication.files import BadInput

CPU = torch.device("cpu")
MB = 2**20


def test_the_peak_is_of_the_work_alone() -> None:
    before = torch.ones(400 * MB // 4)  # a higher peak than the work's
    del before

    def work() -> None:
        torch.ones(100 * MB // 4).sum()

    assert take(work, 2, CPU).peak_mb == pytest.approx(100, abs=15)


def test_memory_that_the_c_library_kept_for_reuse_is_counted_as_the_works() -> None:
    """Blocks under glibc's mmap threshold stay in its heap, resident, once freed."""
    threshold = torch.ones(30 * MB // 4)  # glibc raises it to what is freed
    del threshold
    blocks = [torch.ones(20 * MB // 4) for _ in range(20)]
    pins = [torch.ones(64) for _ in range(2000)]  # above them, so that none is trimmed
    del blocks

    def work() -> None:
        torch.ones(100 * MB // 4).sum()

    assert take(work, 2, CPU).peak_mb == pytest.approx(100, abs=15)
    assert len(pins) == 2000


def test_what_stays_from_before_is_not_counted() -> None:
    kept = torch.ones(100 * MB // 4)
    assert take(lambda: kept[:10].sum(), 2, CPU).peak_mb < 15


def test_the_first_repetition_is_not_timed() -> None:
    waits = iter((0.2, 0.01, 0.01, 0.01))
    assert 0.01 <= take(lambda: time.sleep(next(waits)), 4, CPU).seconds < 0.1


def test_a_process_that_fails_is_named(refused) -> None:
    [problem] = refused(lambda: in_fresh_process("bench.figures", "x", "ours", "cpu"))
    assert problem.startswith("-m bench.figures x ours cpu: exit 1: ValueError: not en")


def test_a_slug_is_a_file_name() -> None:
    assert set(slug(CPU)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    with pytest.raises(BadInput):
        in_fresh_process("bench.no_such_module")
