"""What every page shares: Jinja, the words on its data, the block on its origin."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from replication.data.longtail import SHOT_GROUPS
from replication.reporting import tables


def render(template: str, **values: Any) -> str:
    """Fill a template of `templates/`; a value that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
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


def origin(
    data_hash: str | None, command: str, runs: Sequence[Mapping[str, Any]]
) -> str:
    """The folded block that says where a page's numbers come from.

    Args:
        data_hash: of the data; None where there is none.
        command: that makes them again.
        runs: the run records behind the page.
    """
    lines = ["<details><summary>Where these numbers come from</summary>", ""]
    lines.append(f"Data hash `{data_hash}`. " if data_hash else "No data. ")
    lines[-1] += f"Command: `{command}`."
    lines += [_provenance(runs), "", tables.runs_table(runs), ""]
    lines += [f"Libraries: {_libraries(runs)}.", "", "</details>"]
    return "\n".join(lines)


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
