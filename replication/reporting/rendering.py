"""What every page shares: the words on its data, warnings, the block on its origin."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from replication.reporting import tables
from replication.reporting.provenance import changed_modules, provenance
from replication.samples.shots import SHOT_GROUPS


def render(template: str, **values: Any) -> str:
    """Fill a template, named from the package on; a missing value is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template).render(**values)


def notice(data: Mapping[str, Any], title: str, paper_data: str | None) -> str:
    """The first line of a page: what its numbers are about.

    Args:
        data: summary of the benchmark, as `prepare` wrote it.
        title: of the benchmark.
        paper_data: what the paper's numbers are made from, in words; None where they
            are made from this benchmark.
    """
    if data["stand_in"]:
        return (
            f"> **Stand-in data.** Made from drawn glyphs, not from "
            f"{paper_data or title}: these numbers say nothing about the paper's. They "
            "show that the machinery runs, and what it would show."
        )
    if paper_data is None:
        return f"> **{title}**, the paper's own benchmark."
    return (
        f"> **{title}**, not the paper's {paper_data}: a verdict here is about this "
        "data, backbone and budget."
    )


def data_sentence(data: Mapping[str, Any]) -> str:
    """How many classes and images, and how uneven."""
    groups = data["shot_groups"]
    named = ", ".join(
        f"{groups[name]} {tables.METRIC_NAMES[name]}" for name in SHOT_GROUPS
    )
    images = data["images"]
    return (
        f"{data['classes']} classes ({named}), {images['train']} training images "
        f"({data['largest']} of the largest class, {data['smallest']} of the "
        "smallest), "
        f"{images['val']} for validation, {images['test']} for testing."
    )


def warned(text: str, warnings: Sequence[str]) -> str:
    """A page that says at its top what keeps its numbers from being of one run.

    Below the lines that say what its data is, which come first on every page.

    Args:
        warnings: sentences; none leaves the page as it is.
    """
    if not warnings:
        return text
    warning = f"> **Warning.** {' '.join(warnings)}\n\n"
    head, _, rest = text.partition("\n\n")
    return f"{head}\n\n{warning}{rest}" if head.startswith(">") else warning + text


def origin(
    data_hash: str | None, command: str, runs: Sequence[Mapping[str, Any]]
) -> str:
    """The folded block that says where a page's numbers come from.

    Implements: not in the paper: what differs between two runs of the same settings
    (commit, time, memory, energy) stands in this block of a page and nowhere else.

    Args:
        data_hash: of the data; None where there is none.
        command: that makes them again.
        runs: the run records behind the page.
    """
    made = provenance(data_hash, runs)
    hashes = f"Data hash `{data_hash}`, settings" if data_hash else "No data. Settings"
    lines = [
        ORIGIN,
        "",
        f"{hashes} hash `{made['settings_hash']}`. Command: `{command}`.",
        _commits(runs),
        _cost(made),
        f"Seeds: {_seeds(made['seeds'])}.",
        "",
        _runs_table(runs),
        "",
        f"Versions: {_versions(made['libraries'])}.",
        "Seconds are of a stage's last call: one that was stopped and went on took "
        "longer. Memory is the peak of a stage's largest process. Energy is what the "
        "counter of the whole processor or GPU rose by, whatever else ran on it; n/a "
        "where the device does not tell.",
        "",
        "</details>",
    ]
    return "\n".join(lines)


ORIGIN = "<details><summary>Where these numbers come from</summary>"


def _commits(runs: Sequence[Mapping[str, Any]]) -> str:
    """Whether one commit made everything; said, not hidden, where it did not."""
    commits = sorted({(run["commit"] or "none")[:10] for run in runs})
    dirty = [run["stage"] for run in runs if not run["clean"]]
    text = f"Commit {', '.join(commits)}."
    if len(commits) > 1:
        text = f"**Made by {len(commits)} commits**: {', '.join(commits)}"
        same = changed_modules(runs) == []
        text += "; no module that two stages used changed between." if same else "."
    if dirty:
        text += f" **Uncommitted code** ran in {', '.join(dirty)}."
    return text


def _cost(made: Mapping[str, Any]) -> str:
    """What all runs took, in words."""
    parts = [f"{made['seconds']:.0f} s", f"{made['peak_memory_mb']} MB at most"]
    if made["peak_gpu_memory_mb"] is not None:
        parts.append(f"{made['peak_gpu_memory_mb']} MB of a GPU at most")
    parts += [
        f"{joules / 1000:.1f} kJ of the {name}"
        for name, joules in (
            ("processors", made["energy_joules"]["cpu"]),
            ("GPUs", made["energy_joules"]["gpu"]),
        )
        if joules is not None
    ]
    began = f"From {made['started']}: " if made["started"] else ""
    return f"{began}{', '.join(parts)}, all stages together."


def _seeds(seeds: Mapping[str, Any]) -> str:
    named = [
        f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in seeds.items()
    ]
    return "; ".join(named) or "none"


def _versions(libraries: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(
        f"{name} {' and '.join(versions)}" for name, versions in libraries.items()
    )


_HEADER = (
    "Stage",
    "Commit",
    "Code as committed",
    "Settings",
    "Device",
    "Seconds",
    "Memory, MB",
    "GPU memory, MB",
    "Energy, J",
)


def _runs_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """A row a stage: what made its files, and what that took."""
    rows = [
        [
            run["stage"],
            (run["commit"] or "none")[:10],
            "yes" if run["clean"] else "**no**",
            f"`{run['settings_hash']}`" if "settings_hash" in run else "n/a",
            _device(run),
            f"{run['seconds']:.0f}",
            str(run["peak_memory_mb"]),
            _or_not(run.get("peak_gpu_memory_mb")),
            _energy(run.get("energy_joules", {})),
        ]
        for run in runs
    ]
    return tables.markdown_table(_HEADER, rows, words=5)


def _device(run: Mapping[str, Any]) -> str:
    """The device, how many of them, and whether it was told to repeat itself."""
    count = run.get("devices") or 1
    text = run["device"] if count == 1 else f"{count} × {run['device']}"
    return text + (", deterministic" if run.get("deterministic") else "")


def _energy(joules: Mapping[str, float | None]) -> str:
    known = [
        f"{value:.0f} ({kind.upper()})"
        for kind, value in sorted(joules.items())
        if value is not None
    ]
    return ", ".join(known) or "n/a"


def _or_not(value: float | None) -> str:
    return "n/a" if value is None else str(value)
