"""The launcher setting that a limit names, and the finding for users without an account."""

from hala_hpc.backends.slurm.cluster import Association, Limits, Partition, Site
from hala_hpc.core.resources import Resources
from hala_hpc.doctor.limits import job_findings
from hala_hpc.doctor.scope import GATES, JobShape, group_jobs

LOW = Partition(
    name="low",
    is_default=True,
    state="UP",
    max_time_min=None,
    max_nodes=None,
    max_cpus_per_node=None,
    max_memory_mb=None,
    grace_s=0,
    preempt_mode="OFF",
    qos="",
    allow_groups=(),
    allow_accounts=(),
    deny_accounts=(),
    allow_qos=(),
    deny_qos=(),
)


def site(*mine: Association, default_account: str = "") -> Site:
    return Site(
        cluster="test",
        version="24.11",
        max_array_size=1001,
        requeues=True,
        preempts_by="none",
        preempt_mode="OFF",
        sends_user_signal=False,
        kill_wait_s=30,
        tracks_by="cgroup",
        enforced=("associations", "limits"),
        accounting="",
        partitions={"low": LOW},
        default_account=default_account,
        associations=mine,
    )


def place(account: str) -> Association:
    limits = Limits(f"user me in account {account}", max_wall_min=20)
    return Association(account, "", (), "", limits)


def errors_of(cluster: Site, *kinds: JobShape) -> list[str]:
    return [one.message for one in job_findings(cluster, kinds) if one.state == "error"]


def test_a_limit_that_the_gates_exceed_names_their_table_of_the_launcher() -> None:
    asked = Resources(timeout_min=30)
    kinds = group_jobs([("report", asked, 1), (GATES, asked, 1)])
    report, gates = errors_of(site(place("lab"), default_account="lab"), *kinds)
    assert report.startswith("report: timeout_min=30,")
    assert "set timeout_min=20" in report
    assert gates.startswith("gates: [gate] timeout_min=30,")
    assert "set [gate] timeout_min=20" in gates


def test_a_user_without_an_account_is_not_asked_to_set_one() -> None:
    (kind,) = group_jobs([("report", Resources(), 1)])
    (without_accounts,) = errors_of(site(), kind)
    assert "none" not in without_accounts
    assert "ask the admins" in without_accounts
    (unnamed,) = errors_of(site(place("lab")), kind)
    assert "no account is set" in unnamed
    assert "set options.account to one of: lab" in unnamed
