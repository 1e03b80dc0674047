"""The device that a stage runs on, and whether it repeats itself to the byte."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from replication.core.files import BadInput

_NOT_DETERMINISTIC = "does not have a deterministic implementation"


def model_name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    about = Path("/proc/cpuinfo")
    for line in about.read_text().splitlines() if about.is_file() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def about_device(device: torch.device) -> dict[str, Any]:
    """A device as a run record has it."""
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    about: dict[str, Any] = {
        "device": device_name(device),
        "device_kind": device.type,
        "device_model": model_name(device),
        "devices": torch.distributed.get_world_size() if started else 1,
        "threads": torch.get_num_threads(),
        "peak_gpu_memory_mb": None if gpu is None else round(gpu / 2**20),
    }
    if device.type == "cuda":
        about |= {
            "cuda": torch.version.cuda,
            "driver": _driver(),
            "tf32": {
                "matrix products": torch.backends.cuda.matmul.allow_tf32,
                "convolutions": torch.backends.cudnn.allow_tf32,
            },
        }
    return about


def _driver() -> str | None:
    """The GPU driver's version; None where it does not say: no run is lost to it."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml.nvmlSystemGetDriverVersion()
    except Exception:
        return None


# ---- The same each time -------------------------------------------------------------


def set_arithmetic(deterministic: bool, tf32: bool = False) -> None:
    """Have every operation compute the same bytes each time, or refuse.

    A CPU repeats itself anyway. On a GPU, operations get their deterministic form; one
    without any, as timm's networks may have, is refused by name. `tf32`: a GPU may
    round the factors of its products to 10 bits, where it need not repeat itself. To be
    called before the first product on a GPU, since cuBLAS reads its workspace once.
    """
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    for products in (torch.backends.cuda.matmul, torch.backends.cudnn):
        products.allow_tf32 = tf32 and not deterministic
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(deterministic)


def refusal(error: Exception) -> str | None:
    """What a reader is told of an operation that cannot compute the same each time.

    None where PyTorch refused something else.
    """
    operation, refused, _ = str(error).partition(_NOT_DETERMINISTIC)
    if not refused:
        return None
    return (
        "machine.deterministic: expected operations that compute the same each time, "
        f"got {operation.strip()}, which has no such form on this device; set it to "
        "false or take another network"
    )


def device_name(device: torch.device) -> str:
    """What a reader calls the device: the GPU, or the processor and its threads."""
    if device.type == "cuda":
        return model_name(device)
    threads = torch.get_num_threads()
    return f"{model_name(device)}, {threads} thread{'s' if threads > 1 else ''}"


def pick_device(name: str) -> torch.device:
    """The device that the setting `device` names.

    Raises BadInput: this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    number = int(name.split(":")[1]) if ":" in name else 0
    if name.startswith("cuda") and number >= torch.cuda.device_count():
        raise BadInput(
            f"params.yaml: machine.device: expected one of this machine's "
            f"{torch.cuda.device_count()} GPUs or cpu, got {name!r}"
        )
    return torch.device(name)
