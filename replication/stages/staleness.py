"""Whether what a page shows is still what this checkout would make.

`dvc repro` sees to it; `dvc commit`, a stage called by hand and an edit while another
stage ran do not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from replication.files import content_hash, read_yaml
from replication.settings import Settings
from replication.stages.running import PACKAGE, plain, record_of

LOCK = Path("dvc.lock")

Run = Mapping[str, Any]
Lock = Mapping[str, Mapping[str, str]]


def read_lock() -> Lock | None:
    """Stage -> path -> MD5 of what dvc.lock says that the stage wrote.

    Returns:
        None where there is no dvc.lock: then nothing was run by DVC.
    """
    if not LOCK.is_file():
        return None
    return {
        stage: {out["path"]: out.get("md5", "") for out in entry.get("outs", ())}
        for stage, entry in (read_yaml(LOCK).get("stages") or {}).items()
    }


def stale(runs: Sequence[Run], settings: Settings, lock: Lock | None) -> list[str]:
    """Where run records, dvc.lock and the checkout disagree.

    Args:
        runs: run records with the MD5 of their files, as `Stage.behind` returns them.
        settings: as params.yaml is now; not the stage's own, whose reads are counted.
        lock: what dvc.lock says; None where there is none.

    Returns:
        A sentence a stage that disagrees; none where all agree.
    """
    paths = {path for run in runs for path in run.get("modules", {})}
    now = {path: _hash_of(PACKAGE.parent / path) for path in paths}
    said = []
    for run in runs:
        found = _settings_now(run, settings) + _modules_now(run, now)
        if lock is not None and _locked(run, lock) != run.get("record_md5"):
            found.append("its run record is not the one that dvc.lock names")
        if found:
            said.append(f"{run['stage']}: {'; '.join(found)}.")
    return said


def _settings_now(run: Run, settings: Settings) -> list[str]:
    found = []
    for key, then in run.get("params", {}).items():
        try:
            now = plain(settings.get(key))
        except (AttributeError, KeyError):
            found.append(f"{key} is no setting any more")
            continue
        if now != then:
            found.append(f"{key} was {_shown(then)}, params.yaml has {_shown(now)}")
    return found


def _modules_now(run: Run, now: Mapping[str, str | None]) -> list[str]:
    then = run.get("modules", {})
    changed = sorted(path for path in then if then[path] != now[path])
    return [f"{', '.join(changed)} changed since it ran"] if changed else []


def _locked(run: Run, lock: Lock) -> str | None:
    return lock.get(run["stage"], {}).get(record_of(run["stage"]).as_posix())


def _hash_of(path: Path) -> str | None:
    return content_hash(path) if path.is_file() else None


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
