"""What every page shares: the warning at its top, the block at its end."""

import pytest

from replication.reporting.rendering import ORIGIN, origin, warned

RUN = {
    "stage": "heads@x",
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 10.4,
    "commit": "0123456789abcdef",
    "clean": True,
    "settings_hash": "5e77",
    "seeds": {"seeds": [0, 1], "data.seed": 3},
    "device": "Chip, 2 threads",
    "device_model": "Chip",
    "device_kind": "cpu",
    "devices": 1,
    "libraries": {"torch": "2.9"},
    "python": "3.11.1",
    "peak_memory_mb": 500,
    "peak_gpu_memory_mb": None,
    "energy_joules": {"cpu": 1234.0, "gpu": None},
}
GPU = RUN | {
    "stage": "backbone@x",
    "device": "A GPU",
    "device_kind": "cuda",
    "device_model": "A GPU",
    "devices": 2,
    "deterministic": True,
    "cuda": "13.0",
    "driver": "580.1",
    "seconds": 100.0,
    "peak_gpu_memory_mb": 4000,
    "energy_joules": {"cpu": 766.0, "gpu": 50_000.0},
}
# As this suite wrote records before they had hashes and energy.
OLD = {
    name: RUN[name]
    for name in ("stage", "seconds", "commit", "clean", "device", "peak_memory_mb")
} | {"libraries": {"torch": "2.9"}}


# --- the warning


def test_warning_stands_below_the_lines_about_the_data() -> None:
    page = "> **Stand-in data.**\n> More.\n\n# Title\n\nText.\n"
    assert warned(page, ["One.", "Two."]).split("\n\n") == [
        "> **Stand-in data.**\n> More.",
        "> **Warning.** One. Two.",
        "# Title",
        "Text.\n",
    ]


def test_warning_comes_first_where_no_such_line_does() -> None:
    assert warned("# Title\n\nText.\n", ["One."]) == (
        "> **Warning.** One.\n\n# Title\n\nText.\n"
    )


def test_without_a_warning_a_page_is_as_it_was() -> None:
    assert warned("# Title\n\nText.\n", []) == "# Title\n\nText.\n"


# --- the block


def test_origin_says_all_that_made_the_numbers() -> None:
    text = origin("da7a", "dvc repro heads@x", [RUN, GPU])
    assert text.startswith(ORIGIN) and text.endswith("</details>")
    lines = text.splitlines()
    assert lines[2].startswith("Data hash `da7a`, settings hash `")
    assert lines[2].endswith("`. Command: `dvc repro heads@x`.")
    assert lines[3] == "Commit 0123456789."
    assert lines[4] == (
        "From 2026-01-01T00:00:00+00:00: 110 s, 500 MB at most, 4000 MB of a GPU at "
        "most, 2.0 kJ of the processors, 50.0 kJ of the GPUs, all stages together."
    )
    assert lines[5] == "Seeds: data.seed 3; seeds 0, 1."
    assert lines[9:11] == [
        "| heads@x | 0123456789 | yes | `5e77` | Chip, 2 threads | 10 | 500 | n/a | "
        "1234 (CPU) |",
        "| backbone@x | 0123456789 | yes | `5e77` | 2 × A GPU, deterministic | 100 | "
        "500 | 4000 | 766 (CPU), 50000 (GPU) |",
    ]
    assert "Versions: cuda 13.0, driver 580.1, python 3.11.1, torch 2.9." in lines


def test_origin_claims_nothing_that_is_not_known() -> None:
    lines = origin(None, "dvc repro audit", [OLD]).splitlines()
    assert lines[2].startswith("No data. Settings hash `")
    assert lines[4] == "10 s, 500 MB at most, all stages together."
    assert lines[5] == "Seeds: none."
    assert lines[9] == (
        "| heads@x | 0123456789 | yes | n/a | Chip, 2 threads | 10 | 500 | n/a | n/a |"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"commit": None}, "**Made by 2 commits**: 0123456789, none."),
        (
            {"commit": None, "modules": {"a.py": "1"}},
            "**Made by 2 commits**: 0123456789, none; no module that two stages used "
            "changed between.",
        ),
        (
            {"commit": None, "modules": {"a.py": "2"}},
            "**Made by 2 commits**: 0123456789, none.",
        ),
        (
            {"clean": False},
            "Commit 0123456789. **Uncommitted code** ran in dlsa@x.",
        ),
    ],
)
def test_origin_says_which_commits(changes, line) -> None:
    first = {"modules": {"a.py": "1"}} if "modules" in changes else {}
    runs = [RUN | first, RUN | {"stage": "dlsa@x"} | changes]
    assert origin("da7a", "dvc repro", runs).splitlines()[3] == line
