"""Runs below kept/: what each one found, and where all of them are."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from replication.core.files import read_json, read_text, read_yaml
from replication.core.record import read_records
from replication.reporting.evidence import conclusion
from replication.reporting.provenance import cost
from replication.reporting.rendering import render
from replication.reporting.runs import RealRun
from replication.statistics.results import Cell, Claim


def read_kept(folder: Path, link: str) -> list[RealRun]:
    """A kept run, one entry for each benchmark with real data, from its run/.

    `link` leads a reader to its pages.
    """
    place = folder / "run"
    about, params = read_json(place / "about.json"), read_yaml(place / "params.yaml")
    known = pd.read_csv(place / "cells.csv").filter([f.name for f in fields(Cell)])
    known = known[known["section"].isin(["table1", "table2", "ladder"])]
    seeds = known["per_seed"].fillna("").astype(str).str.split()
    known["per_seed"] = [tuple(map(float, values)) for values in seeds]
    cells = [
        Cell(**{"mean": None} | row.dropna().to_dict()) for _, row in known.iterrows()
    ]
    claims = [Claim(**raw) for raw in read_json(place / "claims.json")]
    runs = []
    for name, facts in about.items():
        said = {key: facts[key] for key in ("title", "features", "grade", "source")}
        said |= {"link": link, "changed": facts["settings"]}
        said |= {"backbone": params["backbone"]["seed"]}
        runs.append(RealRun.of(name, cells, claims, **said))
    return runs


def kept_runs(folder: Path, link: str) -> list[RealRun]:
    """Every kept run below a folder; `link` leads there from the page."""
    return [
        run
        for about in sorted(folder.glob("*/run/about.json"))
        for run in read_kept(
            about.parents[1], f"{link}/{about.parents[1].name}/README.md"
        )
    ]


def run_page(folder: Path) -> str:
    """README.md of a kept run: what it found, how to make it again, what that takes."""
    runs = read_kept(folder, "README.md")
    records = [*read_records(folder / "run" / "records").values()]
    last = max(records, key=lambda record: record["started"])
    titles = {
        page.name: f"\n{read_text(page)}".partition("\n# ")[2].partition("\n")[0]
        for page in sorted(folder.glob("*.md"))
        if page.name != "README.md"
    }
    return render(
        "reporting/templates/kept_run.md.j2",
        name=folder.name,
        moved=".../" in read_text(folder / "run" / "params.yaml"),
        conclusions=[conclusion(run) for run in runs if run.cells],
        runs=runs,
        commit=last["commit"],
        others=len({record["commit"] for record in records}) - 1,
        cost=cost(records),
        titles=titles,
    )


def kept_page(runs: Sequence[RealRun]) -> str:
    """Where every kept run is."""
    links = [
        f"- [{run.name}]({run.link}) ({run.grade.split(',')[0]}, {run.settings})"
        for run in runs
    ]
    parts = [
        "# Kept runs",
        "Each was kept by `make keep`, with its pages and what made it. What they "
        "found, side by side: [does DLSA help?](../reports/evidence.md) Where the "
        "images come from: [data](DATA.md)",
        "\n".join(links) or "None so far.",
    ]
    return "\n\n".join(parts) + "\n"
