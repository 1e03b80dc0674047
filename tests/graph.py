"""dvc.yaml as DVC itself reads it, and what the code behind a stage reaches."""

import ast
import inspect
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from replication.core.files import read_yaml
from replication.core.scaling import IMAGENET_LT
from replication.core.settings import LISTS, OBJECTIVES, Settings, load, read_recipe

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "replication"


@dataclass(frozen=True)
class Node:
    """A stage of dvc.yaml; paths from the checkout on, params by dotted key."""

    name: str
    command: tuple[str, ...]
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]

    def modules(self) -> list[str]:
        """What its command runs, and what that imports by name."""
        module, *arguments = self.command[2:]
        if module.endswith(".section"):
            return [module, f"{PACKAGE}.sections.{arguments[0]}.measure"]
        if module.endswith(".report"):
            pages = sorted((ROOT / PACKAGE / "sections").glob("*/page.py"))
            return [
                module,
                *(f"{PACKAGE}.sections.{p.parent.name}.page" for p in pages),
            ]
        return [module]


def graph(folder: Path, lists: Mapping[str, Sequence[str]]) -> dict[str, Node]:
    """Every stage by its name; DVC refuses cycles and files that two stages make.

    Args:
        folder: an empty one, to read dvc.yaml in.
        lists: what params.yaml is to have instead under some keys.
    """
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = read_yaml(ROOT / "params.yaml") | dict(lists)
    (folder / "params.yaml").write_text(json.dumps(params))
    with Repo.init(str(folder), no_scm=True) as repo:
        repo.index.check_graph()
        return {stage.name: _node(stage) for stage in repo.index.stages}


def _node(stage: Any) -> Node:
    params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
    return Node(
        stage.name,
        tuple(stage.cmd.split()),
        tuple(dep.def_path for dep in stage.deps if dep not in params),
        tuple(key for dep in params for key in dep.params),
        tuple(out.def_path for out in stage.outs),
    )


def within(path: str, folder: str) -> bool:
    """Whether a path is another one, or lies below it."""
    return path == folder or path.startswith(f"{folder}/")


# ---- The code ------------------------------------------------------------------------


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted((ROOT / PACKAGE).rglob("*.py"))


def module_file(name: str) -> Path | None:
    """File of a module of the package, or None."""
    base = ROOT.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


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


def closure(*names: str) -> set[str]:
    """Paths of every module that some modules reach; an `__init__.py` imports none."""
    waiting, seen = [*names], set()
    while waiting:
        file = module_file(waiting.pop())
        if file is not None and file not in seen and file.name != "__init__.py":
            seen.add(file)
            waiting += imported(file)
    return {file.relative_to(ROOT).as_posix() for file in seen}


# ---- The settings that code reads ----------------------------------------------------


def settings_read(files: Sequence[Path], benchmark: str) -> tuple[Settings, Settings]:
    """Settings after the calls of `settings.<method>(...)` in files.

    Returns:
        With the keys that they read, and with those that they may read: where a call
        does not name the section or the list in its own text, all of them.
    """
    methods = dict(inspect.getmembers(Settings, inspect.isfunction))
    sure, possible = load(ROOT / "params.yaml"), load(ROOT / "params.yaml")
    for file in files:
        for call in ast.walk(ast.parse(file.read_text())):
            if not (
                isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            ):
                continue
            owner, name = ast.unparse(call.func.value).split(".")[-1], call.func.attr
            if (owner, name) == ("stage", "uses"):
                sure.tf32()
            if owner == "settings" and name in methods:
                options = [*_options(methods[name], call, benchmark)]
                for arguments in options:
                    methods[name](possible, **arguments)
                if len(options) == 1:
                    methods[name](sure, **options[0])
    possible.keys_read |= sure.keys_read
    return sure, possible


def _options(method: Any, call: ast.Call, benchmark: str) -> Iterator[dict[str, Any]]:
    """Every way of calling a method that a call may stand for."""
    names = [
        n for n in inspect.signature(method).parameters if n not in ("self", "row")
    ]
    texts = [_text(argument, benchmark) for argument in call.args]
    given = dict(zip(names, texts, strict=False))
    if "benchmark" in names:
        given["benchmark"] = benchmark
    if "size" in names:
        given["size"] = IMAGENET_LT
    recipe = read_recipe(benchmark)
    known = {
        "what": LISTS,
        "objective": OBJECTIVES,
        "section": [
            name for name, section in recipe.items() if isinstance(section, dict)
        ],
    }
    name = next((name for name in known if name in names), None)
    for value in (
        [None] if name is None else [given[name]] if given[name] else known[name]
    ):
        chosen = given if name is None else given | {name: value}
        if "names" in names:
            chosen = chosen | {"names": tuple(recipe[chosen["section"]])}
        if None not in chosen.values():
            yield chosen


def _text(node: ast.expr, benchmark: str) -> str | None:
    """A text as it stands, a benchmark where something stands in for it."""
    if isinstance(node, ast.JoinedStr):
        parts = (getattr(part, "value", None) for part in node.values)
        return "".join(p if isinstance(p, str) else benchmark for p in parts)
    return node.value if isinstance(node, ast.Constant) else None
