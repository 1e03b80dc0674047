"""The report: every page there whatever was run, numbers for machines, curves."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from replication.files import read_json, read_table, read_yaml, write_json
from replication.reporting.pages import Kind, kinds
from replication.settings import LISTS, load, read_published_tables
from replication.stages import audit, ledger, report
from replication.stages.report import headline, plot_points, training_curves
from replication.stages.running import Stage, record_of

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
    assert pages == {"README", "claims", *SUITE, *(kind.name for kind in KINDS)}
    for kind in KINDS:
        text = (reports / f"{kind.name}.md").read_text()
        assert f"params.yaml lists no benchmark under `{kind.listed}`" in text
    index = (reports / "README.md").read_text()
    links = re.findall(r"^- \*\*\[.*?\]\((.*?)\)", index, re.MULTILINE)
    assert links == [
        "claims.md",
        *(f"{kind.name}.md" for kind in KINDS),
        *(f"{name}.md" for name in SUITE),
    ]
    for page in reports.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or (reports / link).is_file(), (page, link)


def test_with_nothing_listed_the_results_are_empty(nothing_listed) -> None:
    results = nothing_listed / "results"
    for name in ("table1", "table2"):
        assert read_json(results / f"{name}.json") == []
        assert len(read_table(results / f"{name}.csv")) == 0
    assert read_json(results / "claims.json") == []
    assert read_json(results / "metrics.json") == {"table1": {}, "table2": {}}
    assert len(read_table(results / "training.csv")) == 0


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


def table2(benchmark: str = "places_lt") -> dict:
    """What a stage wrote, as far as the report itself reads it."""
    return {
        "benchmark": benchmark,
        "data": {"stand_in": True},
        "records": RECORDS,
        "claims": [{"sentence": "Removing L_", "test": "t", "verdict": "not run"}],
        "runs": [{"stage": f"prepare@{benchmark}"}],
    }


def test_a_listed_benchmark_is_read_with_its_own_run_last(
    run, tmp_path, monkeypatch
) -> None:
    seen = []

    def section(one: dict, title: str, folder: str) -> tuple[str, dict[str, str]]:
        seen.append([run["stage"] for run in one["runs"]])
        return f"# {title}\n\n![a]({folder}/a.svg)\n", {"a.svg": "<svg/>"}

    made = Kind("table2", "ablation", "Table 2", section, lambda _: "found")
    others = tuple(kind for kind in KINDS if kind.name != "table2")
    monkeypatch.setattr(report, "kinds", lambda _: (*others, made))
    write_json(tmp_path / "outputs/tables/places_lt/table2.json", table2())
    own = {"stage": "table2@places_lt"}
    write_json(tmp_path / record_of("table2@places_lt"), own)
    folder = run(ablation=["places_lt"])
    assert seen == [["prepare@places_lt", "table2@places_lt"]]
    figure = folder / "reports/figures/table2-places_lt/a.svg"
    assert figure.read_text() == "<svg/>"
    assert read_json(folder / "results/table2.json") == RECORDS
    assert read_json(folder / "results/claims.json") == [
        {"page": "table2", "benchmark": "places_lt"} | table2()["claims"][0]
    ]
    inputs = read_json(folder / record_of("report"))["inputs"]
    assert {
        "outputs/tables/places_lt/table2.json",
        "outputs/tables/records/table2@places_lt.json",
        "outputs/tables/audit.json",
        "outputs/tables/ledger.json",
    } <= set(inputs)


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
