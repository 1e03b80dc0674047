"""Several processes of one stage, which torchrun or srun starts, watches and ends."""

import ctypes
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from replication.core.files import BadInput

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
# What SLURM calls a job that is a shell to type in: its step's variables are there, but
# what is typed is no task. Lightning Fabric goes by the first two.
_SHELLS = {"interactive", "bash", "zsh", "fish", "sh", "dash", "ksh", "csh", "tcsh"}


def launched() -> bool:
    """Whether torchrun or srun started this process, as one of several.

    A batch script of SLURM, and a shell in a job, have the variables of the job: what
    they run without srun is alone, however many tasks the job has.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return True
    told = os.environ.get
    if int(told("SLURM_STEP_NUM_TASKS") or 1) == 1:
        return False
    if told("SLURM_TASK_PID") == str(os.getpid()):
        return True  # also where srun was typed in such a shell, which left its mark
    return "SLURM_PTY_PORT" not in os.environ and told("SLURM_JOB_NAME") not in _SHELLS


def is_first() -> bool:
    """Whether this is the process that locks, writes, records and speaks."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0
    return not launched() or int(rank) == 0


def torchrun(name: str, module: str, arguments: list[str], number: int) -> int:
    """Run a stage's module in several processes of this machine, by torchrun.

    Returns the exit code of the process that ended badly first, 0 where none did.
    Raises BadInput: a process was killed.
    """
    # Not at the top: every stage would wait for what one of them needs.
    from torch import get_num_threads
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # what has to be said, the processes say themselves
    os.environ["OMP_NUM_THREADS"] = str(max(get_num_threads() // number, 1))
    asked = ["--standalone", f"--nproc-per-node={number}", "-m", module, *arguments]
    try:
        run.run(run.parse_args(asked))
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            return failure.exitcode
        raise BadInput(
            f"{name}: expected {number} processes to the end, process {rank} was ended "
            f"by {signal.Signals(-failure.exitcode).name}, perhaps for want of memory; "
            "run it again and it goes on"
        ) from None
    finally:
        sys.stdout.flush()
    return 0


def end_with(parent: int, by: signal.Signals) -> None:
    """Have this process ended by a signal once its parent is no more, however it went.

    The parent's thread that started it is what counts: it must live as long.
    """
    if hasattr(libc := ctypes.CDLL(None), "prctl"):
        libc.prctl(_DIE_WITH_PARENT, by)
    if os.getppid() != parent:
        os._exit(1)


# ---- DVC's processes -----------------------------------------------------------------


def end_with_dvc() -> None:
    """Where DVC itself started this process, end with it also where it is killed.

    What a terminal or a script started goes on without it.
    """
    parent = psutil.Process().parent()
    with suppress(psutil.Error):  # gone, or not ours
        if parent and _is_dvc(parent.cmdline()):
            end_with(parent.pid, signal.SIGTERM)


def at_work() -> int | None:
    """The process of a `dvc repro` or `dvc exp run` in this folder; None: none is."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        here = process.info["cwd"] == os.getcwd()
        if here and _is_dvc(process.info["cmdline"] or []):
            return process.pid
    return None


def runner() -> str | None:
    """The run of DVC that started this process, by a name that no other has."""
    for process in psutil.Process().parents():
        with suppress(psutil.Error):  # gone, or not ours
            if _is_dvc(process.cmdline()):
                return f"dvc-{process.pid}-{process.create_time()}"
    return None


def has_ended(run: str) -> bool:
    """Whether the run of DVC that has this name is over."""
    return not psutil.pid_exists(int(run.split("-")[1]))


def _is_dvc(command: list[str]) -> bool:
    called = any(Path(part).name == "dvc" for part in command[:3])
    runs = {"repro", "exec-run"} & {*command}  # the latter of a queue, in its folder
    return called and (bool(runs) or {"exp", "run"} <= {*command})
