"""Where numbers come from: the runs behind a page, and whether they belong together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from replication.reporting.tables import markdown_table

Run = Mapping[str, Any]

FOLDED = "<details><summary>Where these numbers come from</summary>"
_HEADER = (
    "Stage",
    "Commit",
    "Code as committed",
    "Settings",
    "Device",
    "Seconds",
    "Memory, MB",
    "GPU memory, MB",
)


def disagreements(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before taking the runs behind a page for one run.

    Commits are told apart and not named, so that a run repeated at another commit says
    the same.

    Returns:
        A sentence each; none where the runs are alike.
    """
    said = []
    commits = _stages_by(runs, lambda run: run["commit"]).values()
    changed = ", ".join(_of_two_contents(runs, "code"))
    if len(commits) > 1 and changed:
        numbered = enumerate(map(", ".join, commits), start=1)
        made = "; ".join(f"({number}) {stages}" for number, stages in numbered)
        said.append(
            f"{len(commits)} commits made these numbers: {made}; {changed} changed "
            "between them."
        )
    if dirty := [run["stage"] for run in runs if not run["clean"]]:
        said.append(f"Uncommitted code ran in {', '.join(dirty)}.")
    said += [
        f"{', '.join(run['edited_while_running'])} changed while {run['stage']} ran."
        for run in runs
        if run["edited_while_running"]
    ]
    said += [
        f"Two versions of {path} were read; run `dvc repro`."
        for path in _of_two_contents(runs, "inputs")
    ]
    computing = [run for run in runs if run["device_kind"] is not None]
    said += _unlike(
        "Different devices computed these numbers",
        _stages_by(computing, lambda run: run["device_model"]),
    )
    for library in sorted({name for run in runs for name in run["libraries"]}):
        said += _unlike(
            f"Different versions of {library} ran",
            _stages_by(runs, lambda run, of=library: run["libraries"].get(of)),
        )
    return said


def _stages_by(
    runs: Iterable[Run], key: Callable[[Run], str | None]
) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run["stage"])
    return groups


def _unlike(what: str, groups: Mapping[str | None, Sequence[str]]) -> list[str]:
    """A sentence where the stages do not all have the same; else none."""
    stages = (f"{name or 'none'} in {', '.join(of)}" for name, of in groups.items())
    return [f"{what}: {'; '.join(stages)}."] if len(groups) > 1 else []


def _of_two_contents(runs: Iterable[Run], field: str) -> list[str]:
    """Paths that were not the same file in all of the runs that used them."""
    used = {(path, content) for run in runs for path, content in run[field].items()}
    paths = [path for path, _ in used]
    return sorted({path for path in paths if paths.count(path) > 1})


def origin(runs: Sequence[Run], command: str, data_hash: str | None = None) -> str:
    """The folded block that says what made a page's numbers, and what that took.

    What differs between two runs of the same settings (commit, time, memory) stands in
    this block of a page, in the warnings, and nowhere else.

    Args:
        runs: run records behind the page, in the order of the graph.
        command: that makes the numbers again.
        data_hash: of the data; None where there is none.
    """
    data = f"Data hash `{data_hash}`. " if data_hash else ""
    seconds = sum(run["seconds"] for run in runs)
    memory = max((run["peak_memory_mb"] for run in runs), default=0)
    began = min((run["started"] for run in runs), default="never")
    resumed = any(run.get("resumed") for run in runs)
    least = "at least " * resumed
    went_on = (
        " A stage that was stopped and went on counts its last call alone." * resumed
    )
    return f"""{FOLDED}

{data}Command: `{command}`.
From {began}: {least}{seconds:.0f} s and {memory} MB at most, all stages together.\
{went_on}

{markdown_table(_HEADER, map(_row, runs), words=5)}

Versions: {_versions(runs)}.

</details>"""


def _row(run: Run) -> list[str]:
    """A stage: what made its files, and what that took."""
    count = run["devices"] or 1
    device = run["device"] if count == 1 else f"{count} × {run['device']}"
    gpu = run["peak_gpu_memory_mb"]
    return [
        run["stage"],
        (run["commit"] or "none")[:10],
        "yes" if run["clean"] else "**no**",
        f"`{run['settings_hash']}`",
        device + (", deterministic" if run["deterministic"] else ""),
        f"{run['seconds']:.0f}" + ", last call" * bool(run.get("resumed")),
        str(run["peak_memory_mb"]),
        "n/a" if gpu is None else str(gpu),
    ]


def _versions(runs: Iterable[Run]) -> str:
    versions: dict[str, set[str]] = {}
    for run in runs:
        others = {name: run.get(name) for name in ("python", "cuda", "driver")}
        for name, version in {**run["libraries"], **others}.items():
            if version is not None:
                versions.setdefault(name, set()).add(version)
    return ", ".join(
        f"{name} {' and '.join(sorted(some))}"
        for name, some in sorted(versions.items())
    )
