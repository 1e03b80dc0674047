"""The import closure of a stage, read from the code.

`python tests/graph.py dlsa` prints what dvc.yaml must name as deps of that stage.
"""

import ast
import sys
from pathlib import Path

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


def _has_code(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return any(not isinstance(node, ast.Expr) for node in body)


if __name__ == "__main__":
    print("\n".join(sorted(closure(sys.argv[1]))))
