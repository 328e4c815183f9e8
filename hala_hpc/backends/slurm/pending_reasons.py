"""Explain SLURM's reason codes of pending jobs, with a fix if waiting does not help.

The codes are those of squeue's manual, "JOB REASON CODES", of SLURM 22.05 to 24.11.
"""

import re

_SOON = "it starts when some of them end"
_NEVER = "it will never start; cancel it with hala_hpc.cancel and request"
_RELEASE = "release it with `scontrol release {id}`"

#: Explanations of single reason codes.
EXPLANATIONS = {
    "Priority": "jobs with a higher priority are before it in the queue",
    "Resources": "it is next, and waits until enough nodes, GPUs or memory are free",
    "Dependency": "other jobs must end before it",
    "None": "SLURM has not considered it yet",
    "BeginTime": "its begin time is not reached: after a requeue SLURM waits about two minutes",
    "Cleaning": "SLURM is cleaning up after its last run",
    "Prolog": "the prolog is running on the node",
    "SchedDefer": "SLURM considers it in its next scheduling cycle",
    "JobArrayTaskLimit": "`max_running` workers are running; the next starts when one ends",
    "Licenses": "a licence that it needs is in use",
    "Reservation": "its reservation has not started",
    "ReservationDeleted": f"its reservation is deleted: {_NEVER} another",
    "ReqNodeNotAvail": "nodes that it needs are down, drained, or reserved (often maintenance: "
    "`scontrol show reservation`); a shorter timeout_min may fit before it",
    "NodeDown": "a node that it needs is down",
    "PartitionDown": "its partition accepts jobs but starts none now; ask the administrators",
    "PartitionInactive": "its partition is inactive; choose another with options.partition",
    "PartitionTimeLimit": f"its time limit exceeds the partition's: {_NEVER} less timeout_min",
    "PartitionNodeLimit": f"it requests more nodes than its partition has: {_NEVER} fewer",
    "BadConstraints": f"no node has the requested resources: {_NEVER} others",
    "MaxMemPerLimit": f"it requests more memory than is allowed: {_NEVER} less mem_gb",
    "DependencyNeverSatisfied": "its dependency has failed; run the same launch command again",
    "InvalidAccount": f"its account is deleted or not yours: {_NEVER} another options.account",
    "InvalidQOS": f"its QOS is deleted or not yours: {_NEVER} another options.qos",
    "AccountNotAllowed": f"its account may not use this partition: {_NEVER} another",
    "QOSNotAllowed": f"its QOS may not be used in this partition: {_NEVER} another",
    "QOSUsageThreshold": "your usage has reached the threshold of this QOS",
    "JobHeldUser": f"you hold it; {_RELEASE}",
    "JobHeldAdmin": f"SLURM or an administrator holds it; {_RELEASE}, or ask them",
    "JobHoldMaxRequeue": f"it was requeued too often and is held; {_RELEASE}",
    "JobLaunchFailure": f"its node could not start it; {_RELEASE}",
    "BurstBufferResources": "the burst buffer has no room",
    "BurstBufferStageIn": "its files are being copied to the burst buffer",
    "DeadLine": f"it cannot end before its deadline: {_NEVER} less timeout_min",
    "AssociationJobLimit": f"your account is at its limit of running jobs: {_SOON}",
    "AssociationResourceLimit": f"your account is at its resource limit: {_SOON}",
    "AssociationTimeLimit": "your account's time is used up",
    "QOSJobLimit": f"the QOS is at its limit of running jobs: {_SOON}",
    "QOSResourceLimit": f"the QOS is at its resource limit: {_SOON}",
    "QOSTimeLimit": "the time of the QOS is used up",
}
#: Explanations of reasons that SLURM writes as text, by their beginning.
PREFIXES = {
    "Nodes required for job are DOWN": "the nodes that it needs are down, drained, or kept for "
    "partitions of a higher priority",
    "launch failed requeued held": f"its node could not start it, and SLURM holds it; {_RELEASE}",
    "job requeued in held state": f"it was requeued and is held: {_RELEASE}",
    "user env retrieval failed": f"SLURM could not read your environment and holds it: {_RELEASE}",
}
#: Codes of limits: owner (QOS or association), scope (all jobs together, or one), and resource.
LIMIT = re.compile(
    r"(?P<whose>QOS|Assoc)(?P<over>Grp|Max|Min)(?P<thing>Cpu|CPU|GRES|Memory|Mem|Nodes?|SubmitJobs?"
    r"|Jobs?|WallDuration|Wall|Billing|BB|Licenses?|Energy|Unknown)"
    r"(?P<minutes>RunMinutes|Minutes)?(?:Per(?P<one>User|Account|Job|Node))?(?:Limit)?"
)
THINGS = {
    "Cpu": "cores",
    "GRES": "GPUs",
    "Mem": "memory",
    "Node": "nodes",
    "Submit": "jobs in the queue",
    "Job": "jobs",
    "Wall": "time",
    "Billing": "billing units",
    "Licen": "licences",
    "BB": "burst buffer",
    "Energy": "energy",
}


def explain_pending_reason(reason: str, job_id: str = "") -> str:
    """Explain a reason of squeue; an unknown reason is returned as SLURM writes it.

    `job_id` completes commands such as `scontrol release`.
    """
    text = reason.strip("()").replace("_", " ")
    code = re.split(r"[,\s]", text, maxsplit=1)[0]
    limit = LIMIT.fullmatch(code)
    found = EXPLANATIONS.get(code) or (limit and describe_limit(limit))
    found = found or next((v for k, v in PREFIXES.items() if text.startswith(k)), text)
    return found.replace("{id}", job_id or "<job>")


def describe_limit(limit: re.Match[str]) -> str:
    """Explain a limit of a QOS or an association."""
    whose = "the QOS" if limit["whose"] == "QOS" else "your account"
    thing = next((v for k, v in THINGS.items() if limit["thing"].lower().startswith(k.lower())), "")
    thing = thing or "of something"
    if limit["over"] == "Min":
        return f"it requests less than the minimum of {whose} ({thing}): {_NEVER} more"
    if limit["minutes"] == "Minutes" and limit["one"] is None:
        return f"the budget of {whose} ({thing} by minutes) is spent"
    if limit["one"] in ("Job", "Node"):
        return f"it requests more {thing} than {whose} allows: {_NEVER} less"
    all_jobs = f"all jobs of {whose} together" if limit["over"] == "Grp" else "your jobs"
    jobs = "the jobs of your account" if limit["one"] == "Account" else all_jobs
    return f"{jobs} are at the limit of {whose} ({thing}): {_SOON}"
