"""Which process this is, in the words of each launcher; what follows for the rate."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from replication.core.ranks import ALONE, Rank, find_rank
from replication.core.settings import load

ROOT = Path(__file__).resolve().parents[2]

# The sixth of 16 processes on 2 machines, as torchrun has it.
TORCHRUN = {
    "RANK": "9",
    "WORLD_SIZE": "16",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "8",
    "MASTER_ADDR": "node7",
    "MASTER_PORT": "29500",
}
# As srun has it, below a job that has variables of its own.
JOB = {
    "SLURM_JOB_ID": "123456",
    "SLURM_NTASKS": "16",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "node[05-09]",
}
STEP = {
    **JOB,
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
}


def test_rank_of_torchrun() -> None:
    rank = find_rank(TORCHRUN)
    assert rank == Rank(9, 16, 1, 8, "node7", 29500)
    assert (rank.nodes, rank.first) == (2, False)


def test_rank_of_srun() -> None:
    """The first machine of the step; a port by the numbers of job and step."""
    rank = find_rank(STEP)
    port = 15000 + (123456 * 37 + 3) % 10000
    assert rank == Rank(9, 16, 1, 8, "node07", port)
    assert find_rank({**STEP, "SLURM_CPUS_PER_TASK": "4"}).bound
    chosen = find_rank({**STEP, "MASTER_ADDR": "here", "MASTER_PORT": "7"})
    assert (chosen.address, chosen.port) == ("here", 7)


def test_torchrun_below_srun_wins() -> None:
    assert find_rank({**STEP, **TORCHRUN}) == Rank(9, 16, 1, 8, "node7", 29500)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        JOB,
        {**STEP, "SLURM_STEP_NUM_TASKS": "1"},
        {"RANK": "0", "WORLD_SIZE": "4"},
    ],
    ids=["a terminal", "a batch script", "one task", "variables of something else"],
)
def test_who_has_no_launcher_has_no_rank(environment: Mapping[str, str]) -> None:
    assert find_rank(environment) is None


@pytest.mark.parametrize("environment", [TORCHRUN, STEP], ids=["torchrun", "srun"])
def test_rank_is_found_again_in_its_own_environment(environment) -> None:
    rank = find_rank(environment)
    assert find_rank({**environment, **rank.environment()}) == rank


def test_machines_with_different_numbers_of_processes_are_refused(refused) -> None:
    assert refused(lambda: find_rank({**STEP, "SLURM_STEP_NUM_TASKS": "15"})) == [
        "srun: expected as many processes on each of the 2 machines, got 15 in all; "
        "use --ntasks-per-node"
    ]


def test_alone_is_the_first() -> None:
    assert ALONE.first and ALONE.nodes == 1


# --- the rate


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """params.yaml on images of one's own, with some lines changed."""
    text = (ROOT / "params.yaml").read_text()
    own = "  inat18: {images: null,", f"  inat18: {{images: {tmp_path},"
    for old, new in (own, *changes):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


LARGER = ("  batch_size:                 # images a step over", "  batch_size: 256  #")


def test_rate_of_paco_goes_with_the_global_batch(tmp_path) -> None:
    """PaCo, lr 0.02 at 4 x 32 images: linear; a rate of one's own stays."""
    assert load(changed(tmp_path)).paco("inat18").lr == 0.02
    larger = load(changed(tmp_path, LARGER))
    assert larger.paco("inat18").lr == 0.04
    choice = larger.choices("inat18", "paco", ("lr", "batch_size"))["lr"]
    assert (choice.published, choice.origin) == (0.02, "overridden")
    assert choice.source.endswith("; in proportion to the batch")
    own = ("  lr:                         # highest", "  lr: 0.3  # highest")
    assert load(changed(tmp_path, LARGER, own)).paco("inat18").lr == 0.3


def test_rate_does_not_depend_on_the_number_of_devices(tmp_path) -> None:
    """The batch is that of all devices: eight of them take 16 images each, not 32."""
    more = load(changed(tmp_path, ("devices: 1 ", "devices: 8 "))).paco("inat18")
    assert (more.lr, more.batch_size) == (0.02, 128)


def test_rates_without_a_published_rule_stay(tmp_path) -> None:
    """Cross-entropy's; and the stand-in's, whose batch is not the published one."""
    assert load(changed(tmp_path, LARGER)).backbone("inat18").lr == 0.2
    stand_in = load(ROOT / "params.yaml").get("stand_in.lr")
    assert load(changed(tmp_path, LARGER)).paco("places_lt").lr == stand_in
