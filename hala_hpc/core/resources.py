"""What a job asks of the machine it runs on. Never part of a fingerprint."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt


class Resources(BaseModel):
    """What one worker of a node gets. Changing it never makes a new artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: PositiveInt = 1
    """Jobs that share the units of the node."""
    nodes: PositiveInt = 1
    """Machines of one worker."""
    ranks_per_node: PositiveInt = 1
    """Processes of one worker on each machine; the world size is nodes x ranks_per_node."""
    gpus_per_node: NonNegativeInt = 0
    """GPUs of one worker on each machine."""
    cpus_per_rank: PositiveInt = 4
    """CPU cores of one rank."""
    mem_gb: PositiveInt = 16
    """Memory of one worker on each machine, in GB."""
    mem_limit_gb: PositiveInt | None = None
    """The most that `mem_gb` is raised to when it was too little; none: what the nodes have."""
    timeout_min: PositiveInt = 240
    """Time limit of one job, in minutes; what is not finished then goes on in another."""
    check_gpus: bool = True
    """Look at the GPUs of a node before a model is loaded, and go elsewhere when one is not free,
    has errors or calculates wrongly. Switch it off where jobs share GPUs."""
    local_weights_dir: str = ""
    """Folder on a disk of each node's own, e.g. /local/scratch or $TMPDIR: models that lie in a
    folder are copied there once per node, read back, and removed when nobody there reads them.
    Empty: they are read where they lie. For file systems on which many readers are slow."""
    options: dict[str, str] = Field(default_factory=dict)
    """Words of the backend's own, passed on as they are, e.g. a partition or an account."""

    @property
    def world_size(self) -> int:
        """Ranks of one worker over all its machines."""
        return self.nodes * self.ranks_per_node


#: What the gate of a node asks for: a minute of one core.
GATE_RESOURCES = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=30)
