"""Training states and checkpoints: tensors in nested containers, as PyTorch keeps them.

Apart from the other files, so that what needs no PyTorch does not wait for it.
"""

import argparse
import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from replication.core.files import (
    BadInput,
    PathLike,
    beginning,
    first_line,
    remedy,
    write_bytes,
)


def write_state(path: PathLike, state: Mapping[str, Any]) -> None:
    """Write a training state (tensors in nested containers) atomically."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes(path, buffer.getvalue())


def read_state(path: PathLike) -> dict[str, Any]:
    """Read a training state; nothing inside the file is executed.

    Raises BadInput: the file is missing, truncated, or holds more than plain tensors.
    """
    try:
        _check_zip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it then refuses, or of its age
            with torch.serialization.safe_globals([argparse.Namespace]):  # timm's
                return torch.load(Path(path), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadInput(f"{path}: expected a file, found nothing") from None
    except Exception as error:  # torch raises half a dozen kinds on a broken file
        if needs := re.search(r"GLOBAL ([\w.]+)", str(error)):
            got = (
                f"one that needs {needs[1]}; nothing in a file is run here: re-save "
                "its state_dict alone as .safetensors"
            )
        else:
            said = first_line(error).partition(". ")[0]  # not how to run what is in it
            got = f"{beginning(path)}: {said}{remedy(path)}"
        raise BadInput(f"{path}: expected a file of plain tensors, got {got}") from None


def _check_zip(path: PathLike) -> None:
    """Hold what `torch.save` wrote against its checksums: `torch.load` does not."""
    if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
        raise zipfile.BadZipFile(f"{damaged} does not fit its checksum")
