"""What a cluster allows: its partitions, nodes, accounts, QOS, limits and ways with jobs."""

from dataclasses import dataclass, field

#: Accounts above an account; more are a loop.
MAX_PARENTS = 12
#: How a person sees what is read here.
SHOW_ACCOUNTS = "sacctmgr show assoc user=$USER format=account,partition,qos,maxsubmit,maxwall"
SHOW_QOS = "sacctmgr show qos format=name,maxwall,maxsubmitjobsperuser,maxtresperuser"
TEST_ONLY = "sbatch --test-only"


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a partition that are alike."""

    cpus: int
    memory_mb: int
    gpus: dict[str, int]
    """GPUs by type; "" where they have none."""
    features: tuple[str, ...]
    nodes: int
    usable: int
    """Nodes that are neither down nor drained."""


@dataclass(frozen=True)
class Partition:
    """A queue. None: no limit; an empty tuple: everybody."""

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
    """What an account, a user of it or a QOS may have. None: no limit."""

    owner: str
    """Whose limits, e.g. `account lab` or `QOS fast`."""
    max_wall_min: int | None = None
    max_submit: int | None = None
    """Elements of arrays and jobs that may wait or run at once."""
    max_jobs: int | None = None
    """Those that may run at once."""
    per_job: dict[str, int] = field(default_factory=dict)
    max_running: dict[str, int] = field(default_factory=dict)
    """cpu, mem (MB), node, gres/gpu that all running jobs may hold together."""


@dataclass(frozen=True)
class Qos:
    """A quality of service: its limits, and who takes nodes from whom."""

    limits: Limits
    preempts: tuple[str, ...] = ()
    """QOS whose jobs lose their nodes to it, where preemption goes by QOS."""
    preempt_mode: str = ""
    """What happens to its own jobs then; "" or cluster: as everywhere."""
    grace_s: int = 0


@dataclass(frozen=True)
class Association:
    """The user's place in an account, perhaps for one partition only."""

    account: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str
    limits: Limits


@dataclass(frozen=True)
class Site:
    """All that is asked about a cluster."""

    cluster: str
    version: str
    max_array_size: int
    requeues: bool
    """Whether jobs are requeued unless they ask not to be."""
    preempts_by: str
    """SLURM's PreemptType without its prefix; none: nobody loses a node."""
    preempt_mode: str
    sends_user_signal: bool
    """Whether preemption sends the job's own signal in place of SIGTERM."""
    kill_wait_s: int
    tracks_by: str
    enforced: tuple[str, ...]
    """Of associations, limits, qos: what the controller refuses jobs for."""
    accounting: str
    """"" where accounting answers, else why it does not."""
    partitions: dict[str, Partition]
    default_account: str = ""
    associations: tuple[Association, ...] = ()
    accounts: dict[str, tuple[Limits, str]] = field(default_factory=dict)
    """Limits of an account as a whole, and its parent."""
    qos: dict[str, Qos] = field(default_factory=dict)

    def default_partition(self) -> str:
        """Where jobs go that name none; "" where there is no such partition."""
        return next((p.name for p in self.partitions.values() if p.is_default), "")

    def association(self, account: str, partition: str) -> Association | None:
        """The user's association for an account (default: the user's own) and a partition."""
        account = account or self.default_account
        fitting = [a for a in self.associations if a.account == account]
        exact = [a for a in fitting if a.partition == partition]
        return next(iter(exact or [a for a in fitting if not a.partition]), None)

    def qos_of(self, asked: str, association: Association | None) -> str:
        """The QOS that a job gets which asks for this one, or for none."""
        if asked or association is None:
            return asked
        only = association.qos[0] if len(association.qos) == 1 else ""
        normal = "normal" if "normal" in association.qos else ""
        return association.default_qos or normal or only

    def limits(self, account: str, qos: str, partition: str) -> list[Limits]:
        """Every limit that a job of this account, QOS and partition lives under."""
        own = self.association(account, partition)
        found = [own.limits] if own else []
        name = own.account if own else account
        while name in self.accounts and len(found) < MAX_PARENTS:
            limits, name = self.accounts[name]
            found.append(limits)
        through = self.partitions[partition].qos if partition in self.partitions else ""
        used = dict.fromkeys((self.qos_of(qos, own), through))
        return [*found, *(self.qos[name].limits for name in used if name in self.qos)]
