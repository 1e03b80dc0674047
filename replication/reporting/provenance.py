"""Where numbers come from: whether the runs behind a page belong together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from replication.core.files import BadInput, content_hash

Run = Mapping[str, Any]

# What of each run stands beside the numbers it made.
_OF_A_RUN = (
    "started",
    "seconds",
    "commit",
    "clean",
    "data_hash",
    "settings_hash",
    "seeds",
    "device",
    "devices",
    "threads",
    "deterministic",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
    "energy_joules",
)


def refuse_mixed_data(name: str, data_hash: str, runs: Sequence[Run]) -> None:
    """Numbers of one table are about one data set, and what was made from it once.

    Implements: not in the paper: a table of two data sets looks like any other.

    Args:
        name: of the table.
        data_hash: of the data that the table says it is about.
        runs: the run records behind it.

    Raises:
        BadInput: a run saw other data, or two runs read the same file with different
            contents.
    """
    for run in runs:
        found = run.get("data_hash")
        if found is not None and found != data_hash:
            raise BadInput(
                f"{name}: expected one data set behind it, hash {data_hash}, got hash "
                f"{found} behind {run['stage']}; run: dvc repro {name}"
            )
    read: dict[str, Run] = {}
    for run in runs:
        for path, content in run.get("inputs", {}).items():
            first = read.setdefault(path, run)
            if first["inputs"][path] != content:
                raise BadInput(
                    f"{name}: expected one {path} behind it, got two: that of "
                    f"{first['stage']} and that of {run['stage']}; run: dvc repro "
                    f"-f {first['stage']} {run['stage']}"
                )


def disagreements(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before taking the runs behind a page for one run.

    Implements: not in the paper: different commits between which code that two stages
    used changed, uncommitted code, devices and libraries, each with the stages that
    differ. Commits are told apart and not named, so that a run repeated at another
    commit says the same.

    Returns:
        A sentence each; none where the runs are alike.
    """
    said = []
    commits = _grouped(runs, lambda run: run["commit"])
    changed = changed_modules(runs)
    if len(commits) > 1 and changed != []:
        what = ", ".join(changed) if changed else "some of the code, perhaps,"
        said.append(
            f"{len(commits)} commits made these numbers: {_numbered(commits)}; "
            f"{what} changed between them."
        )
    if dirty := [run["stage"] for run in runs if not run["clean"]]:
        said.append(f"Uncommitted code ran in {', '.join(dirty)}.")
    computing = [run for run in runs if run.get("device_kind") is not None]
    devices = _grouped(computing, lambda run: run["device_model"])
    if len(devices) > 1:
        named = "; ".join(f"{name} in {', '.join(of)}" for name, of in devices.items())
        said.append(f"Different devices computed these numbers: {named}.")
    for library in sorted({name for run in runs for name in run["libraries"]}):
        versions = _grouped(runs, lambda run, of=library: run["libraries"].get(of))
        if len(versions) > 1:
            named = "; ".join(
                f"{version or 'none'} in {', '.join(of)}"
                for version, of in versions.items()
            )
            said.append(f"Different versions of {library} ran: {named}.")
    return said


def provenance(data_hash: str | None, runs: Sequence[Run]) -> dict[str, Any]:
    """What made some numbers, in one place.

    Args:
        data_hash: of the data; None where there is none.
        runs: the run records behind them.

    Returns:
        Hashes, commits, seeds, devices and versions of all runs; `seconds`, the sum of
        their wall times; `peak_memory_mb`, the largest; `energy_joules`, the sums, None
        where a device of one of them does not tell; and `stages`, each run's own.
    """
    return {
        "data_hash": data_hash,
        "settings_hash": content_hash(
            {run["stage"]: run.get("settings_hash") for run in runs}
        ),
        "commits": sorted({run["commit"] or "none" for run in runs}),
        "clean": all(run["clean"] for run in runs),
        "seeds": {
            key: value
            for run in runs
            for key, value in sorted(run.get("seeds", {}).items())
        },
        "devices": sorted({_device(run) for run in runs}),
        "libraries": _versions(runs),
        "started": min((run.get("started", "") for run in runs), default=""),
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "peak_memory_mb": max((run["peak_memory_mb"] for run in runs), default=None),
        "peak_gpu_memory_mb": _most(run.get("peak_gpu_memory_mb") for run in runs),
        "energy_joules": {
            "cpu": _energy(runs, "cpu"),
            "gpu": _energy([r for r in runs if r.get("device_kind") == "cuda"], "gpu"),
        },
        "stages": {
            run["stage"]: {name: run[name] for name in _OF_A_RUN if name in run}
            for run in runs
        },
    }


def each_once(runs: Iterable[Run]) -> list[Run]:
    """Runs behind several pages, a stage once; the first record of each stands."""
    found: dict[str, Run] = {}
    for run in runs:
        found.setdefault(run["stage"], run)
    return list(found.values())


def _grouped(
    runs: Iterable[Run], key: Callable[[Run], str | None]
) -> dict[str | None, list[str]]:
    """Stages by what they have, in the order of the runs."""
    groups: dict[str | None, list[str]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run["stage"])
    return groups


def _numbered(groups: Mapping[Any, Sequence[str]]) -> str:
    return "; ".join(
        f"({number}) {', '.join(stages)}"
        for number, stages in enumerate(groups.values(), start=1)
    )


def changed_modules(runs: Sequence[Run]) -> list[str] | None:
    """Modules that were not the same in all of the runs that used them.

    Returns:
        Their paths; None where a run does not say what it used.
    """
    versions: dict[str, set[str]] = {}
    for run in runs:
        for path, content in run.get("modules", {}).items():
            versions.setdefault(path, set()).add(content)
    if not all(run.get("modules") for run in runs):
        return None
    return sorted(path for path, some in versions.items() if len(some) > 1)


def _device(run: Run) -> str:
    count = run.get("devices") or 1
    return run["device"] if count == 1 else f"{count} × {run['device']}"


def _versions(runs: Iterable[Run]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for run in runs:
        named = dict(run["libraries"])
        for name in ("python", "cuda", "driver"):
            if run.get(name) is not None:
                named[name] = run[name]
        for name, version in named.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _energy(runs: Sequence[Run], kind: str) -> float | None:
    """Joules of all runs; None where one of them does not know its own."""
    joules = [run.get("energy_joules", {}).get(kind) for run in runs]
    if not joules or any(value is None for value in joules):
        return None
    return round(sum(joules), 1)
