"""Time, memory and the machine's own rate; nothing here knows the method."""

import ctypes
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

from replication.core.cores import cores
from replication.core.device import device_name
from replication.core.files import BadInput
from replication.core.products import linear

_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): /proc/pid/clear_refs
_LOOK = 2.0  # seconds in which it is seen how busy the machine is


@dataclass(frozen=True)
class Taken:
    """What a figure took.

    Fields: `seconds` of a GPU, or of processor time over all threads, which other jobs
    hardly change: the median of its repetitions; `waited` on the clock: their mean,
    since a core is shared in slices that are longer than many of them; the first
    repetition left out. `peak_mb` most memory while it ran, beyond what was there
    before it began.
    """

    seconds: float
    waited: float
    peak_mb: float


def take(work: Callable[[], Any], repeats: int, device: torch.device) -> Taken:
    """Run work a few times over; its first time counts for memory alone.

    In a process that has done other work a repetition may find its memory elsewhere
    than the one before, and the peak be of both: see `in_fresh_process`.
    """
    before = _start_of_peak(device)
    times = []
    for _ in range(repeats):
        start = _now(device)
        work()
        end = _now(device)
        times.append((end[0] - start[0], end[1] - start[1]))
    seconds, waited = zip(*times[1:], strict=True)
    spent = statistics.median(seconds), statistics.mean(waited)
    return Taken(*spent, _peak(device) - before)


def _now(device: torch.device) -> tuple[float, float]:
    """The device's own clock, and the wall's; once it has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter(), time.perf_counter()
    return time.process_time(), time.perf_counter()


def _start_of_peak(device: torch.device) -> float:
    """MB in use; from here on the peak is a new one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    # What the C library keeps of freed memory would be used by the work unseen.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    return _status_mb("VmRSS")


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def product_rate(device: torch.device, repeats: int = 8) -> float:
    """Operations a second of a (1024, 2048) x (2048, 2048) product, by filters' own."""
    left = torch.randn(1024, 2048, device=device)
    right = torch.randn(2048, 2048, device=device)
    taken = take(lambda: linear(left, right), repeats + 1, device)
    return 2 * 1024 * 2048**2 / taken.seconds


def about_machine(device: torch.device) -> dict[str, Any]:
    """Device, versions, date, cores that others use; no path, no host's name."""
    return {
        "device": device_name(device),
        "kind": device.type,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": round(psutil.cpu_percent(_LOOK) / 100 * psutil.cpu_count(), 1),
    }


def slug(device: torch.device) -> str:
    """The device's name as a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


@contextmanager
def beside_load(processes: int) -> Iterator[None]:
    """Have so many processes be busy meanwhile."""
    spins = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spins) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def in_fresh_process(module: str, *arguments: str, **environment: str) -> Any:
    """Run a module by itself, so that its peak is its own; it ends with JSON.

    Raises:
        BadInput: it failed; the last line that it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    given = os.environ | environment
    done = subprocess.run(command, capture_output=True, text=True, env=given)
    if done.returncode:
        said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        raise BadInput(f"{' '.join(command[1:])}: exit {done.returncode}: {said}")
    return json.loads(done.stdout.splitlines()[-1])
