"""Which of the processes that train one network this is, by whoever started them.

Once `Rank.environment` is in the environment, torchrun, srun and processes that we
started ourselves look alike, to us, to PyTorch and to Lightning Fabric.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_fabric.plugins.environments import SLURMEnvironment

from replication.core.files import BadInput

_OURS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_STEP = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_NODES", "SLURM_JOB_ID")
# A step of SLURM gets a port by its and its job's number; neighbours differ.
_FIRST_PORT, _PORTS, _STEPS = 15000, 10000, 37


@dataclass(frozen=True)
class Rank:
    """One process of several.

    Fields: `rank` of `world` processes, on all machines; `local_rank` of `local_world`
    on this one, the same number on each; `address`:`port` where the first is reached;
    `bound`: whether each has processor cores of its own.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    address: str = "127.0.0.1"
    port: int = 0
    bound: bool = False

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.world // self.local_world

    @property
    def first(self) -> bool:
        """Whether this is the one that locks, writes, records and speaks."""
        return self.rank == 0

    def environment(self) -> dict[str, str]:
        """Variables by which PyTorch, and `find_rank` in it, know the rank."""
        values = (self.rank, self.world, self.local_rank, self.local_world)
        names = dict(zip(_OURS, map(str, values), strict=True))
        return names | {"MASTER_ADDR": self.address, "MASTER_PORT": str(self.port)}


ALONE = Rank(rank=0, world=1, local_rank=0, local_world=1)


def find_rank(environment: Mapping[str, str]) -> Rank | None:
    """The rank that a launcher gave to this process.

    Implements: not in the paper: torchrun's variables; failing those, srun's.

    Args:
        environment: of this process.

    Returns:
        None where no launcher started it. A batch script of SLURM has the variables of
        its job, but not those of a step: what it runs without srun is alone.

    Raises:
        BadInput: srun started more processes on one machine than on another.
    """
    if all(name in environment for name in _OURS):
        return Rank(
            *(int(environment[name]) for name in _OURS),
            address=environment.get("MASTER_ADDR", "127.0.0.1"),
            port=int(environment.get("MASTER_PORT", "0")),
            bound="SLURM_CPUS_PER_TASK" in environment,
        )
    world = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if world == 1 or any(name not in environment for name in _STEP):
        return None
    rank, local_rank, nodes, job = (int(environment[name]) for name in _STEP)
    if world % nodes:
        raise BadInput(
            f"srun: expected as many processes on each of the {nodes} machines, got "
            f"{world} in all; use --ntasks-per-node"
        )
    names = environment.get("SLURM_STEP_NODELIST", "127.0.0.1")
    address = SLURMEnvironment.resolve_root_node_address(names)
    step = job * _STEPS + int(environment.get("SLURM_STEP_ID", "0"))
    return Rank(
        rank,
        world,
        local_rank,
        world // nodes,
        address=environment.get("MASTER_ADDR", address),
        port=int(environment.get("MASTER_PORT", _FIRST_PORT + step % _PORTS)),
        bound="SLURM_CPUS_PER_TASK" in environment,
    )
