"""Cores that a process may use, and threads that do not take others' time."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from replication.core.cores import WAITING, cores

BOUND = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("told", "limits", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, BOUND),
        ("0::/", {"cpu.max": "9900000 100000"}, BOUND),
        ("0::/a/b", {"a/b/cpu.max": "max 1", "a/cpu.max": "100000 100000"}, 1),
        (
            "3:memory:/m\n2:cpu,cpuacct:/job",
            {
                "cpu/job/cpu.cfs_quota_us": "100000",
                "cpu/job/cpu.cfs_period_us": "1" * 6,
            },
            1,
        ),
        (
            "2:cpu:/",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            BOUND,
        ),
        ("2:cpuset:/", {}, BOUND),
    ],
)
def test_quota_of_a_group_or_of_one_above_it_limits_the_cores(
    tmp_path: Path, told: str, limits: dict[str, str], expected: int
) -> None:
    (tmp_path / "self").write_text(f"{told}\n")
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert cores(tmp_path / "self", tmp_path) == expected


@pytest.mark.parametrize(
    ("said", "policy", "looks"),
    [
        ({}, "PASSIVE", "3000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE", "30000000000"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "PASSIVE", "0"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE", "7"),
    ],
)
def test_threads_soon_sleep_while_they_wait_unless_the_user_says_otherwise(
    said: dict[str, str], policy: str, looks: str
) -> None:
    """Set before PyTorch loads, whose OpenMP says what it goes by."""
    environment = {k: v for k, v in os.environ.items() if k not in WAITING}
    script = "import replication.core.cores, sys; assert 'torch' not in sys.modules\n"
    script += "import torch; torch.ones(9).sum()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"} | said,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
    assert f"GOMP_SPINCOUNT = '{looks}'" in done.stderr


@pytest.mark.parametrize("stage", ["prepare", "section", "what_if", "report"])
def test_what_computes_on_no_device_does_not_wait_for_pytorch(stage: str) -> None:
    loads = f"import replication.stages.{stage}, sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loads], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_memory_that_is_freed_is_used_again_and_not_given_back() -> None:
    script = """
        import resource, numpy, replication
        def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for round in range(3):
            before = faults()
            [numpy.ones(2**20, numpy.float32) for _ in range(4)]
        print(faults() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 100  # of 4,096 pages
