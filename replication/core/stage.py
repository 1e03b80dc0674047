"""What every stage shares: what it reads and makes, its resume folder, its refusals.

A stage runs as `python -m replication.stages.<stage> <argument>...`. What goes wrong
through something the user gave is one line on stderr and exit code 2; anything else is
a defect of ours and keeps its traceback.
"""

import errno
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from replication.core.files import (
    BadInput,
    content_hash,
    first_line,
    plain,
    read_json,
    read_yaml,
    write_json,
)
from replication.core.processes import (
    end_with_dvc,
    has_ended,
    is_first,
    launched,
    runner,
    torchrun,
)
from replication.core.record import (
    PACKAGE,
    code_hash,
    commit,
    loaded_modules,
    peak_memory_mb,
    record_of,
    versions,
)
from replication.core.settings import BENCHMARKS, OBJECTIVES, PARAMS, Settings, load

if TYPE_CHECKING:  # a stage that computes on no device does not wait for PyTorch
    import torch

OUTPUTS = Path("outputs")
RESULTS = Path("results")
REPORTS = Path("reports")
KEPT = Path("kept")
RESUME = Path(".resume")
ABOUT = "about.json"
SHARED = Path("/dev/shm")
_UNTIL_SAID = 2.0  # seconds that are waited without a word
_UNTIL_FREE = 10.0  # seconds that children of a killed stage have to go
_UNTIL_ENDED = 5.0  # seconds that a launcher has to end a process beside a failed one
# What a disk answers that is full, read-only, not ours or not what was expected there.
_DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
}


def _nothing_said() -> dict[str, set[str]]:
    return {"notes": set(), "doubts": set()}


class Stage:
    """A stage as it runs: what it reads, what it makes, what it will record."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.device: torch.device | None = None
        self._inputs: dict[str, str] = {}
        self._outputs: list[str] = []
        self._facts: dict[str, Any] = {}
        self._code = loaded_modules()
        self._commit = commit()
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()

    def reads(self, path: Path) -> Path:
        """Note a file as an input of this run; its content enters the run record."""
        if not path.exists():
            raise BadInput(f"{path}: expected a file, found nothing; run: dvc repro")
        self._inputs[_input_name(path)] = content_hash(path)
        return path

    def makes(self, path: Path) -> Path:
        """Note a file or folder as made by this run."""
        self._outputs.append(path.as_posix())
        return path

    def notes(self, **facts: Any) -> None:
        """Note facts for the run record, which only `report` reads."""
        self._facts.update(facts)

    def about(self, *folders: Path) -> dict[str, Any]:
        """Facts of the artefacts that this run builds on, and how it was set.

        `departures` lists the settings behind it that differ from the recipe's,
        `notes` what a reader of any page on it is told, `doubts` what of that makes
        its numbers partial; `origins`, by section and name, is whose each setting is,
        `guesses` the count of those that no source names.
        """
        facts: dict[str, Any] = {}
        gathered = {"departures": {*self.settings.departures()}, **_nothing_said()}
        origins: dict[str, str] = {}
        for folder in folders:
            before = read_json(self.reads(folder / ABOUT))
            for name, said in gathered.items():
                said |= {*before.pop(name, ())}  # nothing in shipped facts of before
            origins |= before.pop("origins")
            facts |= before
        facts |= {name: sorted(said) for name, said in gathered.items()}
        origins |= self.settings.origins
        ours = sum(origin in ("guess", "scaled") for origin in origins.values())
        guesses = {"count": ours, "of": len(origins)}
        return facts | {"origins": origins, "guesses": guesses}

    def states(self, folder: Path, *before: Path, **facts: Any) -> None:
        """Write an artefact's facts: those it builds on, and its own.

        Of `notes` and `doubts` its own are added to those that it builds on.
        """
        about = self.about(*before)
        for name in _nothing_said():
            facts[name] = sorted({*about[name], *facts.get(name, ())})
        write_json(folder / ABOUT, about | facts)

    def uses(self, device: "torch.device | None" = None) -> "torch.device":
        """Note and set up a device, that of the settings, before it computes anything.

        Raises BadInput: this machine does not have it.
        """
        from replication.core.device import pick_device, set_arithmetic

        self.device = device or pick_device(self.settings.device())
        set_arithmetic(self.settings.deterministic(), self.settings.tf32())
        return self.device

    def resume_folder(self, *settings: Any) -> Path:
        """Where this stage keeps its state; another setting or code, another folder.

        DVC deletes outputs before a stage runs, so that state must live elsewhere.
        `settings`: everything resolved that the state depends on.
        """
        exact = (self.settings.deterministic(), self.settings.tf32())
        key = content_hash(settings, self._inputs, code_hash(), exact)
        folder = RESUME / self.name / key
        folder.mkdir(parents=True, exist_ok=True)
        self.notes(resumed=any(folder.iterdir()))
        return folder

    def finish(self) -> None:
        """Check that no input changed under the run, write its record, drop its state.

        Raises BadInput: an input, or a setting that was read, changed while it ran.
        """
        inputs, now = self._inputs, load()
        changed = [name for name in inputs if _input_hash(name) != inputs[name]]
        changed += [
            f"{PARAMS.name}: {key}"
            for key in sorted(self.settings.keys_read)
            if now.get(key) != self.settings.get(key)
        ]
        if changed:
            raise BadInput(
                f"{self.name}: expected nothing to change while it ran, got changes in "
                f"{', '.join(changed)}; run it again"
            )
        write_json(record_of(self.name), self._record())
        shutil.rmtree(RESUME / self.name, ignore_errors=True)

    def _record(self) -> dict[str, Any]:
        now = loaded_modules()
        edited = [name for name in self._code if now.get(name) != self._code[name]]
        keys = sorted(self.settings.keys_read)
        params = {key: self.settings.get(key) for key in keys}
        resolved = self.settings.resolved
        return {
            "stage": self.name,
            "command": f"dvc repro {self.name}",
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._clock, 1),
            **self._commit,
            "code": now | self._code,
            "edited_while_running": edited,
            "inputs": self._inputs,
            "outputs": self._outputs,
            "params": params,
            "settings": resolved,
            "settings_hash": content_hash(params, resolved),
            **self._about_device(),
            "deterministic": self.settings.deterministic(),
            **versions(),
            "peak_memory_mb": peak_memory_mb(),
            **self._facts,
        }

    def _about_device(self) -> dict[str, Any]:
        if self.device is None:
            facts = ("device_kind", "device_model", "devices", "peak_gpu_memory_mb")
            return {"device": "cpu", **dict.fromkeys(facts)}
        from replication.core.device import about_device

        return about_device(self.device)


def of_the_machine(error: Exception) -> str | None:
    """What a reader is told where the machine had too little; None: something else."""
    said = first_line(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"{error.filename or 'the disk'}: cannot be written: {error.strerror}"
    if "Too many open files" in said:
        return f"expected to open more files, got {said[:100]!r}; allow more: ulimit -n"
    if "DataLoader worker" in said or "shared memory" in said:
        free = shutil.disk_usage(SHARED).free // 2**20 if SHARED.is_dir() else 0
        return (
            f"machine.workers: expected processes that decode images to live, got "
            f"{said[:100]!r}, perhaps for want of memory or of {SHARED}, which has "
            f"{free} MB free; give more (docker: --shm-size) or set it lower, to 0 for "
            "none"
        )
    out_of_memory = isinstance(error, MemoryError) or "allocate memory" in said
    if out_of_memory or type(error).__name__ == "OutOfMemoryError":
        return f"expected enough memory, got {said[:200]!r}; set batch sizes lower"
    return None


def _input_name(path: Path) -> str:
    """What a run record calls an input: a file of this package from the checkout on."""
    inside = PACKAGE in path.parents
    return (path.relative_to(PACKAGE.parent) if inside else path).as_posix()


def _input_hash(name: str) -> str | None:
    """Content hash now of what a run record names; None where it is no file."""
    path = Path(name)
    if path.parts[0] == PACKAGE.name:
        path = PACKAGE.parent / path
    return content_hash(path) if path.is_file() else None


def run(
    body: Callable[..., None],
    name: Callable[..., str],
    processes: Callable[..., int] | None = None,
) -> None:
    """Run a stage from its command line, whose arguments `body` and `name` get.

    `processes`, of the settings and the same arguments: how many run the body together
    where neither torchrun nor srun has started any; None: one, whoever started others.
    """
    arguments = sys.argv[1:]
    stage_name = _checked(name, arguments)
    end_with_dvc()
    try:
        settings = load()
        if processes is None and not is_first():
            return
        alone = launched() or processes is None
        if (number := 1 if alone else processes(settings, *arguments)) > 1:
            module = sys.modules["__main__"].__spec__.name
            sys.exit(torchrun(stage_name, module, arguments, number))
        with only_one(stage_name):
            _refuse_other_settings(stage_name)
            body(Stage(stage_name, settings), *arguments)
    except BadInput as error:
        _refuse(error.problems)
    except (OSError, RuntimeError, MemoryError) as error:
        from replication.core.device import refusal

        if not (problem := refusal(error) or of_the_machine(error)):
            raise
        _refuse([f"{stage_name}: {problem}"])
    except KeyboardInterrupt:
        again = f"{stage_name}: interrupted; run it again and it goes on"
        _refuse([again] if is_first() else [], code=130)


def _checked(name: Callable[..., str], arguments: list[str]) -> str:
    """The stage's name; refuses arguments that no stage has."""
    try:
        bound = inspect.signature(name).bind(*arguments)
    except TypeError:
        expected = ", ".join(inspect.signature(name).parameters)
        module = Path(sys.argv[0]).stem
        _refuse([f"{module}: expected arguments ({expected}), got {arguments}"])
    try:
        stage_name = name(*arguments)
    except BadInput as error:
        _refuse(error.problems)
    known = {"benchmark": BENCHMARKS, "objective": OBJECTIVES}
    for kind, got in bound.arguments.items():
        if kind in known and got not in known[kind]:
            expected = ", ".join(known[kind])
            _refuse([f"{stage_name}: expected one of {expected}, got {got!r}"])
    return stage_name


def _refuse(problems: list[str], code: int = 2) -> None:
    if problems and not is_first():
        # What all processes refuse, the first one says, and the others are ended.
        time.sleep(_UNTIL_ENDED)
    for problem in BadInput(problems).problems:  # what was given is shown as escapes
        print(problem, file=sys.stderr)
    sys.stdout.flush()
    sys.exit(code)


def _refuse_other_settings(name: str) -> None:
    """Refuse params.yaml with other values than when DVC's run began.

    A `dvc exp run -S` from a second terminal is refused only after it wrote them.
    """
    if (run_of := runner()) is None or not is_first():
        return
    now, place = plain(read_yaml(PARAMS)), RESUME / "locks" / f"{run_of}.json"
    if not place.is_file():
        for other in place.parent.glob("dvc-*.json"):
            if has_ended(other.stem):
                other.unlink(missing_ok=True)
        write_json(place, now)
    before = read_json(place)
    if other := sorted(key for key in now if now[key] != before.get(key)):
        raise BadInput(
            f"{name}: expected {PARAMS} as it was when this run began, got other "
            f"values of {', '.join(other)}, perhaps another terminal's -S; set them "
            "back and run it again"
        )


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the stage's lock: a second process is told who has it.

    Killing `dvc` leaves its stage running, and the next `dvc repro` starts a second.

    Raises BadInput: another process runs this stage in this checkout.
    """
    if not is_first():
        yield
        return
    place = RESUME / "locks" / f"{name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    holder = place.with_suffix(".pid")
    lock = FileLock(place)
    try:
        try:
            lock.acquire(timeout=_UNTIL_SAID)
        except Timeout:
            print(f"{name}: waits for another run of it to go", flush=True)
            lock.acquire(timeout=_UNTIL_FREE)
    except Timeout:
        pid = holder.read_text() if holder.is_file() else "unknown"
        raise BadInput(
            f"{name}: expected no other run of this stage, process {pid} is at it; "
            f"wait for it or stop it: kill {pid}"
        ) from None
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()
