"""What is said of time and memory is of the work, and of nothing before it."""

import time

import pytest
import torch

from bench.measuring import in_fresh_process, slug, take
from replication.core.files import BadInput

CPU = torch.device("cpu")


def test_the_peak_is_of_the_work_alone() -> None:
    """100 MB, whatever was there before it, whatever stays, whatever was freed."""
    found = in_fresh_process("tests.bench.peaks")
    assert found["after_more"] == pytest.approx(100, abs=15)
    assert found["beside_freed_blocks"] == pytest.approx(100, abs=15)
    assert found["beside_what_stays"] < 15


def test_the_first_repetition_is_not_timed() -> None:
    waits = iter((0.2, 0.01, 0.01, 0.01))
    assert 0.01 <= take(lambda: time.sleep(next(waits)), 4, CPU).seconds < 0.1


def test_a_process_that_fails_is_named(refused) -> None:
    [problem] = refused(lambda: in_fresh_process("json.tool", "no-such-file"))
    assert problem.startswith("-m json.tool no-such-file: exit 2: ")
    assert problem.endswith("No such file or directory: 'no-such-file'")


def test_a_slug_is_a_file_name() -> None:
    assert set(slug(CPU)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    with pytest.raises(BadInput):
        in_fresh_process("bench.no_such_module")
