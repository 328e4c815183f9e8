"""Run a short program on a compute node with srun, and return its output."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hala_hpc.backends.slurm.client import clean_environment
from hala_hpc.backends.slurm.sbatch import EXPORTED, SAFE_VALUE, gpu_flag
from hala_hpc.core.errors import AllocationTimeout, SchedulerUnavailable, TransientError
from hala_hpc.core.resources import Resources

#: Launcher options that decide on which nodes a job runs; a probe needs few other resources.
WHERE = ("partition", "account", "qos", "constraint", "exclude", "nodelist", "reservation")
#: Minutes, GB of memory and CPUs of a probe: importing vLLM from a cold file system needs them.
PROBE_MIN, PROBE_MEM_GB, PROBE_CPUS = 10, 8, 2
#: Additional GB for each GPU: a process starts CUDA and NCCL on it.
PROBE_GPU_MEM_GB = 4
#: Message of srun if it got no node.
NO_NODE = "Unable to allocate resources"
#: Runs the `setup` lines of the launcher, then executes the program.
SHELL = 'set -eo pipefail\n{setup}\nexec "$@"'


def placement_options(asked: Resources) -> tuple[str, ...]:
    """Options that decide on which nodes a job runs; one probe covers jobs with equal ones."""
    return (
        *(asked.options.get(option, "") for option in (*WHERE, "gpu_type")),
        str(asked.gpus_per_node > 0),
    )


@dataclass(frozen=True)
class NodeRequest:
    """The node that a probe asks for."""

    asked: Resources
    """Those of a job."""
    srun_flags: tuple[str, ...] = ()
    """Of the launcher, and of its image."""
    wait_s: int = 300
    """How long to wait for the node, in seconds."""


def run_on_node(
    request: NodeRequest,
    argv: Sequence[str],
    setup: Sequence[str],
    environment: Mapping[str, str],
) -> str:
    """Run a program on a node that a job may get, and return its output.

    The program gets the GPUs of `asked`, on one node, and
    few other resources.

    Raises: AllocationTimeout with SLURM's message if there is no node in time; TransientError if
    the program fails.
    """
    asked, wait_s = request.asked, request.wait_s
    mem_gb = PROBE_MEM_GB + PROBE_GPU_MEM_GB * asked.gpus_per_node
    wanted = {option: asked.options[option] for option in WHERE if asked.options.get(option)}
    # An empty `mem` in the options means that the site refuses the flag.
    memory = {} if "mem" in asked.options else {"mem": f"{min(mem_gb, asked.mem_gb)}G"}
    flags = {**wanted, **memory, **gpu_flag(asked), "export": ",".join(EXPORTED)}
    command = [
        "srun",
        "--quiet",
        "--ntasks=1",
        "--job-name=doctor",
        f"--cpus-per-task={PROBE_CPUS}",
        f"--time={PROBE_MIN}",
        f"--immediate={wait_s}",
        *(f"--{flag}={value}" for flag, value in flags.items() if value),
        *request.srun_flags,
        *("bash", "-c", SHELL.format(setup="\n".join(setup)), "doctor", "env"),
        *(f"{name}={value}" for name, value in environment.items()),
        *argv,
    ]
    assert all(SAFE_VALUE.fullmatch(str(value)) for value in wanted.values()), wanted
    try:
        done = subprocess.run(
            command,
            check=False,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=wait_s + PROBE_MIN * 60,
        )
    except FileNotFoundError as error:
        raise SchedulerUnavailable("no `srun` on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"no answer within {wait_s + PROBE_MIN * 60} s") from error
    if done.returncode:
        message = (done.stderr or done.stdout).strip().replace("srun: ", "")
        raise AllocationTimeout(message) if NO_NODE in message else TransientError(message)
    return done.stdout
