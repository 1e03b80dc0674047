"""Runs below kept/: what each one found, and what several backbones say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import read_json, read_yaml
from replication.reporting.evidence import (
    COMPARED,
    RealRun,
    conclusion,
    evidence_table,
)
from replication.reporting.headlines import ASKED
from replication.reporting.tables import PROTOCOL_NAMES, emphasised, markdown_table
from replication.statistics.intervals import over_seeds
from replication.statistics.results import Cell, Claim, estimated, pick
from replication.statistics.verdicts import judge_claim

# Parts of params.yaml that change no number of Table 2.
_ELSEWHERE = {
    *("benchmarks", "comparison", "ablation", "confusion", "selection", "separation"),
    *("diagnosis", "machine", "inputs", "ce", "decoupling", "sweep", "estimator"),
    *("diagnose", "fig2", "seeds"),
}


@dataclass(frozen=True)
class KeptRun:
    """A Table 2 below kept/, and the params.yaml that made it."""

    found: RealRun
    params: Mapping[str, Any]

    @property
    def backbone(self) -> int:
        """Seed of the trained network."""
        return self.params["backbone"]["seed"]

    def alike(self) -> str:
        """Equal where two runs differ in nothing but the backbone's seed, and names."""
        settings = {k: v for k, v in self.params.items() if k not in _ELSEWHERE}
        settings["backbone"] = {**settings["backbone"], "seed": None}
        data = sorted({(cell.benchmark, cell.data) for cell in self.found.cells})
        return repr((data, settings))


def read_kept(folder: Path, link: str) -> list[KeptRun]:
    """A kept run, one entry for each Table 2 on real data, from its run/.

    Args:
        link: to its pages, for a reader.
    """
    about = read_json(folder / "run" / "about.json")
    table = pd.read_csv(folder / "run" / "cells.csv").query("section == 'table2'")
    known = table.filter([field.name for field in fields(Cell)])
    known = known.drop(columns="per_seed")
    cells = [Cell(**row.dropna().to_dict()) for _, row in known.iterrows()]
    claims = [Claim(**raw) for raw in read_json(folder / "run" / "claims.json")]
    params = read_yaml(folder / "run" / "params.yaml")
    return [
        KeptRun(
            RealRun(
                **facts,
                link=link,
                cells=[cell for cell in cells if cell.benchmark == name],
                claims=[
                    claim
                    for claim in claims
                    if claim.section == "table2" and claim.benchmark == name
                ],
            ),
            params,
        )
        for name, facts in about.items()
    ]


def kept_runs(folder: Path, link: str) -> list[KeptRun]:
    """Every kept run below a folder; `link` leads there from the page."""
    return [
        run
        for index in sorted(folder.glob("*/README.md"))
        for run in read_kept(index.parent, f"{link}/{index.parent.name}/README.md")
    ]


def kept_page(runs: Sequence[KeptRun]) -> str:
    """What every kept run found, a line each, and side by side."""
    found = [run.found for run in runs]
    parts = [
        "# Kept runs",
        "Runs that were kept with their pages, figures and what made them by `make "
        "keep`, which also writes this page. Overall on the test set, %; intervals are "
        "95 % and cover the seeds after the features and test sampling, **not** the "
        "backbone.",
        "\n".join(f"- {conclusion(run)}" for run in found),
        evidence_table(found) or "None so far is on real data.",
        _over_backbones(runs),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


# ---- Several backbones ------------------------------------------------------------


def _over_backbones(runs: Sequence[KeptRun]) -> str:
    """Where runs differ in their backbone alone, their differences as of one sample."""
    groups: dict[str, list[KeptRun]] = {}
    for run in runs:
        groups.setdefault(run.alike(), []).append(run)
    rows = []
    for group in groups.values():
        backbones = {run.backbone for run in group}
        if len(backbones) == 1:
            continue
        about = [group[0].found.title, group[0].found.grade, str(len(backbones))]
        for protocol, words in PROTOCOL_NAMES.items():
            gaps = [backbone_gap(group, other, protocol) for other in COMPARED]
            rows.append([*about, words, *map(_judged, gaps)])
    if not rows:
        return "No two of these runs differ in their backbone alone."
    header = ["Data", "Evidence", "Backbones", "Protocol"]
    header += [f"DLSA minus {ASKED[test]}, points" for test in COMPARED.values()]
    return (
        "## Over backbones\n\nRuns that differ in their backbone's seed alone. A "
        "backbone is one observation: the mean of its paired difference, with "
        "Student's interval over backbones, so that their spread is in it.\n\n"
        + markdown_table(header, rows, words=4)
    )


def backbone_gap(
    runs: Sequence[KeptRun], other: str, protocol: str, metric: str = "overall"
) -> Cell | None:
    """DLSA minus another row over backbones, with the spread between them.

    Args:
        runs: that differ in nothing but their backbone; several of one backbone count
            as one, by their mean.

    Returns:
        Mean with Student's 95 % interval, of as many backbones less one degrees of
        freedom; None where a run has no such row.
    """
    of_backbone: dict[int, list[float]] = {}
    for run in runs:
        gap = pick(run.found.cells, minus=other, protocol=protocol, metric=metric)
        if gap is None:
            return None
        of_backbone.setdefault(run.backbone, []).append(gap.mean)
    values = over_seeds([float(np.mean(some)) for some in of_backbone.values()])
    verdict = judge_claim(values.low, values.high)
    return replace(
        gap,
        **estimated(values),
        p_value=values.p_value,
        detectable=values.detectable,
        printed=None,
        verdict=verdict,
    )


def _judged(gap: Cell | None) -> str:
    return f"{emphasised(gap)}, {gap.verdict}" if gap else "not run"
