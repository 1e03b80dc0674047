"""Pieces that run side by side: the same files, one line where one of them fails."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from replication.core.files import BadInput
from replication.core.parallel import run_pieces, threads
from tests.made import is_alive

CPU = torch.device("cpu")


def silent(step: int, steps: int, metrics: object) -> None:
    """Report to nobody."""


@pytest.fixture
def two_cores() -> object:
    """Two threads before, whatever the machine has, and as found after."""
    with threads(2):
        yield


def product(file: Path, seed: int, tell: object) -> None:
    """Write what a product of drawn matrices is."""
    drawn = torch.randn(300, 300, generator=torch.Generator().manual_seed(seed))
    file.write_bytes((drawn @ drawn).numpy().tobytes())
    tell(seed, 3, {"threads": torch.get_num_threads(), "process": os.getpid()})


@pytest.mark.parametrize(
    ("cores", "dimensions"), [(2, 257), (3, None), (6, 257), (7, 256)]
)
def test_pieces_run_in_other_processes_as_they_would_alone_and_report(
    tmp_path: Path, cores: int, dimensions: int | None
) -> None:
    told = []
    with threads(cores):
        (torch.randn(2000, 200) @ torch.randn(200, 2000)).sum()  # threads have worked
        files = {tmp_path / str(seed): seed for seed in range(3)}
        pieces = {file: partial(product, file, seed) for file, seed in files.items()}
        run_pieces(pieces, dimensions, CPU, lambda *what: told.append(what))
        assert torch.get_num_threads() == cores
    assert sorted(step for step, _, _ in told) == [0, 1, 2]
    assert all(metrics["threads"] == 1 for _, _, metrics in told)
    assert os.getpid() not in {metrics["process"] for _, _, metrics in told}
    for seed in range(3):
        alone = tmp_path / "alone"
        product(alone, seed, silent)
        assert (tmp_path / str(seed)).read_bytes() == alone.read_bytes()


@pytest.mark.parametrize(
    ("cores", "of", "dimensions", "each"),
    [(1, 3, 64, 1), (2, 1, 64, 1), (2, 1, 257, 2), (2, 1, None, 2), (7, 3, 257, 7)],
)
def test_one_core_one_piece_or_many_cores_need_no_process(
    tmp_path: Path, cores: int, of: int, dimensions: int | None, each: int
) -> None:
    """What is small has one thread here too."""
    told = []
    with threads(cores):
        files = [tmp_path / str(number) for number in range(of)]
        for done in files[1:]:
            done.touch()
        pieces = {file: partial(product, file, 0) for file in files}
        run_pieces(pieces, dimensions, CPU, lambda *what: told.append(what[2]))
        assert torch.get_num_threads() == cores
    assert told == [{"threads": each, "process": os.getpid()}]


def test_what_a_piece_refuses_is_raised_and_the_others_are_stopped(
    tmp_path: Path, two_cores: None
) -> None:
    def refuses(tell: object) -> None:
        raise BadInput(["one: expected 1, got 2", "two: expected 3, got 4"])

    def waits(tell: object) -> None:
        time.sleep(30)
        (tmp_path / "late").touch()

    clock = time.monotonic()
    with pytest.raises(BadInput) as caught:
        run_pieces({tmp_path / "1": waits, tmp_path / "2": refuses}, 64, CPU, silent)
    assert caught.value.problems == ["one: expected 1, got 2", "two: expected 3, got 4"]
    assert time.monotonic() - clock < 10
    assert not (tmp_path / "late").exists()


def test_a_killed_piece_is_one_line_and_the_others_are_stopped(
    tmp_path: Path, two_cores: None
) -> None:
    def dies(tell: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def waits(tell: object) -> None:
        time.sleep(30)

    clock = time.monotonic()
    with pytest.raises(BadInput) as caught:
        run_pieces({tmp_path / "1": waits, tmp_path / "2": dies}, 64, CPU, silent)
    assert caught.value.problems == [
        "expected every process to finish, one was killed, perhaps for want of memory; "
        "run it again and it goes on"
    ]
    assert time.monotonic() - clock < 10


ORPHAN = """
import os, sys, time, torch
torch.set_num_threads(2)
from pathlib import Path
from replication.core.parallel import run_pieces
def piece(tell):
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(60)
pieces = {Path("not there"): piece, Path(torch.__file__): piece}
run_pieces(pieces, 64, torch.device("cpu"), lambda *what: None)
"""


def test_no_piece_outlives_a_killed_parent(tmp_path: Path) -> None:
    """Else it would go on writing beside the run that takes over."""
    place = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(place)])
    while not (place.is_file() and place.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(place.read_text())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not is_alive(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the piece outlived its parent by 5 seconds")
