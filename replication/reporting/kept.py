"""Kept runs side by side: what each one found, and how far backbones differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replication.core.files import content_hash
from replication.reporting import tables
from replication.statistics.intervals import over_seeds

_PROTOCOLS = {"paper": "paper", "released_code": "released code"}
_OTHERS = {"start": "its own head", "balanced_softmax": "BalSoftmax refitted"}


@dataclass(frozen=True)
class KeptRun:
    """Table 2 of a kept run on one benchmark.

    Fields: `name` of its folder; `records` of Table 2; `runs`: stage -> run record.
    """

    name: str
    benchmark: str
    records: Sequence[Mapping[str, Any]]
    runs: Mapping[str, Mapping[str, Any]]

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Settings of the PaCo backbone; empty where the features were imported."""
        return self.runs[f"backbone_paco@{self.benchmark}"].get("backbone") or {}

    @property
    def kind(self) -> str:
        """Equal for runs that differ in nothing but what drew the backbone."""
        backbone = {key: self.backbone[key] for key in self.backbone if key != "seed"}
        full = self.runs[f"dlsa@{self.benchmark}"]
        return content_hash(full["data_hash"], backbone, full["settings"])

    def value(self, method: str, protocol: str) -> str:
        """Overall of a method with its interval, %."""
        return self._shown("value", method, protocol)

    def gap(self, method: str, protocol: str) -> Mapping[str, Any] | None:
        """Overall of the full model minus another method's."""
        return self._found("difference", method, protocol)

    def gap_in_words(self, method: str, protocol: str) -> str:
        """The same with its interval, points."""
        return self._shown("difference", method, protocol)

    def _shown(self, kind: str, method: str, protocol: str) -> str:
        found = self._found(kind, method, protocol)
        return tables.with_interval(found) if found else "not run"

    def _found(self, kind: str, method: str, protocol: str) -> Mapping[str, Any] | None:
        return tables.find(
            self.records, kind=kind, method=method, protocol=protocol, metric="overall"
        )


def kept_page(runs: Sequence[KeptRun], titles: Mapping[str, str]) -> str:
    """Every kept run that has a Table 2: what it is, what it found.

    Args:
        titles: of the benchmarks.
    """
    return "\n\n".join(
        part
        for part in (
            "# Kept runs side by side",
            "Runs that were kept with their pages, figures and provenance by `make "
            "keep`, which also writes this page. "
            "Overall on the test set, %; intervals are 95 % and cover the seeds after "
            "the features and test sampling, **not** the backbone.",
            _what_they_are(runs, titles) if runs else "None so far has a Table 2.",
            _what_they_found(runs) if runs else "",
            _between_backbones(runs),
        )
        if part
    ) + "\n"  # fmt: skip


def _what_they_are(runs: Sequence[KeptRun], titles: Mapping[str, str]) -> str:
    rows = []
    for run in runs:
        backbone, data = run.backbone, run.runs[f"prepare@{run.benchmark}"]["settings"]
        factor = data.get(f"{run.benchmark}.data.imbalance_factor")
        full = run.runs[f"dlsa@{run.benchmark}"]
        rows.append(
            [
                f"[{run.name}]({run.name}/README.md)",
                titles[run.benchmark],
                f"{factor:g}" if factor else "as it comes",
                backbone.get("network", "imported"),
                str(backbone.get("epochs", "n/a")),
                str(backbone.get("seed", "n/a")),
                ", ".join(str(seed) for seed in full["seeds"].get("seeds", [])),
                f"`{(full['commit'] or 'none')[:10]}`",
            ]
        )
    header = ["Run", "Data", "Imbalance factor", "Network", "PaCo epochs"]
    header += ["Backbone seed", "Seeds after it", "Commit of DLSA"]
    return tables.markdown_table(header, rows, words=4)


def _what_they_found(runs: Sequence[KeptRun]) -> str:
    header = ["Run", "Protocol", "Own head", "BalSoftmax refitted", "DLSA"]
    header += [f"DLSA minus {other}, points" for other in _OTHERS.values()]
    rows = [
        [
            run.name,
            shown,
            *(run.value(method, protocol) for method in (*_OTHERS, "full")),
            *(run.gap_in_words(method, protocol) for method in _OTHERS),
        ]
        for run in runs
        for protocol, shown in _PROTOCOLS.items()
    ]
    return tables.markdown_table(header, rows, words=2)


def _between_backbones(runs: Sequence[KeptRun]) -> str:
    """DLSA's differences over runs that are alike but for the backbone's seed."""
    alike: dict[str, list[KeptRun]] = {}
    for run in runs:
        alike.setdefault(run.kind, []).append(run)
    rows = [
        _over_backbones(group, method, protocol)
        for group in alike.values()
        if len({run.backbone.get("seed") for run in group}) > 1
        for protocol in _PROTOCOLS
        for method in _OTHERS
    ]
    if not rows:
        return ""
    header = ["Runs", "Protocol", "DLSA minus", "Backbones", "Each, points"]
    header += ["Mean [95 % over backbones]"]
    return (
        "## Between backbones\n\n"
        "Runs that are alike but for the backbone's seed. The interval is Student's "
        "over backbones, each one's mean over its seeds counted once: what a further "
        "backbone would be expected to do. Of two backbones it has one degree of "
        "freedom.\n\n" + tables.markdown_table(header, rows, words=3)
    )


def _over_backbones(group: Sequence[KeptRun], method: str, protocol: str) -> list[str]:
    gaps = [gap["mean"] for run in group if (gap := run.gap(method, protocol))]
    mean = {**vars(over_seeds(gaps)), "kind": "difference"}
    return [
        ", ".join(run.name for run in group),
        _PROTOCOLS[protocol],
        _OTHERS[method],
        str(len(gaps)),
        ", ".join(tables.points(gap) for gap in gaps),
        tables.with_interval(mean),
    ]
