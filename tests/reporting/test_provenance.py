"""The runs behind a page: what they are, and whether they belong together."""

import pytest

from replication.reporting.provenance import FOLDED, disagreements, origin
from tests.reporting.made import record

PREPARE, DLSA = "prepare@x", "dlsa@x"


def test_runs_that_are_alike_need_no_warning() -> None:
    assert disagreements([record(PREPARE), record(DLSA)]) == disagreements([]) == {}


OLD, NEW = {"replication/a.py": "1"}, {"replication/a.py": "2"}


@pytest.mark.parametrize(
    ("changes", "short", "whole"),
    [
        # another commit warns only where code that both used changed
        ({"commit": None}, "", ""),
        ({"commit": None, "code": {"replication/b.py": "2"}}, "", ""),
        ({"commit": None, "code": NEW},
         "2 commits made these numbers, and code changed between them",
         "Commits: (1) prepare@x; (2) dlsa@x. Changed between them: "
         "`replication/a.py`."),
        ({"clean": False}, "Uncommitted code ran", "Uncommitted code ran in dlsa@x."),
        ({"edited_while_running": [*OLD]}, "Code changed while it ran",
         "`replication/a.py` changed while dlsa@x ran."),
        ({"inputs": {"outputs/x.csv": "2"}}, "Two versions of a file were read",
         "Two versions of outputs/x.csv were read; run `dvc repro`."),
        ({"device_model": "Other"}, "Different devices were used",
         "Different devices: Chip in prepare@x; Other in dlsa@x."),
        ({"device_kind": None, "device_model": None}, "", ""),
        ({"libraries": {"torch": "2.9", "timm": "1"}},
         "Different versions of timm were used",
         "Different versions of timm: none in prepare@x; 1 in dlsa@x."),
    ],
)  # fmt: skip
def test_what_runs_disagree_in_is_said(changes: dict, short: str, whole: str) -> None:
    first = record(PREPARE, inputs={"outputs/x.csv": "1"})
    said = disagreements([first, record(DLSA, **changes)])
    assert said == ({short: whole} if short else {})


def test_the_folded_block_says_what_made_the_numbers_and_what_that_took() -> None:
    gpu = record(
        DLSA,
        commit=None,
        clean=False,
        device="A GPU",
        devices=2,
        deterministic=True,
        cuda="13.0",
        seconds=100.0,
        peak_gpu_memory_mb=4000,
        started="2025-12-31T00:00:00+00:00",
    )
    runs, note = [record(PREPARE), gpu], "Half is missing."
    lines = origin(runs, "dvc repro dlsa@x", "da7a", [note]).splitlines()
    assert lines[0] == FOLDED and lines[-1] == "</details>"
    assert lines[2:7] == [
        "- Uncommitted code ran in dlsa@x.",
        "- Half is missing.",
        "",
        "Data hash `da7a`. Command: `dvc repro dlsa@x`.",
        "From 2025-12-31T00:00:00+00:00: 110 s and 500 MB at most, all stages "
        "together, on 2 × A GPU and Chip, 2 threads.",
    ]
    assert lines[10:12] == [
        "| prepare@x | 0123456789 | yes | `5e77` | Chip, 2 threads | 10 | 500 | n/a |",
        "| dlsa@x | none | **no** | `5e77` | 2 × A GPU, deterministic | 100 | 500 "
        "| 4000 |",
    ]
    assert "Versions: cuda 13.0, python 3.11.1, torch 2.9." in lines


def test_a_stage_that_went_on_is_said_to_have_taken_longer() -> None:
    """One that was stopped and went on counts its last call alone."""
    whole = origin([record(PREPARE), record(DLSA)], "dvc repro")
    assert whole.splitlines()[2] == "Command: `dvc repro`."  # no data, no hash
    assert "at least" not in whole and "last call" not in whole
    resumed = origin([record(PREPARE), record(DLSA, resumed=True)], "dvc repro")
    assert ": at least 21 s and" in resumed
    assert resumed.count("| 10, last call |") == 1 and resumed.count("| 10 |") == 1
