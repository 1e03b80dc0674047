"""Every disturbance of every long stage; the outcome goes to bench/faults.md.

`python -m tests.faults --kills 27`, or `make faults`: a few minutes, on a CPU.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from replication.core.device import model_name
from replication.core.files import write_text
from replication.reporting.tables import markdown_table
from tests.faults.project import LONG, SIDE_BY_SIDE, undisturbed
from tests.faults.trials import LATE, Outcome, Trials, plan
from tests.graph import ROOT

REPORT = ROOT / "bench" / "faults.md"
WHAT = {
    "SIGKILL": "at a random moment; then run again",
    "SIGINT": "at a random moment; then run again",
    "full disk": "no file above 1 to 4 KB; then room, and run again",
    "unwritable": "a file where the stage needs a folder; then run again",
    "damaged input": "arrays that the stage reads, their end cut off",
    "damaged state": "killed; the end of its state cut off; then run again",
    "changed setting": "killed; a setting changed; then run again",
    "twice at once": "two runs of one stage in one checkout",
}


def main() -> int:
    """Run every trial and write the table; 1 where one broke the law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=27, help="SIGKILLs in all")
    arguments = parser.parse_args()
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        project = undisturbed(folder / "project")
        trials = Trials(project, folder)
        outcomes = []
        for fault, name, trial in plan(project, arguments.kills, seed=0):
            outcome = trial(trials)
            outcomes.append(outcome)
            verdict = outcome.problem or outcome.how
            print(f"{fault}: {name} {outcome.detail}: {verdict}", flush=True)
    minutes = (time.monotonic() - since) / 60
    write_text(REPORT, page(outcomes, minutes))
    return int(any(outcome.problem for outcome in outcomes))


def page(outcomes: Sequence[Outcome], minutes: float) -> str:
    """The table of survivals, one line of each kind of refusal, and every failure."""
    rows = []
    for fault, what in WHAT.items():
        mine = [one for one in outcomes if one.fault == fault]
        ends = Counter(one.how for one in mine if one.problem is None)
        survived = f"{ends.total()} / {len(mine)}"
        rows.append([fault, what, survived, str(ends["equal"]), str(ends["refused"])])
    header = ["Disturbance", "How", "Survived / tried", "Ended equal", "Refused"]
    late = sum(LATE in one.detail for one in outcomes)
    stamp = datetime.now(UTC).strftime("%Y-%m-%d")
    said = {one.fault: one.line for one in outcomes if one.how == "refused"}
    shown = [[fault, f"`{line}`"] for fault, line in said.items()]
    failures = [
        f"- {one.fault}, {one.stage}, {one.detail}: {one.problem}: `{one.line}`"
        for one in outcomes
        if one.problem
    ]
    return (
        "# Disturbed runs\n\n"
        f"**{len(outcomes) - len(failures)} of {len(outcomes)} disturbed runs "
        "survived**: the stage ended with the bytes of an undisturbed run, or it "
        "stopped with one line and a code that is not 0, left nothing half, and "
        "ended with those bytes once the disturbance was gone.\n\n"
        f"{model_name(torch.device('cpu'))}, 1 thread (2 for "
        f"{', '.join(SIDE_BY_SIDE)}), Python {platform.python_version()}, PyTorch "
        f"{torch.__version__}; {stamp}; {minutes:.1f} minutes; "
        "`make faults`.\n\n"
        f"{markdown_table(header, rows, words=2)}\n\n"
        f"Stages: {', '.join(LONG)}. Signals that came too late: {late}.\n\n"
        "## What a user reads\n\n"
        f"{markdown_table(['Disturbance', 'Line'], shown, words=2)}\n\n"
        "## What broke\n\n" + ("\n".join(failures) or "Nothing.") + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
