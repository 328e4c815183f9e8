"""Convert SLURM's variables of a task into those of torch.distributed and of the worker."""

import os
import socket
import time

from hala_hpc.backends.slurm.client import run_slurm
from hala_hpc.core.errors import TransientError
from hala_hpc.core.ports import RANK_PORTS

#: Variable with the time limit of a job, in seconds since the epoch; set since SLURM 23.02.
JOB_END = "SLURM_JOB_END_TIME"


def task_environment() -> dict[str, str]:
    """RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT, and job, restarts and node.

    Empty if the process is not a task of a SLURM job.
    """
    variables = os.environ
    if "SLURM_JOB_ID" not in variables or "SLURM_PROCID" not in variables:
        return {}
    job_id = variables["SLURM_JOB_ID"]
    restarts = variables.get("SLURM_RESTART_COUNT", "0")
    name = job_id
    if "SLURM_ARRAY_JOB_ID" in variables:
        name = f"{variables['SLURM_ARRAY_JOB_ID']}_{variables['SLURM_ARRAY_TASK_ID']}"
    return {
        "RANK": variables["SLURM_PROCID"],
        "WORLD_SIZE": variables.get("SLURM_STEP_NUM_TASKS") or variables.get("SLURM_NTASKS", "1"),
        "LOCAL_RANK": variables.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": master_address(),
        "MASTER_PORT": str(master_port(int(job_id), int(restarts))),
        "HALA_JOB_ID": name,
        "HALA_RESTARTS": restarts,
        "HALA_NODE": variables.get("SLURMD_NODENAME", socket.gethostname()),
    }


def query_job_end() -> float | None:
    """Time limit of this job in seconds since the epoch; None if unknown.

    From the environment since SLURM 23.02, else from squeue.
    """
    if end_time := os.environ.get(JOB_END):
        return float(end_time)
    if "SLURM_JOB_ID" not in os.environ:
        return None
    try:
        done = run_slurm(
            "squeue", "--noheader", f"--jobs={os.environ['SLURM_JOB_ID']}", "--format=%e"
        )
        return time.mktime(time.strptime(done.stdout.strip(), "%Y-%m-%dT%H:%M:%S"))
    except (TransientError, ValueError):
        return None  # no answer, or a job without a limit


def master_port(job_id: int, restarts: int) -> int:
    """A port for this job and restart: jobs that share a node differ, and so do their restarts."""
    return RANK_PORTS[(job_id * 7 + restarts) % len(RANK_PORTS)]


def master_address() -> str:
    """Address of rank 0: the name of its node, or the node of `srun` if it cannot be resolved."""
    if os.environ.get("SLURM_JOB_NUM_NODES", "1") == "1":
        return "127.0.0.1"
    from submitit.slurm.slurm import SlurmJobEnvironment

    first: str = SlurmJobEnvironment().hostnames[0]
    try:
        socket.getaddrinfo(first, None)
    except OSError:
        return os.environ.get("SLURM_LAUNCH_NODE_IPADDR", first)
    return first
