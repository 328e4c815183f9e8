"""Why SLURM lets a job wait, in plain words, and what helps where waiting does not.

The reasons are those of squeue's manual, "JOB REASON CODES", of SLURM 22.05 to 24.11.
"""

import re

_SOON = "it starts when some of them end"
_NEVER = "it will never start: end it with hala_hpc.cancel and ask for"
_RELEASE = "let it go with `scontrol release {id}`"

#: Reasons that stand for themselves.
EXPLANATIONS = {
    "Priority": "other jobs are before it in the queue",
    "Resources": "it is next, and waits until enough nodes, GPUs or memory are free",
    "Dependency": "other jobs must end before it",
    "None": "SLURM has not looked at it yet",
    "BeginTime": "it may not begin yet: after a requeue SLURM waits about two minutes",
    "Cleaning": "SLURM cleans up after its last attempt",
    "Prolog": "the node is being made ready",
    "SchedDefer": "SLURM looks at it in its next round",
    "JobArrayTaskLimit": "as many workers run as `max_running` allows; the next starts when one ends",
    "Licenses": "a licence that it needs is taken",
    "Reservation": "its reservation has not begun",
    "ReservationDeleted": f"its reservation is gone: {_NEVER} another",
    "ReqNodeNotAvail": "nodes that it needs are down, drained, or reserved (often maintenance: "
    "`scontrol show reservation`); a shorter timeout_min may fit before it",
    "NodeDown": "a node that it needs is down",
    "PartitionDown": "its partition takes jobs but starts none now: ask the administrators",
    "PartitionInactive": "its partition is off: choose another with options.partition",
    "PartitionTimeLimit": f"its time is above the partition's limit: {_NEVER} less timeout_min",
    "PartitionNodeLimit": f"it asks for more nodes than its partition has: {_NEVER} fewer",
    "BadConstraints": f"no node has what it asks for: {_NEVER} something else",
    "MaxMemPerLimit": f"it asks for more memory than is allowed: {_NEVER} less mem_gb",
    "DependencyNeverSatisfied": "what it waits for has failed: the same launch line repairs it",
    "InvalidAccount": f"its account is gone or not yours: {_NEVER} another options.account",
    "InvalidQOS": f"its QOS is gone or not yours: {_NEVER} another options.qos",
    "AccountNotAllowed": f"its account may not use this partition: {_NEVER} another",
    "QOSNotAllowed": f"its QOS may not be used in this partition: {_NEVER} another",
    "QOSUsageThreshold": "you have used so much that this QOS is closed to you for now",
    "JobHeldUser": f"you hold it: {_RELEASE}",
    "JobHeldAdmin": f"SLURM or an administrator holds it: {_RELEASE}, or ask them",
    "JobHoldMaxRequeue": f"it was requeued too often and is held: {_RELEASE}",
    "JobLaunchFailure": f"its node could not start it: {_RELEASE}",
    "BurstBufferResources": "the burst buffer has no room",
    "BurstBufferStageIn": "its files are being copied to the burst buffer",
    "DeadLine": f"it cannot end before its deadline: {_NEVER} less timeout_min",
    "AssociationJobLimit": f"your account runs as many jobs as it may: {_SOON}",
    "AssociationResourceLimit": f"your account uses as much as it may: {_SOON}",
    "AssociationTimeLimit": "your account's time is used up",
    "QOSJobLimit": f"the QOS runs as many jobs as it may: {_SOON}",
    "QOSResourceLimit": f"the QOS uses as much as it may: {_SOON}",
    "QOSTimeLimit": "the time of the QOS is used up",
}
#: Reasons that begin with some words, as SLURM writes them for people.
PREFIXES = {
    "Nodes required for job are DOWN": "the nodes that it needs are down, drained, or kept for "
    "partitions of a higher priority",
    "launch failed requeued held": f"its node could not start it, and SLURM holds it: {_RELEASE}",
    "job requeued in held state": f"it was requeued and is held: {_RELEASE}",
    "user env retrieval failed": f"SLURM could not read your environment and holds it: {_RELEASE}",
}
#: Limits: whose (QOS or association), over what (all together, or one), of which thing.
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
    """A reason of squeue in plain words; SLURM's own where it is not known.

    `job_id` completes commands such as `scontrol release`.
    """
    text = reason.strip("()").replace("_", " ")
    code = re.split(r"[,\s]", text, maxsplit=1)[0]
    limit = LIMIT.fullmatch(code)
    found = EXPLANATIONS.get(code) or (limit and describe_limit(limit))
    found = found or next((v for k, v in PREFIXES.items() if text.startswith(k)), text)
    return found.replace("{id}", job_id or "<job>")


def describe_limit(limit: re.Match[str]) -> str:
    """A limit of a QOS or an association in plain words."""
    whose = "the QOS" if limit["whose"] == "QOS" else "your account"
    thing = next((v for k, v in THINGS.items() if limit["thing"].lower().startswith(k.lower())), "")
    thing = thing or "of something"
    if limit["over"] == "Min":
        return f"it asks for less than {whose} wants of a job ({thing}): {_NEVER} more"
    if limit["minutes"] == "Minutes" and limit["one"] is None:
        return f"the budget of {whose} ({thing} by minutes) is spent"
    if limit["one"] in ("Job", "Node"):
        return f"it asks for more {thing} than {whose} allows: {_NEVER} less"
    all_jobs = f"all jobs of {whose} together" if limit["over"] == "Grp" else "your jobs"
    jobs = "the jobs of your account" if limit["one"] == "Account" else all_jobs
    return f"{jobs} are at the limit of {whose} ({thing}): {_SOON}"
