"""One disturbance of one stage, and what became of it.

The law: a disturbed stage has either finished with the bytes of an undisturbed run, or
it stopped with one line and a code that is not 0, and finishes with those bytes once
the disturbance is gone. Nothing half is ever taken for whole.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.faults.project import (
    LONG,
    STAGES,
    Ended,
    Project,
    ended,
    rewritten,
    run,
    started,
)
from tests.made import write_params

# A setting of each stage that changes what it makes.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "backbone paco": {"paco": {"lr": 0.02}},
    "features": {"view": {"mean": [0.1, 0.2, 0.3]}},
    "heads": {"head": {"lr": 0.3}},
    "backbone ce": {"ce": {"lr": 0.02}},
    "decoupling": {"decoupling": {"lr": 0.3}},
    "dlsa": {"lambda_pure": 0.5},
    "sigma": {"lambda_pure": 0.5},
    "estimator": {"filter": {"lr": 0.01}},
    "separation": {"fig2": {"lr": 0.01}},
}
LATE = "after it had ended"
RESUMING = ("backbone paco", "backbone ce", "dlsa", "sigma", "estimator", "separation")


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Fields: `how` "equal" or "refused"; `problem` what broke the law; `line` what a user
    read.
    """

    fault: str
    stage: str
    detail: str
    how: str
    problem: str | None = None
    line: str = ""


class Trials:
    """Trials on copies of one undisturbed project."""

    def __init__(self, project: Project, scratch: Path) -> None:
        self.project = project
        self._scratch = scratch
        self._number = 0

    def _copy(self, name: str) -> Path:
        self._number += 1
        return self.project.without(name, self._scratch / f"trial-{self._number}")

    def _judged(
        self, fault: str, name: str, detail: str, folder: Path, done: Ended, named=""
    ) -> Outcome:
        """Hold how a disturbed run ended against the law."""
        line = done.lines[-1] if done.lines else ""
        if done.code == 0:
            wrong = self.project.differences(name, folder)
            problem = f"finished with other bytes in {wrong}" if wrong else None
            return Outcome(fault, name, detail, "equal", problem, line)
        problem = None
        if not done.is_clear():
            problem = f"code {done.code}, {len(done.lines)} lines"
        elif named not in line:
            problem = f"does not name {named}"
        half = [
            path
            for path in self.project.differences(name, folder)
            if (folder / path).is_file()
        ]
        if half:
            problem = f"left {half} that are not whole"
        return Outcome(fault, name, detail, "refused", problem, line)

    def _again(self, outcome: Outcome, name: str, folder: Path) -> Outcome:
        """Run without the disturbance; a problem of the disturbed run comes first."""
        done = run(folder, STAGES[name])
        wrong = self.project.differences(name, folder)
        problem = outcome.problem
        if problem is None and (done.code != 0 or wrong):
            problem = f"then code {done.code}, {done.lines[-1:]}, other bytes: {wrong}"
        if not outcome.problem:
            shutil.rmtree(folder)
        return replace(outcome, problem=problem)

    def signalled(self, name: str, share: float, number: signal.Signals) -> Outcome:
        """A signal after a share of the time that the stage takes."""
        folder = self._copy(name)
        log, since = folder.parent / f"{folder.name}.log", time.monotonic()
        process = started(folder, STAGES[name], log)
        while not (folder / ".resume").is_dir() and process.is_alive():
            time.sleep(0.001)  # before the stage begins there is nothing to disturb
        time.sleep(share * self.project.seconds[name])
        hit = process.is_alive()
        if hit:
            assert process.pid is not None
            os.kill(process.pid, number)
        done = ended(process, log, since)
        detail = f"at {share:.0%}" if hit else f"at {share:.0%}, {LATE}"
        if done.code == -signal.SIGKILL and number == signal.SIGKILL:
            outcome = Outcome(number.name, name, detail, "equal")
        else:
            outcome = self._judged(number.name, name, detail, folder, done)
        return self._again(outcome, name, folder)

    def full_disk(self, name: str, largest: int) -> Outcome:
        """No file above a size can be written: a full disk without being root."""
        folder = self._copy(name)
        done = run(folder, STAGES[name], largest)
        outcome = self._judged(
            "full disk", name, f"{largest} bytes a file", folder, done
        )
        return self._again(outcome, name, folder)

    def file_for_folder(self, name: str, place: str) -> Outcome:
        """A file where the stage needs a folder: its own output, or .resume."""
        folder = self._copy(name)
        made = folder / self.project.made[name][0]
        target = made.parent if place == "output" else folder / ".resume"
        aside = self._scratch / f"aside-{self._number}"
        if target.is_dir():
            target.rename(aside)
        target.write_text("in the way")
        done = run(folder, STAGES[name])
        outcome = self._judged("unwritable", name, place, folder, done, target.name)
        if done.code == 0:
            outcome = replace(outcome, problem="wrote to it")
        target.unlink()
        if aside.is_dir():
            aside.rename(target)
        return self._again(outcome, name, folder)

    def damaged_input(self, name: str, path: str, at: float) -> Outcome:
        """An input whose end is missing."""
        folder = self._copy(name)
        rewritten(folder / path, lambda whole: whole[: int(at * len(whole))])
        done = run(folder, STAGES[name])
        detail = f"cut at {at:.0%}: {path}"
        outcome = self._judged("damaged input", name, detail, folder, done, path)
        (folder / path).unlink()
        os.link(self.project.folder / path, folder / path)
        if outcome.how == "equal":
            shutil.rmtree(folder)
            return outcome
        return self._again(outcome, name, folder)

    def damaged_state(self, name: str, at: float) -> Outcome:
        """Killed once there is a state; the state is damaged; then run again."""
        folder = self._copy(name)
        log, since = folder.parent / f"{folder.name}.log", time.monotonic()
        process = started(folder, STAGES[name], log)
        while not (states := _states(folder)) and process.is_alive():
            time.sleep(0.002)
        process.kill()
        ended(process, log, since)
        states = _states(folder)
        for state in states:
            rewritten(state, lambda whole: whole[: int(at * len(whole))])
        done = run(folder, STAGES[name])
        detail = f"cut at {at:.0%}: {', '.join(path.name for path in states)}"
        named = states[0].parent.name if states else ""
        outcome = self._judged("damaged state", name, detail, folder, done, named)
        if not states:
            return Outcome("damaged state", name, detail, "equal", "no state was there")
        for state in states:
            state.unlink(missing_ok=True)
        return self._again(outcome, name, folder)

    def changed_setting(self, name: str, share: float) -> Outcome:
        """Killed; a setting is changed; run again: as if it had always been that."""
        folder, fresh = self._copy(name), self._copy(name)
        log, since = folder.parent / f"{folder.name}.log", time.monotonic()
        process = started(folder, STAGES[name], log)
        time.sleep(share * self.project.seconds[name])
        process.kill()
        ended(process, log, since)
        for one in (folder, fresh):
            write_params(one, CHANGES[name])
        codes = [run(one, STAGES[name]).code for one in (folder, fresh)]
        other = Project(fresh, self.project.made, {})
        wrong = other.differences(name, folder)
        problem = (
            f"codes {codes}, other bytes: {wrong}" if any(codes) or wrong else None
        )
        if not self.project.differences(name, fresh):
            problem = f"{CHANGES[name]} changes nothing: no trial"
        for one in (folder, fresh):
            shutil.rmtree(one)
        return Outcome("changed setting", name, f"at {share:.0%}", "equal", problem)

    def twice(self, name: str) -> Outcome:
        """Two runs at once: one does the work, the other is told."""
        folder = self._copy(name)
        logs = [folder.parent / f"{folder.name}-{run}.log" for run in (1, 2)]
        since = time.monotonic()
        both = [started(folder, STAGES[name], log) for log in logs]
        done = [ended(one, log, since) for one, log in zip(both, logs, strict=True)]
        codes = sorted(one.code for one in done)
        told = [one for one in done if one.code]
        problem = None
        if codes not in ([0, 0], [0, 2]):
            problem = f"codes {codes}: {[one.lines[-1:] for one in done]}"
        elif told and not (told[0].is_clear() and "no other run" in told[0].lines[0]):
            problem = f"the second was told {told[0].lines}"
        wrong = self.project.differences(name, folder)
        if problem is None and wrong:
            problem = f"other bytes: {wrong}"
        line = told[0].lines[-1] if told and told[0].lines else ""
        if problem is None:
            shutil.rmtree(folder)
        how = "refused" if told else "equal"  # the second one waited, then did it again
        return Outcome("twice at once", name, "", how, problem, line)


def _states(folder: Path) -> list[Path]:
    found = (folder / ".resume").rglob("*")
    wanted = (".pt", ".json", ".safetensors")
    return sorted(
        path
        for path in found
        if path.suffix in wanted and path.is_file() and not path.name.startswith(".")
    )


Trial = tuple[str, str, Callable[[Trials], Outcome]]


def plan(project: Project, kills: int, seed: int) -> list[Trial]:
    """Every disturbance of every long stage, at moments and places drawn by a seed.

    Args:
        kills: SIGKILLs, the stages in turn.

    Returns:
        Name of the disturbance, stage, and the trial.
    """
    draw = random.Random(seed)
    planned: list[Trial] = []

    def add(fault: str, name: str, method: str, *arguments: Any) -> None:
        def trial(trials: Trials) -> Outcome:
            return getattr(trials, method)(name, *arguments)

        planned.append((fault, name, trial))

    for number in range(kills):
        name = LONG[number % len(LONG)]
        add("SIGKILL", name, "signalled", draw.random(), signal.SIGKILL)
    for name in LONG:
        add("SIGINT", name, "signalled", draw.random(), signal.SIGINT)
        for largest in (1000, 2000, 4000):
            add("full disk", name, "full_disk", largest)
        for place in ("output", "resume"):
            add("unwritable", name, "file_for_folder", place)
        for path in project.inputs(name):
            add("damaged input", name, "damaged_input", path, draw.random())
        if name in RESUMING:
            add("damaged state", name, "damaged_state", draw.random())
        add("changed setting", name, "changed_setting", draw.random())
        add("twice at once", name, "twice")
    return planned
