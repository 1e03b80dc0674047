"""Independent pieces of a stage, several at once: a process for each, on the CPU.

At the sizes of linear heads and small features a second thread adds nothing, a second
process doubles the pace. On a GPU the pieces go one after the other: there one piece
fills the device. So they do where there are more than twice as many cores as pieces,
each piece with all threads: a forked process can have only one.
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from replication.core.device import refusal
from replication.core.files import BadInput

Tell = Callable[[int, int, Mapping[str, float]], None]
Piece = Callable[[Tell], None]
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def side_by_side(of: int, device: torch.device) -> bool:
    """Whether so many pieces run in processes of their own, several at once."""
    cores = torch.get_num_threads()
    return device.type == "cpu" and of > 1 and 1 < cores <= 2 * of


def run_pieces(
    pieces: Sequence[Piece], of: int, device: torch.device, tell: Tell
) -> None:
    """Run pieces of work that do not need one another; each keeps what it made itself.

    Implements: not in the paper: how a piece is run does not depend on how many of its
    sisters are still to do, so that a run that was killed comes out the same.

    Args:
        pieces: those still to do; each told where to report (step, steps, metrics) and
            writes its own file.
        of: how many there are together with those already done.
        device: on the CPU as many pieces run at once as there are cores; they are
            forked, so that the features are in memory once.
        tell: reported to.

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
        _forked(list(pieces), cores, tell)
    finally:
        torch.set_num_threads(cores)


def _forked(pieces: list[Piece], at_once: int, tell: Tell) -> None:
    context = multiprocessing.get_context("fork")
    live: dict[Connection, BaseProcess] = {}
    try:
        while pieces or live:
            while pieces and len(live) < at_once:
                ours, theirs = context.Pipe(duplex=False)
                work = (pieces.pop(0), theirs, os.getpid())
                process = context.Process(target=_one_piece, args=work)
                process.start()
                theirs.close()
                live[ours] = process
            for ready in wait(list(live)):
                try:
                    kind, content = ready.recv()
                except EOFError:
                    _check_end(live.pop(ready))
                    continue
                if kind == "refused":
                    raise BadInput(content)
                tell(*content)
    finally:
        for process in live.values():
            process.kill()
            process.join()


def _one_piece(piece: Piece, out: Connection, parent: int) -> None:
    """What a child does: work, report, and never outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and stops us
    if hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    torch.set_num_threads(1)

    def tell(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        out.send(("told", (step, steps, dict(metrics))))

    try:
        piece(tell)
    except BadInput as error:
        out.send(("refused", error.problems))
    except RuntimeError as error:
        if not (problem := refusal(error)):
            raise
        out.send(("refused", [problem]))


def _check_end(process: BaseProcess) -> None:
    process.join()
    if process.exitcode == 0:
        return
    if process.exitcode is not None and process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        raise BadInput(
            f"expected every process to finish, one was ended by {name}, perhaps for "
            "want of memory; run it again and it goes on"
        )
    raise RuntimeError("a piece of this stage failed; its traceback stands above")
