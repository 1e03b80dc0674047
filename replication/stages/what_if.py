"""what_if: `dvc exp run` with settings of one's own, from the committed ones.

Not a stage of the graph: `make what-if S="lambda_pure=0.3 seeds=[0, 1]"`, perhaps with
`AT=<stage>` to stop there. DVC's own `-S` adds up from run to run, since it starts from
what the last one left in params.yaml; this starts from the commit, and what it refuses
changes nothing.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from filelock import FileLock
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from replication.core.files import (
    BadInput,
    first_line,
    plain,
    read_text,
    read_yaml,
    write_json,
    write_text,
)
from replication.core.processes import at_work
from replication.core.settings import PARAMS, load
from replication.core.stage import RESUME

_SETTING = re.compile(r"([\w.]+)=(.*)", re.DOTALL)


def main() -> None:
    """Read S and AT of the environment, where `make` puts them, and become DVC.

    `--check` alone: refuse a wrong params.yaml, which DVC would do in words of its own.
    """
    try:
        if "--check" in sys.argv:
            load()
            return
        committed = _committed()
        wanted = changed(committed, list(settings_in(os.environ.get("S", ""))))
        _check(wanted)
        targets, before = os.environ.get("AT", "").split(), read_text(PARAMS)
        with _alone():
            _write(wanted, committed)
            try:
                _refuse_unknown(targets)
            except BadInput:
                write_text(PARAMS, before)
                raise
            _sign()
            _hold()
            os.execvp("dvc", ["dvc", "exp", "run", *targets])
    except BadInput as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # no DVC, or a checkout that cannot be written
        print(f"what_if: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def settings_in(text: str) -> Iterator[tuple[str, Any]]:
    """Settings out of `a.b=1 c=[2, 3]`: their keys, and their values as YAML has them.

    Raises BadInput: one that is no setting.
    """
    for part in filter(None, re.split(r"\s+(?=[\w.]+=)", text.strip())):
        match = _SETTING.fullmatch(part)
        try:
            if match is None:
                raise ValueError
            yield match[1], YAML(typ="safe").load(match[2])
        except (ValueError, YAMLError):
            raise BadInput(f"S: expected <setting>=<value>, got {part!r}") from None


def changed(params: str, settings: list[tuple[str, Any]]) -> str:
    """params.yaml with other values, its comments kept.

    Raises BadInput: a key that leads nowhere, no setting at all, or an input of a
    benchmark that does not run.
    """
    if not settings:
        raise BadInput('S: expected settings, such as S="lambda_pure=0.3", got none')
    yaml = YAML()
    yaml.width = 10**6
    content = yaml.load(params)
    for key, value in settings:
        place, (*above, name) = content, key.split(".")
        for part in above:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name not in place:
            meant = [known for known in _keys(content) if known.endswith(f".{name}")]
            hint = f"; did you mean {' or '.join(meant)}?" if 0 < len(meant) < 4 else ""
            line = f"{PARAMS}: {key}: expected a known setting, got this one{hint}"
            raise BadInput(line)
        place[name] = value
    for key in (key for key, value in settings if value is not None):
        section, _, benchmark = key.rpartition(".")[0].rpartition(".")
        if section == "inputs" and benchmark not in content["benchmarks"]:
            raise BadInput(
                f"{PARAMS}: {key}: expected {benchmark} in benchmarks, which nothing "
                f"else reads this for, got {[*content['benchmarks']]}"
            )
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()


def _keys(settings: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in settings.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{name}.")


def _committed() -> str:
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{PARAMS}"], capture_output=True, text=True
    )
    if "dubious ownership" in shown.stderr:
        raise BadInput(
            "what_if: expected a checkout of your own, got another owner's; clone it, "
            f"or: git config --global --add safe.directory {Path.cwd()}"
        )
    if shown.returncode:
        raise BadInput(
            f"what_if: expected a git checkout with {PARAMS} committed, since DVC "
            "keeps a what-if as a commit; make one of a downloaded archive: git init "
            "&& git add -A && git commit -m start"
        )
    return shown.stdout


def _hold() -> None:
    """Hold every stage to these settings, whatever is written before the first looks.

    By the name of `processes.runner`: this process becomes that run of DVC.
    """
    me = psutil.Process()
    place = RESUME / "locks" / f"dvc-{me.pid}-{me.create_time()}.json"
    write_json(place, plain(read_yaml(PARAMS)))


def _sign() -> None:
    """Name who commits where git knows nobody, as in a container: DVC wants a name."""
    for what, value in (("name", "what-if"), ("email", "what-if@localhost")):
        if subprocess.run(
            ["git", "config", f"user.{what}"], stdout=subprocess.DEVNULL
        ).returncode:
            for who in ("AUTHOR", "COMMITTER"):
                os.environ.setdefault(f"GIT_{who}_{what.upper()}", value)


def _check(params: str) -> None:
    """Refuse settings before anything is changed, as every stage would."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / PARAMS
        place.write_text(params)
        try:
            load(place)
        except BadInput as error:
            lines = [line.replace(str(place), str(PARAMS)) for line in error.problems]
            raise BadInput(lines) from None


def _alone() -> FileLock:
    """A lock that two what-ifs cannot both have, until one is seen as DVC.

    Raises BadInput: another run is at work in this checkout.
    """
    (RESUME / "locks").mkdir(parents=True, exist_ok=True)
    lock = FileLock(RESUME / "locks" / "what_if.lock")
    lock.acquire()
    if pid := at_work():
        lock.release()
        raise BadInput(
            f"what_if: expected no other run in this checkout, DVC's process {pid} is "
            "at it; wait for it"
        )
    return lock


def _refuse_unknown(targets: list[str]) -> None:
    """Refuse stages that dvc.yaml, under the settings in params.yaml, does not have."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    for target in targets:
        try:
            Repo().stage.collect(target)
        except DvcException as error:
            raise BadInput(f"AT: {first_line(error)}") from None


def _write(wanted: str, committed: str) -> None:
    """Write params.yaml; keep what stands there of neither a commit nor a what-if."""
    before, last, kept = read_text(PARAMS), RESUME / "what_if.yaml", RESUME / PARAMS
    if before not in (committed, read_text(last) if last.is_file() else committed):
        write_text(kept, before)
        print(f"{PARAMS} was neither committed nor a what-if: it is now {kept}")
    write_text(last, wanted)
    write_text(PARAMS, wanted)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
