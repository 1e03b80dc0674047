"""The device that a stage runs on, and whether it repeats itself to the byte."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from replication.core.files import BadInput

_WORKSPACES = (":4096:8", ":16:8")
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


def about_device(device: torch.device | None) -> dict[str, Any]:
    """A device as a run record has it; None where a stage computes on none.

    `devices` counts those that a network is trained on, a process on each. `tf32` says
    whether matrix products and convolutions may round their factors to 10 bits.
    """
    if device is None:
        return {"device_kind": None, "device_model": None, "devices": None}
    about: dict[str, Any] = {
        "device_kind": device.type,
        "device_model": model_name(device),
        "devices": number_of_devices(),
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


def number_of_devices() -> int:
    """Processes, a device each, that this one computes with; itself included."""
    distributed = torch.distributed
    started = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if started else 1


def _driver() -> str | None:
    """The GPU driver's version; None where it does not say.

    Whatever goes wrong here, a run of days must not be lost to it.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            return pynvml.nvmlSystemGetDriverVersion()
        finally:
            pynvml.nvmlShutdown()
    except Exception:
        return None


# ---- The same each time -------------------------------------------------------------


def set_deterministic(wanted: bool) -> None:
    """Have every operation compute the same bytes each time, or refuse.

    The setting `deterministic`. On a CPU a run repeats itself without it, as long as
    the number of threads is the same. On a GPU what PyTorch lists under
    torch.use_deterministic_algorithms may not; of that this suite uses convolutions,
    `scatter_add_` and the gradients of `gather` and `index_select`, which have a
    deterministic form that is selected here. It uses none of those that have no such
    form; a network of timm's may (the gradient of `interpolate`, or of adaptive pooling
    to more than one cell), and is then refused by name. Products are kept at full
    precision, without TF32.

    Called before the first product on a GPU, since cuBLAS reads its workspace once.
    """
    if wanted:
        if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in _WORKSPACES:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = _WORKSPACES[0]
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(wanted)


def set_tf32(wanted: bool) -> None:
    """Have a GPU's matrix products round their factors to 10 bits, or keep all 23.

    The setting `tf32`. What it does to a filter's density is measured in
    bench/README.md. Convolutions are left as PyTorch has them.
    """
    torch.backends.cuda.matmul.allow_tf32 = wanted


def refusal(error: RuntimeError) -> str | None:
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

    Raises:
        BadInput: this machine does not have it.
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
