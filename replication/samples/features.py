"""A split's samples on the device; features that do not fit there are streamed."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Of a device's free memory, what features may take, and of what is left then, latents.
_SHARE_OF_FREE = 0.5


class Streamed:
    """Rows (N, D) in host memory that are on the device only while they are used.

    It answers to what is asked of features on a device: their shape, their rows, new
    tensors beside them. The same rows give the same numbers as resident features.
    """

    def __init__(self, table: Tensor, device: torch.device) -> None:
        self.table = table.pin_memory() if device.type == "cuda" else table
        self.device = device
        self.shape, self.dtype = table.shape, table.dtype

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Some rows, on the device: (n,) or a slice -> (n, D)."""
        if isinstance(rows, slice):
            return self.table[rows].to(self.device, non_blocking=True)
        return self.index_select(0, rows)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Rows by number, (n,) on any device -> (n, D) on this one."""
        assert dim == 0
        shape = (len(rows), self.shape[1])
        pinned = self.device.type == "cuda"
        chosen = torch.empty(shape, dtype=self.dtype, pin_memory=pinned)
        torch.index_select(self.table, 0, rows.cpu(), out=chosen)
        return chosen.to(self.device, non_blocking=True)

    def new_empty(self, *shape: int) -> Tensor:
        """Uninitialised, on the device, of the features' type."""
        return torch.empty(shape, dtype=self.dtype, device=self.device)


Features = Tensor | Streamed


@dataclass(frozen=True)
class Samples:
    """One split: features (N, D) float32, labels (N,) int64, both on the device.

    Features that do not fit there are `Streamed` to it.
    """

    features: Features
    labels: Tensor


def place(tables: dict[str, Tensor], device: torch.device) -> dict[str, Features]:
    """Put features on a device; of those that do not fit together the largest stay.

    `tables` is split -> (N, D) on the CPU; emptied, so that no table is there twice.
    """
    order = list(tables)
    placed: dict[str, Features] = {}
    left = room(device)
    for name in sorted(tables, key=lambda name: tables[name].nbytes):
        table = tables.pop(name)
        left -= table.nbytes
        placed[name] = table.to(device) if left >= 0 else Streamed(table, device)
    return {name: placed[name] for name in order}


def in_turn(first: Features, second: Features) -> Features:
    """Rows of the first, then of the second; streamed where either is."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    tables = [
        part.cpu() if isinstance(part, Tensor) else part.table
        for part in (first, second)
    ]
    return Streamed(torch.cat(tables), first.device)


def room(device: torch.device) -> float:
    """Bytes that one kind of array may take there; on a CPU nothing is in the way."""
    if device.type != "cuda":
        return float("inf")
    return _SHARE_OF_FREE * torch.cuda.mem_get_info(device)[0]
