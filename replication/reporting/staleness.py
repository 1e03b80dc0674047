"""Whether what a page shows is still what this checkout would make.

`dvc repro` sees to it; `dvc commit`, a stage called by hand and an edit while another
stage ran do not.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from replication.core.files import read_yaml
from replication.core.record import record_of
from replication.core.settings import Choice, Settings
from replication.core.stage import OUTPUTS, input_hash, plain
from replication.published.reader import read_published_tables

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


class Checkout:
    """What run records are held against; a file that many name is hashed once.

    Args:
        settings: as params.yaml is now; not the stage's own, whose reads are counted.
        lock: what dvc.lock says; None where there is none.
    """

    def __init__(self, settings: Settings, lock: Lock | None) -> None:
        self.settings, self.lock = settings, lock
        self.hash_of = cache(input_hash)
        self.choices = cache(self._choices)

    def _choices(
        self, benchmark: str, section: str, names: tuple[str, ...], variant: str
    ) -> Mapping[str, Choice]:
        """Settings as params.yaml, recipe and the row of Table 2 give them now."""
        row = read_published_tables()["table2"].rows.get(variant) if variant else None
        return self.settings.choices(benchmark, section, names, row)


def stale(runs: Sequence[Run], checkout: Checkout) -> list[str]:
    """Where run records, dvc.lock and the checkout disagree.

    Held against the checkout: settings, those of the recipes and of Table 2's rows too;
    modules; every input that no stage wrote: published files, checkpoints, imported
    features. Not read again: what a stage wrote, which can be many gigabytes and which
    DVC holds against dvc.lock; images, whose content `prepare` hashed.

    Args:
        runs: run records with the MD5 of their files, as `Stage.behind` returns them.

    Returns:
        A sentence a stage that disagrees; none where all agree.
    """
    said = []
    for run in runs:
        found = _params_now(run, checkout.settings) or _settings_now(run, checkout)
        found += _files_now(run, checkout)
        lock = checkout.lock
        if lock is not None and _locked(run, lock) != run.get("record_md5"):
            found.append("its run record is not the one that dvc.lock names")
        if found:
            said.append(f"{run['stage']}: {'; '.join(found)}.")
    return said


def _params_now(run: Run, settings: Settings) -> list[str]:
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


def _settings_now(run: Run, checkout: Checkout) -> list[str]:
    """What changed though params.yaml did not: a recipe, a row of Table 2."""
    variant = run["stage"].partition("@")[2].partition("-")[2]
    then = run.get("settings", {})
    names: dict[tuple[str, str], list[str]] = {}
    for key in then:
        benchmark, section, name = key.split(".")
        names.setdefault((benchmark, section), []).append(name)
    found = []
    for (benchmark, section), some in names.items():
        where = f"{benchmark}.{section}"
        try:
            choices = checkout.choices(benchmark, section, tuple(some), variant)
        except KeyError as error:
            found.append(f"{where}: {error} is no setting any more")
            continue
        now = {f"{where}.{name}": plain(one.value) for name, one in choices.items()}
        found += [
            f"{key} was {_shown(then[key])}, is {_shown(value)} now"
            for key, value in now.items()
            if value != then[key]
        ]
    return found


def _files_now(run: Run, checkout: Checkout) -> list[str]:
    then = {**run.get("inputs", {}), **run.get("modules", {})}
    given = [name for name in sorted(then) if OUTPUTS not in Path(name).parents]
    now = {name: checkout.hash_of(name) for name in given}
    gone = [name for name in now if now[name] is None]
    changed = [name for name in now if now[name] not in (None, then[name])]
    said = [f"{', '.join(changed)} changed since it ran"] if changed else []
    return said + ([f"{', '.join(gone)} gone since it ran"] if gone else [])


def _locked(run: Run, lock: Lock) -> str | None:
    return lock.get(run["stage"], {}).get(record_of(run["stage"]).as_posix())


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
