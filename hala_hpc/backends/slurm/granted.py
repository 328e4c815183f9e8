"""The SLURM job that this process runs in: its id, its name, and the granted resources."""

import os
import re

from hala_hpc.backends.slurm.client import run_slurm
from hala_hpc.backends.slurm.task_environment import query_job_end
from hala_hpc.core.errors import USAGE, TransientError, UserError
from hala_hpc.core.resources import Resources

#: MB in a GB, as SLURM counts.
MB = 1024
#: A count for each node, as SLURM writes it: `8(x2)` or `4,8`. The first is used.
PER_NODE = re.compile(r"\d+")


def own_job_id() -> str:
    """Id of the job, or of its array for an array task; "" outside of a job."""
    return os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID", "")


def is_array_element() -> bool:
    """Whether the job is an array task."""
    return "SLURM_ARRAY_TASK_ID" in os.environ


def elements_of_array() -> int:
    """Number of tasks of this job's array; 1 without an array.

    Raises: UserError (USAGE) if their indices are not consecutive from 0.
    """
    if not is_array_element():
        return 1
    variables = os.environ
    count = int(variables.get("SLURM_ARRAY_TASK_COUNT", "1"))
    first, last = (
        variables.get("SLURM_ARRAY_TASK_MIN", "0"),
        variables.get("SLURM_ARRAY_TASK_MAX", "0"),
    )
    if int(first) != 0 or int(last) != count - 1:
        raise UserError(
            f"--array={first}-{last} with {count} tasks: number the workers of a node from 0 "
            f"without gaps, as --array=0-{count - 1}",
            USAGE,
        )
    return count


def granted_resources(asked: Resources) -> Resources:
    """The resources that SLURM granted this job, instead of the requested ones; options stay."""
    nodes = read_count("SLURM_JOB_NUM_NODES", asked.nodes)
    tasks = read_count("SLURM_NTASKS", nodes)
    ranks = read_count("SLURM_NTASKS_PER_NODE", max(1, tasks // nodes))
    cores = read_count("SLURM_CPUS_PER_TASK", max(1, read_count("SLURM_CPUS_ON_NODE", 1) // ranks))
    memory = read_count("SLURM_MEM_PER_NODE", 0)
    if not memory:
        memory = read_count("SLURM_MEM_PER_CPU", 0) * cores * ranks
    granted = {
        "workers": elements_of_array(),
        "nodes": nodes,
        "ranks_per_node": ranks,
        "cpus_per_rank": cores,
        "gpus_per_node": read_count("SLURM_GPUS_ON_NODE", 0),
        "mem_gb": max(1, memory // MB) if memory else asked.mem_gb,
        "timeout_min": minutes_granted() or asked.timeout_min,
    }
    return asked.model_copy(update=granted)


def minutes_granted() -> int:
    """Time limit of this job in minutes; 0 if unknown."""
    began, end = os.environ.get("SLURM_JOB_START_TIME"), query_job_end()
    if began is None or end is None:
        return 0
    return max(1, round((end - float(began)) / 60))


def read_count(variable: str, default: int) -> int:
    """The count in a SLURM variable, of the first node if they differ."""
    found = PER_NODE.search(os.environ.get(variable, ""))
    return int(found[0]) if found else default


def rename_own_job(name: str) -> bool:
    """Rename this job or its array; return whether SLURM did."""
    try:
        return not run_slurm(
            "scontrol", "update", f"JobId={own_job_id()}", f"JobName={name}"
        ).returncode
    except TransientError:
        return False
