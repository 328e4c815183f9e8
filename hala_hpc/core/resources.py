"""Resources that a job requests. Never part of a fingerprint."""

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt


class Resources(BaseModel):
    """What one worker of a node gets. A change never makes a new artifact."""

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
    """Maximum for `mem_gb`, which is raised if it was too small; none: what the nodes have."""
    timeout_min: PositiveInt = 240
    """Time limit of one job, in minutes; unfinished work resumes in another job."""
    check_gpus: bool = True
    """Check the GPUs of a node before a model is loaded, and move to another node if one is not
    free, has errors or calculates wrongly. Disable it if jobs share GPUs."""
    local_weights_dir: str = ""
    """Folder on a node-local disk, e.g. /local/scratch or $TMPDIR. Models that are in a folder are
    copied there once per node, read back, and removed when nothing on the node reads them. Empty:
    models are read where they are. For file systems that are slow with many readers."""
    options: dict[str, str] = Field(default_factory=dict)
    """Options of the backend, passed on unchanged, e.g. a partition or an account."""

    @property
    def world_size(self) -> int:
        """Ranks of one worker over all its machines."""
        return self.nodes * self.ranks_per_node


#: What the gate of a node requests: a minute of one core.
GATE_RESOURCES = Resources(cpus_per_rank=1, mem_gb=2, timeout_min=30)
