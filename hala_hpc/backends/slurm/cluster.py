"""Configuration of a cluster: partitions, nodes, accounts, QOS, limits, requeue and preemption."""

from dataclasses import dataclass, field

#: Maximum number of parents of an account; more are a loop.
MAX_PARENTS = 12
#: Commands by which a user sees these values.
SHOW_ACCOUNTS = "sacctmgr show assoc user=$USER format=account,partition,qos,maxsubmit,maxwall"
SHOW_QOS = "sacctmgr show qos format=name,maxwall,maxsubmitjobsperuser,maxtresperuser"
TEST_ONLY = "sbatch --test-only"


@dataclass(frozen=True)
class NodeKind:
    """Identical nodes of a partition."""

    cpus: int
    memory_mb: int
    gpus: dict[str, int]
    """Number of GPUs by type; the type is "" if untyped."""
    features: tuple[str, ...]
    nodes: int
    usable: int
    """Number of nodes that are neither down nor drained."""


@dataclass(frozen=True)
class Partition:
    """A partition. None: no limit; an empty tuple: no restriction."""

    name: str
    is_default: bool
    state: str
    max_time_min: int | None
    max_nodes: int | None
    max_cpus_per_node: int | None
    max_memory_mb: int | None
    grace_s: int
    preempt_mode: str
    qos: str
    allow_groups: tuple[str, ...]
    allow_accounts: tuple[str, ...]
    deny_accounts: tuple[str, ...]
    allow_qos: tuple[str, ...]
    deny_qos: tuple[str, ...]
    kinds: tuple[NodeKind, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Limits of an account, a user of it or a QOS. None: no limit."""

    owner: str
    """Owner of the limits, e.g. `account lab` or `QOS fast`."""
    max_wall_min: int | None = None
    max_submit: int | None = None
    """Jobs and array tasks that may be pending or running at once."""
    max_jobs: int | None = None
    """Jobs and array tasks that may run at once."""
    per_job: dict[str, int] = field(default_factory=dict)
    max_running: dict[str, int] = field(default_factory=dict)
    """cpu, mem (MB), node, gres/gpu of all running jobs together."""


@dataclass(frozen=True)
class Qos:
    """A quality of service: its limits and preemption rules."""

    limits: Limits
    preempts: tuple[str, ...] = ()
    """QOS whose jobs it preempts, if preemption is by QOS."""
    preempt_mode: str = ""
    """How its own jobs are preempted; "" or cluster: as in the whole cluster."""
    grace_s: int = 0


@dataclass(frozen=True)
class Association:
    """The user's association with an account, maybe for one partition only."""

    account: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str
    limits: Limits


@dataclass(frozen=True)
class Site:
    """Configuration of a cluster, as far as it is queried."""

    cluster: str
    version: str
    max_array_size: int
    requeues: bool
    """Whether jobs are requeued by default (JobRequeue)."""
    preempts_by: str
    """SLURM's PreemptType without its prefix; none: no preemption."""
    preempt_mode: str
    sends_user_signal: bool
    """Whether preemption sends the job's own signal instead of SIGTERM."""
    kill_wait_s: int
    tracks_by: str
    enforced: tuple[str, ...]
    """Which of associations, limits, qos the controller enforces."""
    accounting: str
    """"" if accounting answers, else why it does not."""
    partitions: dict[str, Partition]
    default_account: str = ""
    associations: tuple[Association, ...] = ()
    accounts: dict[str, tuple[Limits, str]] = field(default_factory=dict)
    """Limits of each account as a whole, and its parent."""
    qos: dict[str, Qos] = field(default_factory=dict)

    def default_partition(self) -> str:
        """Name of the default partition; "" if there is none."""
        return next((p.name for p in self.partitions.values() if p.is_default), "")

    def association(self, account: str, partition: str) -> Association | None:
        """The user's association for an account (default: DefaultAccount) and a partition."""
        account = account or self.default_account
        fitting = [a for a in self.associations if a.account == account]
        exact = [a for a in fitting if a.partition == partition]
        return next(iter(exact or [a for a in fitting if not a.partition]), None)

    def qos_of(self, asked: str, association: Association | None) -> str:
        """The QOS that a job gets if it requests this one, or none."""
        if asked or association is None:
            return asked
        only = association.qos[0] if len(association.qos) == 1 else ""
        normal = "normal" if "normal" in association.qos else ""
        return association.default_qos or normal or only

    def limits(self, account: str, qos: str, partition: str) -> list[Limits]:
        """All limits that apply to a job of this account, QOS and partition."""
        own = self.association(account, partition)
        found = [own.limits] if own else []
        name = own.account if own else account
        while name in self.accounts and len(found) < MAX_PARENTS:
            limits, name = self.accounts[name]
            found.append(limits)
        through = self.partitions[partition].qos if partition in self.partitions else ""
        used = dict.fromkeys((self.qos_of(qos, own), through))
        return [*found, *(self.qos[name].limits for name in used if name in self.qos)]
