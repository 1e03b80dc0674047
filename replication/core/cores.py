"""How many cores this process may use, how its threads wait, what memory it keeps."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_OF_THIS_PROCESS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
# How OpenMP's threads wait; how often GNU's look before they sleep.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
# mallopt(3) of glibc, and the largest block that it lets a heap have.
_TRIM_ABOVE, _MAP_ABOVE, _LARGEST = -1, -3, 2**25


def cores(process: Path = _OF_THIS_PROCESS, cgroups: Path = _CGROUPS) -> int:
    """Cores that this process may use: those it is bound to, within its quota.

    Args:
        process: what Linux says the process's control groups are.
        cgroups: the folder that these lie in.
    """
    bound = hasattr(os, "sched_getaffinity")  # not on macOS
    allowed = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    return max(int(min([allowed, *_quotas(process, cgroups)])), 1)


def _quotas(process: Path, cgroups: Path) -> Iterator[float]:
    """Cores' worth of time, of each group and those above it that have a limit."""
    for line in process.read_text().splitlines() if process.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = cgroups / "cpu" if controllers else cgroups
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # no such file, or "max"
                if controllers:  # version 1
                    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                    quota, period = (int((folder / n).read_text()) for n in names)
                else:
                    quota, period = map(int, (folder / "cpu.max").read_text().split())
                if quota > 0:
                    yield quota / period
            if folder == top:
                break


def share_the_machine() -> None:
    """Have threads wait awake for a moment, then sleep; no more than the quota allows.

    Threads that stay awake take the time of those that they wait for, as soon as
    anything else runs; those that sleep at once are woken at every step, which costs
    more than a small step takes. It holds where PyTorch is not loaded yet, and whatever
    the user has set stays.
    """
    if not os.environ.keys() & WAITING.keys():
        os.environ |= WAITING
    if cores() < cores(process=Path(os.devnull)):  # PyTorch goes by the latter alone
        os.environ.setdefault("OMP_NUM_THREADS", str(cores()))


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, instead of giving it back at once.

    A step of a fit takes and frees the same few MB each time; pages that are given back
    come again one by one, which can take half of the step.
    """
    if hasattr(c := ctypes.CDLL(None), "mallopt"):  # not on macOS
        c.mallopt(_MAP_ABOVE, _LARGEST)
        c.mallopt(_TRIM_ABOVE, 2**30)
