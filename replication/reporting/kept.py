"""Kept runs side by side: what each one found, and what backbones say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from replication.core.files import read_json, read_yaml
from replication.reporting.tables import (
    PROTOCOL_NAMES,
    emphasised,
    markdown_table,
    shown,
)
from replication.statistics.intervals import over_seeds
from replication.statistics.results import Cell, estimated, pick
from replication.statistics.verdicts import judge_claim

_OTHERS = {
    "start": "its own head",
    "plain": "plain classifier of equal budget",
    "balanced_softmax": "BalSoftmax refitted",
}
# Parts of params.yaml that change no number of Table 2.
_ELSEWHERE = {
    *("benchmarks", "comparison", "ablation", "confusion", "selection", "separation"),
    *("diagnosis", "machine", "inputs", "ce", "decoupling", "sweep", "estimator"),
    *("diagnose", "fig2", "seeds"),
}


@dataclass(frozen=True)
class KeptRun:
    """A run below kept/.

    Fields: `cells` of Table 2, none without one; its `params`; `grade` of evidence.
    """

    cells: Sequence[Cell]
    params: Mapping[str, Any]
    grade: str

    @property
    def backbone(self) -> int:
        """Seed of the trained network."""
        return self.params["backbone"]["seed"]

    def alike(self) -> str:
        """Equal where two runs differ in nothing but the backbone's seed, and names."""
        settings = {k: v for k, v in self.params.items() if k not in _ELSEWHERE}
        settings["backbone"] = {**settings["backbone"], "seed": None}
        data = sorted({(cell.benchmark, cell.data) for cell in self.cells})
        return repr((data, settings))


def read_kept(folder: Path) -> KeptRun:
    """A kept run, from the cells, claims and params in its run/."""
    path = folder / "run" / "cells.csv"
    if not path.is_file():
        return KeptRun([], {}, "")
    table = pd.read_csv(path).query("section == 'table2'").drop(columns="per_seed")
    known = table.filter([field.name for field in fields(Cell)])
    cells = [Cell(**row.dropna().to_dict()) for _, row in known.iterrows()]
    claims = read_json(folder / "run" / "claims.json")
    grades = [claim["grade"] for claim in claims if claim["section"] == "table2"]
    params = read_yaml(folder / "run" / "params.yaml")
    return KeptRun(cells, params, ", ".join(dict.fromkeys(grades)))


def kept_page(runs: Mapping[str, KeptRun], titles: Mapping[str, str]) -> str:
    """Every kept run; of those that have a Table 2, what they found.

    Args:
        runs: folder below kept/ -> the run.
        titles: of the benchmarks.
    """
    links = {run: f"[{run}]({run}/README.md)" for run in runs}
    rows = [
        [
            *(links[name], titles[benchmark], run.grade or "—", words),
            *_numbers(run.cells, benchmark, protocol),
        ]
        for name, run in runs.items()
        for benchmark in dict.fromkeys(cell.benchmark for cell in run.cells)
        for protocol, words in PROTOCOL_NAMES.items()
    ]
    header = ["Run", "Data", "Evidence", "Protocol", "Own head", "DLSA"]
    header += [f"DLSA minus {other}, points" for other in _OTHERS.values()]
    others = [
        f"- {links[name]}, without a Table 2" for name in runs if not runs[name].cells
    ]
    parts = [
        "# Kept runs side by side",
        "Runs that were kept with their pages, figures and what made them by `make "
        "keep`, which also writes this page. Overall on the test set, %; intervals are "
        "95 % and cover the seeds after the features and test sampling, **not** the "
        "backbone.",
        markdown_table(header, rows, words=4) if rows else "None so far has a Table 2.",
        "\n".join(others),
        _together(runs, titles),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _numbers(cells: Sequence[Cell], benchmark: str, protocol: str) -> list[str]:
    where = {"benchmark": benchmark, "protocol": protocol, "metric": "overall"}
    values = [
        pick(cells, method=name, minus=None, **where) for name in ("start", "full")
    ]
    gaps = [pick(cells, minus=name, **where) for name in _OTHERS]
    return [
        *(shown(cell) if cell else "not run" for cell in values),
        *(emphasised(cell) if cell else "not run" for cell in gaps),
    ]


# ---- Several backbones ------------------------------------------------------------


def _together(runs: Mapping[str, KeptRun], titles: Mapping[str, str]) -> str:
    """Where runs differ in their backbone alone, their differences as of one sample."""
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run.cells:
            groups.setdefault(run.alike(), []).append(name)
    several = [
        [runs[name] for name in names]
        for names in groups.values()
        if len({runs[name].backbone for name in names}) > 1
    ]
    rows = []
    for group in several:
        (benchmark,) = {cell.benchmark for cell in group[0].cells}
        backbones = {run.backbone for run in group}
        about = [titles[benchmark], group[0].grade or "—", str(len(backbones))]
        for protocol, words in PROTOCOL_NAMES.items():
            gaps = [backbone_gap(group, other, protocol) for other in _OTHERS]
            rows.append([*about, words, *map(_judged, gaps)])
    if not rows:
        return "No two of these runs differ in their backbone alone."
    header = ["Data", "Evidence", "Backbones", "Protocol"]
    header += [f"DLSA minus {other}, points" for other in _OTHERS.values()]
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
        gap = pick(run.cells, minus=other, protocol=protocol, metric=metric)
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
