"""The import closure of a stage, read from the code.

`python -m tests.graph dlsa` prints what dvc.yaml must name as deps of that stage.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from replication.core.files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "replication"


def module_file(name: str) -> Path | None:
    """File of a module of the package, or None."""
    base = ROOT.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported(file: Path) -> set[str]:
    """Names of the package's modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE}


def closure(stage: str) -> set[str]:
    """Paths (relative to the checkout) of every module that a stage reaches.

    Packages' `__init__.py` hold a docstring each and count only where they hold code.
    """
    waiting = [f"{PACKAGE}.stages.{stage}"]
    seen: set[Path] = set()
    while waiting:
        file = module_file(waiting.pop())
        if file is None or file in seen:
            continue
        seen.add(file)
        waiting += imported(file)
    code = {file for file in seen if file.name != "__init__.py" or _has_code(file)}
    return {file.relative_to(ROOT).as_posix() for file in code}


def resolved(lists: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    """dvc.yaml with its templates filled in.

    Args:
        lists: what params.yaml would have under each list that a stage is repeated for.

    Returns:
        Name of a stage, as DVC has it, -> its `deps`, and its `outs` of every kind.
    """
    found = read_yaml(ROOT / "dvc.yaml")
    known = {**found["vars"][0], **lists}
    graph = {}
    for group, stage in found["stages"].items():
        do = stage.get("do", stage)
        for name, item in _repeated(group, stage, known):
            filled = {
                kind: [_filled(one, item) for one in do.get(kind, ())]
                for kind in ("deps", "outs", "metrics", "plots")
            }
            outs = [*filled["outs"], *filled["metrics"], *filled["plots"]]
            graph[name] = {"deps": filled["deps"], "outs": outs}
    return graph


def _repeated(
    group: str, stage: Mapping[str, Any], known: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each name of a stage, and what its templates stand for."""
    if "foreach" in stage:
        for one in known[stage["foreach"][2:-1]]:
            yield f"{group}@{one}", {"${item}": one}
    elif "matrix" in stage:
        lists = {key: known[value[2:-1]] for key, value in stage["matrix"].items()}
        for some in product(*lists.values()):
            item = {
                f"${{item.{key}}}": value
                for key, value in zip(lists, some, strict=True)
            }
            yield f"{group}@{'-'.join(some)}", item
    else:
        yield group, {}


def _filled(entry: str | Mapping[str, Any], item: Mapping[str, str]) -> str:
    """A path without its options, its templates filled in."""
    path = entry if isinstance(entry, str) else next(iter(entry))
    for template, value in item.items():
        path = path.replace(template, value)
    return path


def _has_code(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return any(not isinstance(node, ast.Expr) for node in body)


if __name__ == "__main__":
    print("\n".join(sorted(closure(sys.argv[1]))))
