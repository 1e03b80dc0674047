"""The report: every page there whatever was run, numbers for machines, curves."""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from replication.core.files import read_json, read_table, read_yaml, write_json
from replication.reporting.provenance import provenance
from replication.core.settings import LISTS, load, read_published_tables
from replication.core.stage import Stage, record_of
from replication.reporting.pages import Kind, Page, kinds
from replication.reporting.rendering import ORIGIN, origin
from replication.sections.audit import measure as audit
from replication.sections.settings import measure as ledger
from replication.stages import report
from replication.stages.report import headline, plot_points, training_curves
from tests.graph import resolved

ROOT = Path(__file__).resolve().parents[2]
KINDS = kinds(read_published_tables())
SUITE = ("audit", "hyperparameters", "discrepancies")
Run = Callable[..., Path]


def write_params(folder: Path, **lists: list[str]) -> None:
    """params.yaml as shipped, but for the lists: each names what is given, or none."""
    params = read_yaml(ROOT / "params.yaml")
    params |= {name: lists.get(name, []) for name in LISTS[1:]}
    YAML(typ="safe").dump(params, folder / "params.yaml")


@pytest.fixture(scope="module")
def nothing_listed(tmp_path_factory) -> Path:
    """A checkout in which only what needs no data was run, and the report."""
    folder = tmp_path_factory.mktemp("checkout")
    write_params(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module in (audit, ledger, report):
            module.main(Stage(module.__name__.split(".")[-1], load()))
    return folder


@pytest.fixture
def run(nothing_listed, tmp_path, monkeypatch) -> Run:
    """Write the report in a checkout whose lists name what is given."""
    shutil.copytree(nothing_listed / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)

    def call(**lists: list[str]) -> Path:
        write_params(tmp_path, **lists)
        report.main(Stage("report", load()))
        return tmp_path

    return call


def test_with_nothing_listed_every_page_is_there_and_says_so(nothing_listed) -> None:
    reports = nothing_listed / "reports"
    pages = {page.stem for page in reports.glob("*.md")}
    of_kinds = {kind.name for kind in KINDS}
    assert pages == {"README", "claims", "summary", *SUITE, *of_kinds}
    for kind in KINDS:
        text = (reports / f"{kind.name}.md").read_text()
        assert f"params.yaml lists no benchmark under `{kind.listed}`" in text
    index = (reports / "README.md").read_text()
    links = re.findall(r"^- \*\*\[.*?\]\((.*?)\)", index, re.MULTILINE)
    assert links == [
        "claims.md",
        "summary.md",
        *(f"{kind.name}.md" for kind in KINDS),
        *(f"{name}.md" for name in SUITE),
    ]
    for page in reports.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (reports / link).is_file(), (page, link)


def test_with_nothing_listed_the_results_are_empty(nothing_listed) -> None:
    results = nothing_listed / "results"
    for name in ("table1", "table2"):
        nothing = {"provenance": {}, "records": []}
        assert read_json(results / f"{name}.json") == nothing
        assert len(read_table(results / f"{name}.csv")) == 0
    assert read_json(results / "claims.json") == {"provenance": {}, "claims": []}
    assert read_json(results / "metrics.json") == {"table1": {}, "table2": {}}
    assert len(read_table(results / "training.csv")) == 0


def test_outs_of_dvc_yaml_are_what_is_written_even_with_nothing_listed(
    nothing_listed,
) -> None:
    """An out that is missing fails `dvc repro`; a file that is no out is never kept."""
    written = {
        path.relative_to(nothing_listed).as_posix()
        for folder in ("results", "reports")
        for path in (nothing_listed / folder).iterdir()
    }
    outs = resolved({name: [] for name in LISTS})["report"]["outs"]
    assert written | {record_of("report").as_posix()} == set(outs)


def value(method: str, metric: str, mean: float | None, **changes: object) -> dict:
    plain = {
        "kind": "value",
        "benchmark": "places_lt",
        "method": method,
        "label": method.capitalize(),
        "metric": metric,
        "protocol": "paper",
        "mean": mean,
    }
    return plain | changes


RECORDS = [
    value("full", "overall", 0.42125),
    value("full", "few", 0.3),
    value("full", "many", 0.5),
    value("full", "overall", 0.9, protocol="released_code"),
    value("start", "overall", 0.4),
    value("start", "overall", 0.02, kind="difference"),
    value("start", "few", None),
]


def run_of(stage: str, **changes: object) -> dict:
    """A run record, as far as the report reads it."""
    plain = {
        "stage": stage,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 3.0,
        "commit": "a" * 40,
        "clean": True,
        "data_hash": "da7a",
        "settings_hash": "5e77",
        "device": "cpu",
        "libraries": {"torch": "2.11"},
        "peak_memory_mb": 900,
        "peak_gpu_memory_mb": None,
        "energy_joules": {"cpu": None, "gpu": None},
    }
    return plain | changes


def table2(benchmark: str = "places_lt", **changes: object) -> dict:
    """What a stage wrote, as far as the report itself reads it."""
    return {
        "benchmark": benchmark,
        "data": {"stand_in": True, "hash": "da7a"},
        "records": RECORDS,
        "claims": [{"sentence": "Removing L_", "test": "t", "verdict": "not run"}],
        "runs": [run_of(f"prepare@{benchmark}", **changes)],
    }


@pytest.fixture
def measured(tmp_path, monkeypatch) -> Callable[..., None]:
    """Put a Table 2 of places_lt into the checkout, its page reduced to its frame."""

    def section(one: dict, title: str, folder: str) -> tuple[str, dict[str, str]]:
        stages = ", ".join(run["stage"] for run in one["runs"])
        block = origin(one["data"]["hash"], "dvc repro table2@places_lt", one["runs"])
        text = f"# {title}\n\n{stages}\n\n![a]({folder}/a.svg)\n\n{block}\n"
        return text, {"a.svg": "<svg/>"}

    made = Kind("table2", "ablation", "Table 2", section, lambda _: "found")
    others = tuple(kind for kind in KINDS if kind.name != "table2")
    monkeypatch.setattr(report, "kinds", lambda _: (*others, made))
    half_page = Page("summary.md", (), "# Summary\n", {})
    monkeypatch.setattr(report, "summary_page", lambda *_: half_page)

    def put(own: dict | None = None, **behind: object) -> None:
        write_json(tmp_path / "outputs/tables/places_lt/table2.json", table2(**behind))
        record = run_of("table2@places_lt", **(own or {}))
        write_json(tmp_path / record_of("table2@places_lt"), record)
        for name in ("audit", "ledger"):  # made outside a Git repository
            place = tmp_path / record_of(name)
            write_json(place, read_json(place) | {"clean": True})

    return put


def test_a_listed_benchmark_is_read_with_its_own_run_last(run, measured) -> None:
    measured()
    folder = run(ablation=["places_lt"])
    page = (folder / "reports/table2.md").read_text()
    assert page.startswith("# Places-LT\n\nprepare@places_lt, table2@places_lt\n")
    figure = folder / "reports/figures/table2-places_lt/a.svg"
    assert figure.read_text() == "<svg/>"
    record = read_json(folder / record_of("report"))
    assert {
        "outputs/tables/places_lt/table2.json",
        "outputs/tables/records/table2@places_lt.json",
        "outputs/tables/audit.json",
        "outputs/tables/ledger.json",
    } <= set(record["inputs"])
    assert record["behind"] == [
        "audit",
        "ledger",
        "prepare@places_lt",
        "table2@places_lt",
    ]


def test_every_results_file_has_what_made_it(run, measured) -> None:
    measured()
    results = run(ablation=["places_lt"]) / "results"
    origins = {"table2@places_lt": provenance("da7a", [
        run_of("prepare@places_lt"), run_of("table2@places_lt")
    ])}  # fmt: skip
    table = read_json(results / "table2.json")
    assert table == {"provenance": origins, "records": RECORDS}
    claims = read_json(results / "claims.json")
    assert claims["provenance"] == origins
    assert claims["claims"] == [
        {"page": "table2", "benchmark": "places_lt"} | table2()["claims"][0]
    ]
    beside = read_json(results / "provenance.json")
    carried = {"table1.json", "table2.json", "claims.json", "provenance.json"}
    assert {file.name for file in results.iterdir()} == carried | set(beside)
    assert beside["table2.csv"] == beside["metrics.json"] == origins
    assert beside["table1.csv"] == {}


# --- runs that do not belong together


def test_two_data_sets_behind_one_table_are_refused(run, measured, refused) -> None:
    measured(data_hash="0the")
    assert refused(lambda: run(ablation=["places_lt"])) == [
        "table2@places_lt: expected one data set behind it, hash da7a, got hash 0the "
        "behind prepare@places_lt; run: dvc repro table2@places_lt"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"commit": "b" * 40, "modules": {}},
            "2 commits made these numbers: (1) prepare@places_lt;",
        ),
        ({"clean": False}, "Uncommitted code ran in table2@places_lt."),
        ({"libraries": {"torch": "2.12"}}, "Different versions of torch ran: 2.11 in"),
        (
            {"params": {"seeds": [5]}},
            "Stale: table2@places_lt: seeds was [5], params.yaml has [0, 1, 2].",
        ),
        (
            {"modules": {"replication/files.py": "0" * 16}},
            "Stale: table2@places_lt: replication/files.py changed since it ran.",
        ),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else None,
)
def test_runs_that_disagree_are_said_at_the_top(run, measured, changes, words) -> None:
    measured(own=changes)
    reports = run(ablation=["places_lt"]) / "reports"
    page = (reports / "table2.md").read_text()
    assert page.startswith("> **Warning.** ") and words in page.split("\n\n")[0]
    warned = [
        line
        for line in (reports / "README.md").read_text().splitlines()
        if line.endswith("**See the warning at its top.**")
    ]
    assert [line.split("](")[1].split(")")[0] for line in warned] == [
        "claims.md",
        "table2.md",
    ]


def test_a_record_that_the_lock_does_not_name_is_said_at_the_top(
    run, measured, tmp_path
) -> None:
    """As after a stage was called by hand; the runs that it names are fine."""
    measured()
    entries = {}
    for stage in ("audit", "ledger", "prepare@places_lt"):
        path = tmp_path / record_of(stage)
        md5 = hashlib.md5(path.read_bytes()).hexdigest() if path.exists() else "0" * 32
        out = {"path": record_of(stage).as_posix(), "md5": md5}
        entries[stage] = {"outs": [out]}
    YAML(typ="safe").dump({"stages": entries}, tmp_path / "dvc.lock")
    reports = run(ablation=["places_lt"]) / "reports"
    said = "its run record is not the one that dvc.lock names."
    first = (reports / "table2.md").read_text().split("\n\n")[0]
    assert f"Stale: prepare@places_lt: {said} table2@places_lt: {said}" in first
    assert said not in (reports / "audit.md").read_text()


# --- what differs between two runs

LATER = {
    "started": "2027-06-05T04:03:02+00:00",
    "seconds": 77.0,
    "commit": "c" * 40,
    "peak_memory_mb": 123,
    "energy_joules": {"cpu": 55.0, "gpu": None},
}


def without_origin(page: str) -> str:
    """A page without the block on its origin."""
    parts = page.split(ORIGIN)
    return parts[0] + "".join(part.partition("</details>")[2] for part in parts[1:])


def test_what_differs_between_identical_runs_stands_in_one_block(
    run, measured, tmp_path
) -> None:
    """Time, memory, energy, dates and commit change; the rest of every page does not.

    Pages of data are held to it by tests/test_whole.py, over two checkouts.
    """

    def written() -> dict[str, str]:
        folder = run(ablation=["places_lt"]) / "reports"
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_text() for path in files}

    measured()
    before = written()
    measured(own=LATER, **LATER)
    for name in ("audit", "ledger"):
        record = read_json(tmp_path / record_of(name))
        write_json(tmp_path / record_of(name), record | LATER)
    after = written()
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    pages = {"audit.md", "claims.md", "discrepancies.md", "hyperparameters.md"}
    assert changed == {*pages, "table2.md"}
    for name in changed:
        assert before[name].count(ORIGIN) == 1
        assert without_origin(before[name]) == without_origin(after[name]), name


def test_a_listed_benchmark_that_was_not_measured_is_refused(run, refused) -> None:
    assert refused(lambda: run(ablation=["places_lt"])) == [
        "outputs/tables/places_lt/table2.json: expected a file, found nothing; "
        "run: dvc repro"
    ]


# --- numbers for machines


def test_headline_by_hand() -> None:
    """Overall and Few of protocol paper, to 4 decimals; what is not known is absent."""
    assert headline({"table2": [table2()], "table1": []}) == {
        "table2": {
            "places_lt": {
                "full": {"overall": 0.4213, "few": 0.3},
                "start": {"overall": 0.4},
            }
        },
        "table1": {},
    }


def test_plots_show_overall_in_percent() -> None:
    points = plot_points([*RECORDS, value("none", "overall", None)])
    assert points.to_dict("list") == {
        "method": ["places_lt: Full", "places_lt: Start"],
        "overall_percent": [42.12, 40.0],
    }
    assert list(plot_points([]).columns) == ["method", "overall_percent"]


def trained(stage: str, **history: list[float]) -> dict:
    return {"stage": stage, "history": history}


def test_curves_are_those_of_every_backbone_trained_here_once() -> None:
    """Both tables build on one PaCo backbone; a weight that was imported has none."""
    paco = trained(
        "backbone_paco@inat18", train_accuracy=[0.5, 0.6], val_accuracy=[0.25, 0.3]
    )
    ce = trained("backbone_ce@inat18", train_accuracy=[0.75])
    imported = {"stage": "backbone_paco@places_lt"}
    other = {"stage": "heads_paco@inat18", "history": {"train_accuracy": [1.0]}}
    curves = training_curves(
        {
            "table1": [{"runs": [paco, ce, other]}],
            "table2": [{"runs": [imported, paco]}],
        }
    )
    assert list(curves.itertuples(index=False, name=None)) == [
        ("ce@inat18: train_accuracy", 1, 75.0),
        ("paco@inat18: train_accuracy", 1, 50.0),
        ("paco@inat18: train_accuracy", 2, 60.0),
        ("paco@inat18: val_accuracy", 1, 25.0),
        ("paco@inat18: val_accuracy", 2, 30.0),
    ]
