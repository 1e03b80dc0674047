"""Time, memory and the machine's own ceilings; nothing here knows the method."""

import ctypes
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from replication.core.device import device_name
from replication.core.files import BadInput

_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): /proc/pid/clear_refs


@dataclass(frozen=True)
class Taken:
    """What a figure took.

    Fields: `seconds` median of its repetitions, the first left out; `peak_mb` most
    memory while it ran, beyond what was there before it began.
    """

    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Ceilings:
    """What the device can do at best, measured.

    Fields: `products` floating-point operations a second of a (1024, 2048) x (2048,
    2048) product, by type; `copy` bytes a second, read and written, of a large copy.
    """

    products: dict[str, float]
    copy: float


def take(work: Callable[[], Any], repeats: int, device: torch.device) -> Taken:
    """Run work a few times over; its first time counts for memory alone.

    In a process that has done other work a repetition may find its memory elsewhere
    than the one before, and the peak be of both: see `in_fresh_process`.

    Args:
        work: done anew each time; what it returns is dropped.
        repeats: >= 2.
    """
    before = _start_of_peak(device)
    times = []
    for _ in range(repeats):
        start = now(device)
        work()
        times.append(now(device) - start)
    return Taken(statistics.median(times[1:]), _peak(device) - before)


def now(device: torch.device) -> float:
    """Seconds on a clock, once the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _start_of_peak(device: torch.device) -> float:
    """MB in use; from here on the peak is a new one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    _hand_back_freed_memory()
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    return _status_mb("VmRSS")


def _hand_back_freed_memory() -> None:
    """What the C library keeps of it would else be used by the work unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def measure_ceilings(device: torch.device, repeats: int = 8) -> Ceilings:
    """Rates of products at float32, TF32 (on a GPU) and bfloat16, and of a copy."""
    rates = {"float32": _product_rate(device, torch.float32, repeats)}
    if device.type == "cuda":
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        rates["tf32"] = _product_rate(device, torch.float32, repeats)
        torch.backends.cuda.matmul.allow_tf32 = before
    rates["bfloat16"] = _product_rate(device, torch.bfloat16, repeats)
    return Ceilings(rates, _copy_rate(device, repeats))


def _product_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    left = torch.randn(1024, 2048, device=device).to(dtype)
    right = torch.randn(2048, 2048, device=device).to(dtype)
    out = torch.empty(1024, 2048, device=device, dtype=dtype)
    taken = take(lambda: torch.mm(left, right, out=out), repeats + 1, device)
    return 2 * 1024 * 2048**2 / taken.seconds


def _copy_rate(device: torch.device, repeats: int) -> float:
    source = torch.ones(2**25, device=device)
    target = torch.empty_like(source)
    taken = take(lambda: target.copy_(source), repeats + 1, device)
    return 2 * source.numel() * source.itemsize / taken.seconds


def about_machine(device: torch.device) -> dict[str, Any]:
    """Device, versions, date, and how busy the machine was; no path, no host's name."""
    return {
        "device": device_name(device),
        "kind": device.type,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": round(os.getloadavg()[0], 1),
    }


def slug(device: torch.device) -> str:
    """The device's name as a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def in_fresh_process(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module by itself, so that its peak is its own; it ends with JSON.

    Raises:
        BadInput: it failed; the last line that it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        raise BadInput(f"{' '.join(command[1:])}: exit {done.returncode}: {said}")
    return json.loads(done.stdout.splitlines()[-1])


def free_mb() -> float:
    """Memory that this machine can still give."""
    lines = Path("/proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", lines, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def as_json(taken: Taken, ceilings: Ceilings) -> str:
    """One figure with the ceilings measured beside it, as a line."""
    return json.dumps(asdict(taken) | {"ceilings": asdict(ceilings)})
