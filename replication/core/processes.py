"""Several processes of one stage, which torchrun or srun starts, watches and ends."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from replication.core.cores import cores
from replication.core.files import BadInput

# Names by which SLURM knows a job whose shell has a step's variables, but no tasks;
# Lightning Fabric goes by them too.
_INTERACTIVE = ("bash", "interactive")


def launched() -> bool:
    """Whether torchrun or srun started this process, as one of several.

    A batch script of SLURM, and a shell in a job, have the variables of the job: what
    they run without srun is alone, however many tasks the job has.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return True
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    return tasks > 1 and os.environ.get("SLURM_JOB_NAME") not in _INTERACTIVE


def is_first() -> bool:
    """Whether this is the process that locks, writes, records and speaks."""
    rank = os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))
    return not launched() or int(rank) == 0


def torchrun(name: str, module: str, arguments: list[str], number: int) -> int:
    """Run a stage's module in several processes of this machine, by torchrun.

    Returns:
        The exit code of the process that ended badly first, 0 where none did.

    Raises:
        BadInput: a process was killed.
    """
    # Not at the top: every stage would wait for what one of them needs.
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)  # what has to be said, the processes say themselves
    threads = int(os.environ.get("OMP_NUM_THREADS", cores()))
    os.environ["OMP_NUM_THREADS"] = str(max(threads // number, 1))
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


# ---- DVC's processes -----------------------------------------------------------------


def at_work() -> int | None:
    """The process of a `dvc repro` or `dvc exp run` in this folder; None: none is."""
    for place in Path("/proc").glob("[0-9]*"):
        pid = int(place.name)
        try:
            if _is_dvc(pid) and (place / "cwd").readlink() == Path.cwd():
                return pid
        except OSError:  # gone, or not ours
            continue
    return None


def runner() -> str | None:
    """The run of DVC that started this process, by a name that no other has."""
    for pid, started in _ancestors():
        if _is_dvc(pid):
            return f"dvc-{pid}-{started}"
    return None


def _is_dvc(pid: int) -> bool:
    parts = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    called = any(Path(part).name == "dvc" for part in parts[:3])
    return called and ("repro" in parts or {"exp", "run"} <= {*parts})


def _ancestors() -> Iterator[tuple[int, str]]:
    """This process's parent, that one's, and so on: id and when it started."""
    pid = os.getppid()
    while pid > 1:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return
        yield pid, fields[19]
        pid = int(fields[1])
