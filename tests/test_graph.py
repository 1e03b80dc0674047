"""dvc.yaml against the code: what a stage reaches is what it names."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

from replication.core.files import read_yaml
from replication.core.record import record_of
from replication.core.settings import BENCHMARKS, STAND_IN, recipe_file
from replication.published.reader import read_published_tables
from tests.graph import (
    PACKAGE,
    ROOT,
    Node,
    closure,
    graph,
    imported,
    modules,
    settings_read,
    within,
)

# A benchmark that only this list names, and `benchmarks`: what a stage of one list
# builds on must not hang on another list.
LISTED = {
    "comparison": ["imagenet_lt"],
    "ablation": ["places_lt"],
    "confusion": ["inat18"],
    "selection": ["cifar100_lt"],
    "separation": ["own"],
    "diagnosis": ["own"],
}
ALL = {
    "benchmarks": [*dict.fromkeys(name for some in LISTED.values() for name in some)]
}
GROUPS = (
    *("prepare", "backbone_paco", "backbone_ce", "features_paco", "features_ce"),
    *("heads_paco", "heads_ce", "decoupling", "dlsa", "dlsa_ce", "ablation"),
    *("separation", "estimator", "sigma", "confusion", "settings", "table1", "table2"),
    *("ladder", "diagnosis", "audit", "report"),
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Node]:
    return graph(tmp_path_factory.mktemp("graph"), ALL | LISTED)


@pytest.fixture(params=GROUPS)
def node(nodes: dict[str, Node], request: pytest.FixtureRequest) -> Node:
    """A stage of each group."""
    return next(n for name, n in nodes.items() if name.split("@")[0] == request.param)


def test_every_group_of_stages_is_known_here(nodes) -> None:
    assert {name.split("@")[0] for name in nodes} == set(GROUPS)


def code_deps(node: Node) -> set[str]:
    """Folders of the package and modules that a stage names."""
    code = (dep for dep in node.deps if within(dep, PACKAGE))
    return {
        dep for dep in code if dep.endswith(".py") or list((ROOT / dep).glob("*.py"))
    }


def test_deps_name_what_the_stage_imports_and_no_more(node) -> None:
    reached, named = closure(*node.modules()), code_deps(node)
    unnamed = {file for file in reached if not any(within(file, dep) for dep in named)}
    idle = {dep for dep in named if not any(within(file, dep) for file in reached)}
    assert (unnamed, idle) == (set(), set())


def test_params_name_what_the_stage_reads_and_no_more(node) -> None:
    """Whole sections: what reads one setting of a section names the section."""
    reached = [file for file in closure(*node.modules()) if "/core/" not in file]
    if node.name == "report":  # its pages import what measured, and call none of it
        reached = [f"{PACKAGE}/stages/report.py"]
    objectives = {"ce": "paco", "paco": "ce"}
    other = objectives.get(node.command[-1])  # the code has both, a stage runs one
    benchmark = benchmark_of(node)
    sure, possible = settings_read([ROOT / file for file in reached], benchmark)
    read, may_read = (
        {key for key in settings.keys_read if key.split(".")[0] != other}
        for settings in (sure, possible)
    )
    unnamed = {key for key in read if not any(has(p, key) for p in node.params)}
    idle = {p for p in node.params if not any(has(p, key) for key in may_read)}
    assert (unnamed, idle) == (set(), set())
    for recipe in (benchmark, STAND_IN) if sure.resolved else ():
        file = recipe_file(recipe).relative_to(ROOT).as_posix()
        assert any(within(file, dep) for dep in node.deps), file


def benchmark_of(node: Node) -> str:
    """The benchmark that its command names; any where it names none."""
    return next((word for word in node.command if word in BENCHMARKS), BENCHMARKS[0])


def has(section: str, key: str) -> bool:
    """Whether a dotted key is another one, or lies in that section."""
    return key == section or key.startswith(f"{section}.")


def test_deps_exist_or_are_outs_of_another_stage(nodes) -> None:
    for node in nodes.values():
        outs = [out for other in nodes.values() if other != node for out in other.outs]
        for dep in node.deps:
            made = any(within(dep, out) or within(out, dep) for out in outs)
            kept = not within(dep, "outputs") and (ROOT / dep).exists()
            assert made or kept, f"{node.name}: {dep}"


def test_run_records_are_nobodys_input_but_reports(nodes) -> None:
    records = "outputs/records"
    for node in nodes.values():
        assert record_of(node.name).as_posix() in node.outs
        reads = any(within(dep, records) or within(records, dep) for dep in node.deps)
        assert reads == (node.name == "report")


def rerun(nodes: dict[str, Node], *files: str) -> set[str]:
    """Groups of stages that a change of some files of the package reaches at once."""
    return {
        node.name.split("@")[0]
        for node in nodes.values()
        if any(within(f"{PACKAGE}/{file}", dep) for file in files for dep in node.deps)
    }


def test_a_comment_in_a_page_reruns_report_alone(nodes) -> None:
    found = (ROOT / PACKAGE / "sections").glob("*/page*")
    pages = [page.relative_to(ROOT / PACKAGE).as_posix() for page in found]
    assert len(pages) > 10
    assert rerun(nodes, *pages, "reporting/tables.py") == {"report"}


def test_how_images_are_found_reruns_prepare_alone(nodes) -> None:
    """A backbone trains anew where the index changed, not where its code did."""
    assert rerun(nodes, "data/sources.py", "data/layouts.py", "data/glyphs.py") == {
        "report",
        "prepare",
    }


def test_a_stage_calls_itself_what_dvc_calls_it(node, monkeypatch) -> None:
    names = []

    def run(body, name, *more) -> None:
        names.append(name(*node.command[3:]))

    monkeypatch.setattr("replication.core.stage.run", run)
    monkeypatch.delitem(sys.modules, node.command[2], raising=False)
    runpy.run_module(node.command[2], run_name="__main__")
    assert names == [node.name]


# Each from its own folder or from those before it.
FOLDERS = (
    *("core", "published", "samples", "data", "images", "backbones", "flow_filter"),
    *("classifiers", "cascade", "ladder", "statistics", "reporting", "sections"),
    "stages",
)


def test_imports_run_downward() -> None:
    wrong = []
    for file in modules():
        folder = file.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py")
        for name in imported(file):
            other = [*name.split("."), ""][1]
            known = folder in FOLDERS and other in FOLDERS
            if known and FOLDERS.index(other) > FOLDERS.index(folder):
                wrong.append(f"{file.relative_to(ROOT)}: {name}")
    assert not wrong


def test_packages_import_nothing() -> None:
    """Else every stage would reach what its package imports, and no dep say so.

    All but how the machine is shared, of `core`, which every stage names.
    """
    for file in modules():
        if file.name == "__init__.py":
            for statement in ast.parse(file.read_text()).body:
                name = getattr(statement, "module", None) or ""
                assert not isinstance(statement, ast.Import), file
                core = file.parent.name == PACKAGE and name == f"{PACKAGE}.core.cores"
                assert core or not name.startswith(PACKAGE), file


def test_only_flow_imports_nflows() -> None:
    importers = [f.name for f in modules() if "nflows" in {*_imports(f)}]
    assert importers == ["flow.py"]


def _imports(file: Path) -> set[str]:
    """The first name of everything that a file imports."""
    nodes = [*ast.walk(ast.parse(file.read_text()))]
    plain = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    of = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return {name.split(".")[0] for name in plain | of}


def test_the_shipped_graph_has_fewer_than_fifty_stages(tmp_path) -> None:
    assert len(GROUPS) <= len(graph(tmp_path, {})) < 50


def test_the_variants_are_table_2s_rows() -> None:
    """dvc.yaml cannot read tables.yaml; a row without a stage would have no number."""
    rows = read_published_tables()["table2"].rows
    assert ["full", *read_yaml(ROOT / "dvc.yaml")["vars"][0]["variants"]] == [*rows]
