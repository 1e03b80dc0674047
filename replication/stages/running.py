"""What every stage shares: its lock, its resume folder, its run record, its errors.

A stage runs as `python -m replication.stages.<stage> <argument>...`. What goes wrong
through something the user gave is one line on stderr and exit code 2; anything else is
a defect of ours and keeps its traceback.
"""

import errno
import fcntl
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from replication.files import BadInput, content_hash, read_json, write_json
from replication.settings import BENCHMARKS, OBJECTIVES, PARAMS, Settings, load
from replication.stages.machine import (
    about_device,
    cpu_counters,
    cpu_joules,
    gpu_counters,
    gpu_joules,
    model_name,
    refusal,
    set_deterministic,
    set_tf32,
)

OUTPUTS = Path("outputs")
RESULTS = Path("results")
REPORTS = Path("reports")
DOWNLOADS = Path("downloads")
RESUME = Path(".resume")
PACKAGE = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "torchvision", "timm", "nflows", "lightning-fabric", "numpy")
_QUIET_SECONDS = 10.0
_DYING_SECONDS = 10.0
# What a disk answers that is full, read-only, not ours or not what was expected there.
_DISK = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EFBIG,
        errno.EIO,
    }
)
_TABLES = (
    "table1",
    "table2",
    "confusion",
    "sigma",
    "estimator",
    "separation",
    "diagnosis",
    "audit",
    "ledger",
)


class Stage:
    """A running stage: what it reads, where it resumes, what it will record."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.device: torch.device | None = None
        self.deterministic = self.tf32 = False
        self._inputs: dict[str, str] = {}
        self._facts: dict[str, Any] = {}
        self._code = code_hashes()
        self._params = content_hash(PARAMS)
        self._commit = _commit()
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self._cpu_energy = cpu_counters()
        self._gpu_energy: dict[str, int] = {}

    def reads(self, path: Path) -> Path:
        """Note a file as an input of this run; its content enters the run record."""
        if not path.exists():
            raise BadInput(f"{path}: expected a file, found nothing; run: dvc repro")
        self._inputs[_input_name(path)] = content_hash(path)
        return path

    def behind(self, *stages: str) -> list[dict[str, Any]]:
        """Run records of the stages whose files this one builds on."""
        return [read_record(self.reads(record_of(name))) for name in stages]

    def notes(self, **facts: Any) -> None:
        """Note facts about this run that belong into its record."""
        self._facts.update(facts)

    def uses(self, device: torch.device) -> torch.device:
        """Note the device that this run computes on, and have it repeat if asked.

        To be called before anything is computed there.
        """
        self.device = device
        self.deterministic = self.settings.deterministic()
        self.tf32 = self.settings.tf32()
        set_deterministic(self.deterministic)
        set_tf32(self.tf32 and not self.deterministic)
        self._gpu_energy = gpu_counters(device)
        return device

    def resume_folder(self, *settings: Any) -> Path:
        """Where this stage keeps its state; another setting or code, another folder.

        Implements: not in the paper: DVC deletes outputs before a stage runs, so that
        state must live elsewhere; a state of other settings must not be taken up.

        Args:
            settings: everything resolved that the state depends on.
        """
        plain = [
            getattr(item, "model_dump", lambda item=item: item)() for item in settings
        ]
        key = content_hash(
            plain, self._inputs, self._code, self.deterministic, self.tf32
        )
        folder = RESUME / self.name / key
        if folder.parent.is_dir():
            for other in folder.parent.iterdir():
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self) -> None:
        """Check that nothing changed under the run, write its record, drop its state.

        The record lies apart from what the stage made: it holds times, and must not
        make a stage run again that reads files which came out the same.

        Raises:
            BadInput: params.yaml, the code or an input changed while the stage ran.
        """
        then = {**self._inputs, PARAMS.name: self._params}
        changed = [name for name in then if input_hash(name) != then[name]]
        code = code_hashes()
        changed += [name for name in self._code if code.get(name) != self._code[name]]
        if changed:
            raise BadInput(
                f"{self.name}: expected nothing to change while it ran, got changes in "
                f"{', '.join(changed)}; run it again"
            )
        write_json(record_of(self.name), self._record())
        shutil.rmtree(RESUME / self.name, ignore_errors=True)

    def _record(self) -> dict[str, Any]:
        seconds = time.perf_counter() - self._clock
        gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
        gpu_energy = gpu_counters(self.device) if self.device is not None else {}
        params = {
            key: plain(self.settings.get(key))
            for key in sorted(self.settings.keys_read)
        }
        resolved = plain(self.settings.resolved)
        return {
            "stage": self.name,
            "command": "dvc repro " + self.name,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "commit": self._commit["commit"],
            "clean": self._commit["clean"],
            "code": content_hash(self._code),
            "modules": self._code,
            "inputs": self._inputs,
            "data_hash": _data_hash(self.name),
            "params": params,
            "settings": resolved,
            "as_recipe": sorted(
                key for key, same in self.settings.as_recipe.items() if same
            ),
            "settings_hash": content_hash(params, resolved),
            "seeds": {
                key: value
                for key, value in params.items()
                if key.split(".")[-1] in ("seed", "seeds")
            },
            "device": "cpu" if self.device is None else device_name(self.device),
            **about_device(self.device),
            "deterministic": self.deterministic,
            "threads": torch.get_num_threads(),
            "libraries": {name: metadata.version(name) for name in LIBRARIES},
            "python": platform.python_version(),
            "peak_memory_mb": _peak_memory_mb(),
            "peak_gpu_memory_mb": None if gpu is None else round(gpu / 2**20),
            "energy_joules": {
                "cpu": cpu_joules(self._cpu_energy, cpu_counters(), seconds),
                "gpu": gpu_joules(self._gpu_energy, gpu_energy),
            },
            **self._facts,
        }


def record_of(stage: str) -> Path:
    """Where the run record of a stage lies, by the stage's name in dvc.yaml.

    Those of the stages that only the report builds on lie with what they wrote.
    """
    folder = OUTPUTS / "tables" if stage.split("@")[0] in _TABLES else OUTPUTS
    return folder / "records" / f"{stage}.json"


def read_record(path: Path) -> dict[str, Any]:
    """A run record, with the MD5 of its file, by which dvc.lock names it."""
    record = read_json(path)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return record | {"record_md5": md5}


def _data_hash(stage: str) -> str | None:
    """Of the data that a stage ran on, as `prepare` wrote it; None where it has none.

    Called when the run ends, when no input has changed under it.
    """
    benchmark = stage.partition("@")[2].partition("-")[0]
    summary = OUTPUTS / benchmark / "data" / "summary.json"
    return read_json(summary)["hash"] if benchmark and summary.is_file() else None


def _peak_memory_mb() -> int:
    """Of this process or the largest that it started and waited for, whichever is more.

    Processes that ran side by side are not added up: nothing tells when each peaked.
    """
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024)


def dlsa_name(benchmark: str, variant: str) -> str:
    """Name of a DLSA stage: the full model serves every table, others the ablation."""
    return (
        f"dlsa@{benchmark}" if variant == "full" else f"ablation@{benchmark}-{variant}"
    )


def one_of(known: Mapping[str, Any], name: str, stage: str) -> Any:
    """What stands under a name that came from the command line.

    Raises:
        BadInput: nothing does.
    """
    if name not in known:
        raise BadInput(f"{stage}: expected one of {', '.join(known)}, got {name!r}")
    return known[name]


def features_in_words(runs: Iterable[Mapping[str, Any]], objective: str) -> str:
    """What the features of an objective are, as the run of their backbone recorded."""
    name = f"backbone_{objective}@"
    run = next(run for run in runs if run["stage"].startswith(name))
    recipe = run.get("backbone")
    if recipe is None:
        return "imported, not made here"
    if "epochs" not in recipe:
        return f"{recipe['network']}, {run['source']}"
    how = {"ce": "cross-entropy", "paco": "PaCo"}[objective]
    return f"a {recipe['network']} trained by {how} for {recipe['epochs']} epochs"


def _input_name(path: Path) -> str:
    """What a run record calls an input: a file of this package from the checkout on."""
    inside = PACKAGE in path.parents
    return (path.relative_to(PACKAGE.parent) if inside else path).as_posix()


def input_hash(name: str) -> str | None:
    """Content hash now of what a run record names; None where it is no file."""
    path = Path(name)
    if path.parts[0] == PACKAGE.name:
        path = PACKAGE.parent / path
    return content_hash(path) if path.is_file() else None


def run(body: Callable[..., None], name: Callable[..., str]) -> None:
    """Run a stage from its command line.

    Args:
        body: the stage; gets a `Stage` and the command line's arguments.
        name: the stage's name in dvc.yaml, from the same arguments.
    """
    arguments = sys.argv[1:]
    try:
        stage_name = name(*arguments)
    except TypeError:
        module = Path(sys.argv[0]).stem
        expected = ", ".join(name.__code__.co_varnames[: name.__code__.co_argcount])
        _refuse([f"{module}: expected arguments ({expected}), got {arguments}"])
    if arguments and arguments[0] not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        _refuse([f"{stage_name}: expected one of {known}, got {arguments[0]!r}"])
    takes = name.__code__.co_varnames[: len(arguments)]
    if "objective" in takes and arguments[takes.index("objective")] not in OBJECTIVES:
        got = arguments[takes.index("objective")]
        _refuse([f"{stage_name}: expected one of {', '.join(OBJECTIVES)}, got {got!r}"])
    child = int(os.environ.get("LOCAL_RANK", "0")) > 0
    try:
        with only_one(stage_name, skip=child):
            body(Stage(stage_name, load()), *arguments)
    except BadInput as error:
        _refuse(error.problems)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        place = error.filename or "the disk"
        _refuse([f"{stage_name}: {place}: cannot be written: {error.strerror}"])
    except RuntimeError as error:
        if not (problem := refusal(error)):
            raise
        _refuse([f"{stage_name}: {problem}"])
    except KeyboardInterrupt:
        _refuse([f"{stage_name}: interrupted; run it again and it goes on"], code=130)


def _refuse(problems: list[str], code: int = 2) -> None:
    for problem in BadInput(problems).problems:  # what was given is shown as escapes
        print(problem, file=sys.stderr)
    sys.stdout.flush()
    sys.exit(code)


@contextmanager
def only_one(name: str, skip: bool = False) -> Iterator[None]:
    """Hold the stage's lock: a second process is told who has it.

    Implements: not in the paper: killing `dvc` leaves its stage running, and the next
    `dvc repro` starts a second one. A stage that was killed holds its lock until the
    processes that it forked are gone too, which takes them a moment.

    Raises:
        BadInput: another process runs this stage in this checkout.
    """
    if skip:
        yield
        return
    place = RESUME / "locks" / f"{name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("a+") as lock:
        last = time.monotonic() + _DYING_SECONDS
        while not _locked(lock):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            if not _alive(holder) and time.monotonic() < last:
                time.sleep(0.05)
                continue
            raise BadInput(
                f"{name}: expected no other run of this stage, process {holder} is at "
                f"it; wait for it or stop it: kill {holder}"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(holder: str) -> bool:
    """Whether a process has that number and is no zombie."""
    try:
        state = Path(f"/proc/{holder}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """Show how far a long job is: a bar on a terminal, a line now and then in a log.

    Yields:
        A function told (step from 0, steps, metrics) after each step.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}"),
        TimeRemainingColumn(),
        transient=True,
    )
    said = time.monotonic()

    def tell(step: int, steps: int, metrics: Mapping[str, float]) -> None:
        nonlocal said
        text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if bar.console.is_terminal:
            bar.update(task, completed=step + 1, total=steps, metrics=text)
        elif time.monotonic() - said > _QUIET_SECONDS or step + 1 == steps:
            said = time.monotonic()
            print(f"{what}: {step + 1}/{steps}  {text}", flush=True)

    with bar:
        task = bar.add_task(what, total=None, metrics="")
        yield tell


def code_hashes() -> dict[str, str]:
    """Content hash of each module of this package that is loaded, by its path."""
    loaded = (
        getattr(module, "__file__", None) for module in list(sys.modules.values())
    )
    mine = {Path(file).resolve() for file in loaded if file and PACKAGE.name in file}
    return {
        path.relative_to(PACKAGE.parent).as_posix(): content_hash(path)
        for path in sorted(mine)
        if PACKAGE in path.parents
    }


def device_name(device: torch.device) -> str:
    """What a reader calls the device: the GPU, or the processor and its threads."""
    if device.type == "cuda":
        return model_name(device)
    threads = torch.get_num_threads()
    return f"{model_name(device)}, {threads} thread{'s' if threads > 1 else ''}"


def pick_device(name: str) -> torch.device:
    """The device that the setting `device` names.

    Raises:
        BadInput: this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    number = int(name.split(":")[1]) if ":" in name else 0
    if name.startswith("cuda") and number >= torch.cuda.device_count():
        raise BadInput(
            f"params.yaml: device: expected one of this machine's "
            f"{torch.cuda.device_count()} GPUs or cpu, got {name!r}"
        )
    return torch.device(name)


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return json.loads(json.dumps(value, default=lambda item: item.model_dump()))


def _commit() -> dict[str, Any]:
    """The checked-out commit, and whether the code is as committed."""

    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                ["git", *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    status = git("status", "--porcelain", "--", "replication", "dvc.yaml")
    return {"commit": git("rev-parse", "HEAD"), "clean": status == ""}
