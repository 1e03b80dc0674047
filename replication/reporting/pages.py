"""Pages: records, tables and figures put into Markdown by Jinja."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from replication.evaluation.ablation import BASELINES
from replication.reporting import figures, tables
from replication.settings import PublishedTable

FEATURE_NAMES = {"ce": "a network trained with cross-entropy"}
_GROUP_ORDER = ("many", "medium", "few")


def table2_section(
    measured: Mapping[str, Any],
    table: PublishedTable,
    title: str,
    figures_folder: str,
) -> tuple[str, dict[str, str]]:
    """Table 2 on one benchmark, as a section of its page.

    Args:
        measured: what the stage `table2` wrote.
        table: as printed.
        title: of the benchmark.
        figures_folder: as linked from the page.

    Returns:
        The section, and its figures by file name.
    """
    records, data = measured["records"], measured["data"]
    labels = {name: row.label for name, row in table.rows.items()}
    diagnostics = {name: measured["diagnostics"][name] for name in table.rows}
    share = _used(measured, "cascade", "leaving_share")
    drawn = {
        "accuracy.svg": figures.table2_figure(
            records, table.metrics, show_printed=not data["stand_in"]
        ),
        "leaving.svg": figures.leaving_figure(diagnostics, labels, share),
        "fitting.svg": figures.fitting_figure(diagnostics, labels),
        "counts.svg": figures.counts_figure(data["class_counts"]),
    }
    protocols = tuple(tables.PROTOCOL_NAMES)
    where = " (stand-in)" if data["stand_in"] else ""
    page = _render(
        "table2.md.j2",
        stand_in=data["stand_in"],
        title=title,
        paper_data="Places-LT with a ResNet-152",
        table=table,
        features=_features(measured),
        seeds=sorted(measured["diagnostics"]["full"], key=int),
        summary=summarise(measured),
        partial=measured["partial"],
        figures=figures_folder,
        protocol_names=tables.PROTOCOL_NAMES,
        values={
            p: tables.value_table(records, p, table.metrics, BASELINES | labels)
            for p in protocols
        },
        differences={
            p: tables.difference_table(records, p, table.metrics) for p in protocols
        },
        protocols=tables.protocol_table(records, table.metrics),
        claims=tables.claims_table(measured["claims"], where),
        diagnostics=tables.diagnostics_table(diagnostics, labels),
        data=data,
        data_sentence=_data_sentence(data),
        runs=tables.runs_table(measured["runs"]),
        command=f"dvc repro table2@{measured['benchmark']}-{measured['objective']}",
        provenance=_provenance(measured["runs"]),
        libraries=_libraries(measured["runs"]),
    )
    return page, drawn


def index_page(pages: Sequence[Mapping[str, str]]) -> str:
    """reports/README.md: every page with its data and its finding."""
    return _render("README.md.j2", pages=pages)


def summarise(measured: Mapping[str, Any]) -> str:
    """The finding in words, made from the records."""
    records = measured["records"]
    parts = []
    for protocol, name in (("paper", "paper"), ("released_code", "released-code")):
        gap = tables.find(
            records,
            method="balanced_softmax",
            protocol=protocol,
            metric="overall",
            kind="difference",
        )
        full = tables.find(
            records, method="full", protocol=protocol, metric="overall", kind="value"
        )
        assert gap is not None and full is not None
        verb = {
            "supported": "more than",
            "contradicted": "less than",
            "undecided": "not distinguishable from",
        }[gap["verdict"]]
        parts.append(
            f"Under the {name} protocol the full model reaches "
            f"{tables.percent(full['mean'])} % overall, {verb} Balanced Softmax on the "
            f"same features ({tables.with_interval(gap)} points)."
        )
    claims = [claim for claim in measured["claims"] if claim["protocol"] == "paper"]
    counts = {
        verdict: sum(claim["verdict"] == verdict for claim in claims)
        for verdict in ("supported", "contradicted", "undecided")
    }
    said = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    on = "on the stand-in" if measured["data"]["stand_in"] else "on this data"
    parts.append(f"Of {len(claims)} claims under the paper protocol, {said} {on}.")
    return " ".join(parts)


def _features(measured: Mapping[str, Any]) -> str:
    """What the features are, as the run of the backbone recorded it."""
    run = next(run for run in measured["runs"] if run["stage"].startswith("backbone@"))
    recipe = run.get("backbone")
    if recipe is None:
        return "imported, not made here"
    if "epochs" not in recipe:
        return f"{recipe['network']}, {run['source']}"
    name = FEATURE_NAMES[measured["objective"]]
    return f"{name} ({recipe['network']}, {recipe['epochs']} epochs)"


def _used(measured: Mapping[str, Any], section: str, name: str) -> float:
    """A setting as the full model's run recorded it."""
    for run in measured["runs"]:
        if run["stage"].endswith("-full"):
            return run[section][name]
    raise KeyError(f"{section}.{name}")


def _data_sentence(data: Mapping[str, Any]) -> str:
    groups = data["shot_groups"]
    named = ", ".join(
        f"{groups[name]} {tables.METRIC_NAMES[name]}" for name in _GROUP_ORDER
    )
    images = data["images"]
    return (
        f"{data['classes']} classes ({named}), {images['train']} training images "
        f"({data['largest']} of the largest class, {data['smallest']} of the "
        "smallest), "
        f"{images['val']} for validation, {images['test']} for testing."
    )


def _provenance(runs: Sequence[Mapping[str, Any]]) -> str:
    """Whether one commit made everything; said, not hidden, where it did not."""
    commits = sorted({(run["commit"] or "none")[:10] for run in runs})
    dirty = [run["stage"] for run in runs if not run["clean"]]
    text = f"Commit {commits[0]}."
    if len(commits) > 1:
        text = f"**Made by {len(commits)} commits**: {', '.join(commits)}."
    if dirty:
        text += f" **Uncommitted code** ran in {', '.join(dirty)}."
    return text


def _libraries(runs: Sequence[Mapping[str, Any]]) -> str:
    versions = sorted(
        {(name, v) for run in runs for name, v in run["libraries"].items()}
    )
    return ", ".join(f"{name} {version}" for name, version in versions)


def _render(template: str, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template).render(**values)
