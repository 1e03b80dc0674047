"""Independent pieces of a stage, several at once: a process for each, on the CPU.

A fit to features of few dimensions has one thread wherever it runs: a second one gains
little on a quiet machine, loses much beside other work (bench/README.md) and moves last
bits; a second process doubles the pace. On a GPU the pieces go one after the other:
there one piece fills the device. So do those of many dimensions, each with all threads,
where there are more than twice as many cores as pieces: a forked process has only one.

Not by joblib: its workers get tensors as copies, and none of its ways of forking
notices a worker that was killed. Forked workers find the pieces where they are.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from replication.core.files import BadInput
from replication.core.processes import end_with
from replication.core.progress import Tell

Piece = Callable[[Tell], None]
_FORK = multiprocessing.get_context("fork")
_FEW = 256  # dimensions
_LOOK = 0.2  # seconds between two looks at what the pieces report
_inherited: tuple[Sequence[Piece], Any] = ((), None)  # in a worker alone


def threads_for(dimensions: int | None) -> int:
    """Threads of a fit to features of so many dimensions; None: to images."""
    few = dimensions is not None and dimensions <= _FEW
    return 1 if few else torch.get_num_threads()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Have PyTorch compute on so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_pieces(
    pieces: Mapping[Path, Piece],
    dimensions: int | None,
    device: torch.device,
    tell: Tell,
) -> None:
    """Run pieces of work that do not need one another, but for those done before.

    How a piece is run does not depend on how many are left, so that a run that was
    killed comes out the same.

    Args:
        pieces: by the file that each writes, the last one where they are several.
        dimensions: of the features that they are fitted to; None: images.

    Raises:
        BadInput: what a piece refused; or a piece was killed. The others are stopped.
    """
    missing = [piece for file, piece in pieces.items() if not file.is_file()]
    cores, each = torch.get_num_threads(), threads_for(dimensions)
    worthwhile = cores > 1 and (each == 1 or cores <= 2 * len(pieces))
    forked = device.type == "cpu" and len(pieces) > 1 and worthwhile
    # No other thread may be at work when a process forks.
    with threads(1 if forked else each):
        if not forked or not missing:
            for piece in missing:
                piece(tell)
            return
        try:
            _run_forked(missing, min(cores, len(missing)), tell)
        except BrokenProcessPool:
            raise BadInput(
                "expected every process to finish, one was killed, perhaps for want of "
                "memory; run it again and it goes on"
            ) from None


def _run_forked(pieces: Sequence[Piece], at_once: int, tell: Tell) -> None:
    told = _FORK.SimpleQueue()
    workers = ProcessPoolExecutor(
        at_once, _FORK, initializer=_begin, initargs=(os.getpid(), pieces, told)
    )
    with workers:
        try:
            running = {workers.submit(_run_piece, i) for i in range(len(pieces))}
            while running:
                done, running = wait(running, _LOOK, FIRST_EXCEPTION)
                while not told.empty():
                    tell(*told.get())
                for piece in done:
                    piece.result()
        except BaseException:
            for process in (workers._processes or {}).values():
                process.kill()
            raise


def _begin(parent: int, pieces: Sequence[Piece], told: Any) -> None:
    """A worker works on one thread, and never outlives its parent."""
    global _inherited
    _inherited = (pieces, told)  # forked with it, never copied
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and stops us
    end_with(parent, signal.SIGKILL)
    torch.set_num_threads(1)


def _run_piece(number: int) -> None:
    pieces, told = _inherited

    def tell(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        told.put((step, steps, dict(metrics)))

    pieces[number](tell)
