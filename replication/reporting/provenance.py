"""Where numbers come from: the runs behind a page, and whether they belong together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from replication.reporting.tables import markdown_table

Run = Mapping[str, Any]

FOLDED = "<details><summary>Where these numbers come from</summary>"
_HEADER = (
    *("Stage", "Commit", "Code as committed", "Settings", "Device"),
    *("Seconds", "Memory, MB", "GPU memory, MB"),
)


def disagreements(runs: Sequence[Run]) -> dict[str, str]:
    """What a reader must know before taking the runs behind a page for one run.

    In a few words -> in a sentence with the stages' names. Commits are told apart and
    not named, so that a run repeated at another commit says the same.
    """
    said = {}
    commits = _stages_by(runs, lambda run: run["commit"])
    if len(commits) > 1 and (changed := _of_two_contents(runs, "code")):
        stages = (f"({n}) {', '.join(of)}" for n, of in enumerate(commits.values(), 1))
        number, named = len(commits), "; ".join(stages)
        said[f"{number} commits made these numbers, and code changed between them"] = (
            f"Commits: {named}. Changed between them: {_paths(changed)}."
        )
    if dirty := [run["stage"] for run in runs if not run["clean"]]:
        said["Uncommitted code ran"] = f"Uncommitted code ran in {', '.join(dirty)}."
    if edited := [run for run in runs if run["edited_while_running"]]:
        said["Code changed while it ran"] = " ".join(
            f"{_paths(run['edited_while_running'])} changed while {run['stage']} ran."
            for run in edited
        )
    if twice := _of_two_contents(runs, "inputs"):
        said["Two versions of a file were read"] = (
            f"Two versions of {', '.join(twice)} were read; run `dvc repro`."
        )
    computing = [run for run in runs if run["device_kind"] is not None]
    differ = {"devices": _stages_by(computing, lambda run: run["device_model"])}
    for library in sorted({name for run in runs for name in run["libraries"]}):
        differ[f"versions of {library}"] = _stages_by(
            runs, lambda run, of=library: run["libraries"].get(of)
        )
    for what, groups in differ.items():
        if len(groups) > 1:
            stages = (f"{of or 'none'} in {', '.join(on)}" for of, on in groups.items())
            whole = f"Different {what}: {'; '.join(stages)}."
            said[f"Different {what} were used"] = whole
    return said


def _paths(names: Iterable[str]) -> str:
    """In code spans, so that Markdown leaves underscores alone."""
    return ", ".join(f"`{name}`" for name in names)


def _stages_by(
    runs: Iterable[Run], key: Callable[[Run], str | None]
) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run["stage"])
    return groups


def _of_two_contents(runs: Iterable[Run], field: str) -> list[str]:
    """Paths that were not the same file in all of the runs that used them."""
    used = {(path, content) for run in runs for path, content in run[field].items()}
    paths = [path for path, _ in used]
    return sorted({path for path in paths if paths.count(path) > 1})


def origin(
    runs: Sequence[Run],
    command: str,
    data_hash: str | None = None,
    notes: Iterable[str] = (),
) -> str:
    """The folded block that says what made a page's numbers, and what that took.

    What differs between two runs of the same settings (commit, time, memory) stands in
    this block of a page, in the warnings, and nowhere else. What the page says in a few
    words of its runs and input stands here whole.
    """
    data = f"Data hash `{data_hash}`. " if data_hash else ""
    began = min((run["started"] for run in runs), default="never")
    said = [*disagreements(runs).values(), *notes]
    whole = "".join(f"- {line}\n" for line in said) + "\n" * bool(said)
    return f"""{FOLDED}

{whole}{data}Command: `{command}`.
From {began}: {cost(runs)}

{markdown_table(_HEADER, map(_row, runs), words=5)}

Versions: {_versions(runs)}.

</details>"""


def cost(runs: Sequence[Run]) -> str:
    """Time and memory of all stages, and on what."""
    seconds = sum(run["seconds"] for run in runs)
    took = f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    memory = max((run["peak_memory_mb"] for run in runs), default=0)
    devices = {_device(run) for run in runs if run["device_kind"] is not None}
    on = f", on {' and '.join(sorted(devices))}" if devices else ""
    resumed = any(run.get("resumed") for run in runs)
    return (
        f"{'at least ' * resumed}{took} and {memory} MB at most, all stages together"
        f"{on}."
        + " A stage that was stopped and went on counts its last call alone."
        * resumed
    )


def _row(run: Run) -> list[str]:
    """A stage: what made its files, and what that took."""
    gpu = run["peak_gpu_memory_mb"]
    return [
        run["stage"],
        (run["commit"] or "none")[:10],
        "yes" if run["clean"] else "**no**",
        f"`{run['settings_hash']}`",
        _device(run) + (", deterministic" if run["deterministic"] else ""),
        f"{run['seconds']:.0f}" + ", last call" * bool(run.get("resumed")),
        str(run["peak_memory_mb"]),
        "n/a" if gpu is None else str(gpu),
    ]


def _device(run: Run) -> str:
    count = run["devices"] or 1
    return run["device"] if count == 1 else f"{count} × {run['device']}"


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
