"""The run record of a stage: what made its files, and what that took.

A record holds times, so that no stage but `report` reads one. Which records lie behind
a file is found by path: each lists what its run read and what it made.
"""

import ast
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from replication.core.files import content_hash, read_json

RECORDS = Path("outputs") / "records"
PACKAGE = Path(__file__).resolve().parent.parent
_LIBRARIES = ("torch", "torchvision", "timm", "nflows", "lightning-fabric", "numpy")


def record_of(stage: str) -> Path:
    """Where the run record of a stage lies, by the stage's name in dvc.yaml.

    That of `report` lies outside the folder that `report` itself reads.
    """
    return (RECORDS.parent if stage == "report" else RECORDS) / f"{stage}.json"


def read_records(folder: Path = RECORDS) -> dict[str, dict[str, Any]]:
    """Every run record, by the stage's name."""
    records = (read_json(path) for path in sorted(folder.glob("*.json")))
    return {record["stage"]: record for record in records}


def records_behind(
    paths: list[str], records: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Records of every run that files rest on, in the order of the graph."""
    behind: dict[str, dict[str, Any]] = {}

    def follow(path: str) -> None:
        for name, record in records.items():
            made = any(
                path == out or path.startswith(f"{out}/") for out in record["outputs"]
            )
            if made and name not in behind:
                for before in record["inputs"]:
                    follow(before)
                behind[name] = record

    for path in paths:
        follow(path)
    return list(behind.values())


def loaded_modules() -> dict[str, str]:
    """Content hash of each module of this package that is loaded, by its path."""
    return {_called(path): content_hash(path) for path in _loaded()}


def code_hash() -> str:
    """Hash of what the loaded modules of this package do.

    Neither comments nor docstrings count, nor where a line is broken.
    """
    return content_hash(
        {_called(path): _without_words(path.read_text()) for path in _loaded()}
    )


def _without_words(code: str) -> str:
    """A module's syntax tree, without its docstrings, as text."""
    tree = ast.parse(code)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def _loaded() -> list[Path]:
    """Files of loaded modules, if still there: one may go while a stage runs."""
    files = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    paths = {Path(file).resolve() for file in files if file and PACKAGE.name in file}
    return sorted(p for p in paths if PACKAGE in p.parents and p.is_file())


def _called(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def commit() -> dict[str, Any]:
    """The checked-out commit, and whether the code is as committed."""
    status = _git("status", "--porcelain", "--", PACKAGE.name, "dvc.yaml")
    head = _git("rev-parse", "HEAD")
    return {"commit": head and head.strip(), "clean": status == ""}


def committed(path: Path) -> str | None:
    """A file of the working folder as the checked-out commit has it; None: it is not.

    In an experiment of DVC's that is the commit that the experiment started from.
    """
    return _git("show", f"HEAD:./{path.as_posix()}")


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", "-c", "safe.directory=*", *arguments],  # also another owner's
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, Any]:
    """Python's and the libraries' versions."""
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "libraries": libraries}


def peak_memory_mb() -> int:
    """Of this process or the largest that it started and waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024)
