"""Independent pieces of a stage, several at once: a process for each, on the CPU.

At the sizes of linear heads and small features a second thread adds nothing, a second
process doubles the pace. On a GPU the pieces go one after the other: there one piece
fills the device. So they do where there are more than twice as many cores as pieces,
each piece with all threads: a forked process can have only one.

Not by joblib: its workers get tensors as copies, and none of its ways of forking
notices a worker that was killed. Forked workers find the pieces where they are.
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from replication.core.files import BadInput
from replication.core.progress import Tell

Piece = Callable[[Tell], None]
_FORK = multiprocessing.get_context("fork")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
_LOOK = 0.2  # seconds between two looks at what the pieces report
_inherited: tuple[Sequence[Piece], Any] = ((), None)  # in a worker alone


def side_by_side(of: int, device: torch.device) -> bool:
    """Whether so many pieces run in processes of their own, several at once."""
    cores = torch.get_num_threads()
    return device.type == "cpu" and of > 1 and 1 < cores <= 2 * of


def run_pieces(
    pieces: Sequence[Piece], of: int, device: torch.device, tell: Tell
) -> None:
    """Run pieces of work that do not need one another; each writes its own file.

    `of` counts them together with those already done: how a piece is run does not
    depend on how many are left, so that a run that was killed comes out the same.

    Raises:
        BadInput: what a piece refused; or a piece was killed. The others are stopped.
    """
    if not side_by_side(of, device):
        for piece in pieces:
            piece(tell)
        return
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # no other thread may be at work when a process forks
    try:
        _run_forked(pieces, cores, tell)
    except BrokenProcessPool:
        raise BadInput(
            "expected every process to finish, one was killed, perhaps for want of "
            "memory; run it again and it goes on"
        ) from None
    finally:
        torch.set_num_threads(cores)


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
    if hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    torch.set_num_threads(1)


def _run_piece(number: int) -> None:
    pieces, told = _inherited

    def tell(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        told.put((step, steps, dict(metrics)))

    pieces[number](tell)
