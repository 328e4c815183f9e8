"""Find the processes of a run on this machine: supervisors, their children, gates."""

import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

#: Kind of a process by the module that it runs.
MODULES = {
    "hala_hpc.worker": "supervisor",
    "hala_hpc.jobs.attempt": "child",
    "hala_hpc.gate": "gate",
}
KINDS: tuple[str, ...] = tuple(MODULES.values())


@dataclass
class RunProcesses:
    """Process ids by kind (supervisor, child, gate), and the node of each."""

    of: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    nodes: dict[int, str] = field(default_factory=dict)
    jobs: dict[int, str] = field(default_factory=dict)
    """Job id of each process, from its environment; empty if it has none."""


def find_processes(work: Path) -> RunProcesses:
    """Return the processes that name a work folder in their arguments."""
    found = RunProcesses()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            folder = next((argument for argument in argv if argument.startswith(f"{work}/")), "")
            if not folder or "python" not in argv[0]:
                continue
            job = job_of(process)
        except OSError:
            continue
        kind = next((MODULES[argument] for argument in argv if argument in MODULES), "")
        if kind:
            pid = int(process.name)
            found.of[kind].append(pid)
            found.nodes[pid] = Path(folder).relative_to(work).parts[0].rpartition("-")[0]
            found.jobs[pid] = job
    return found


def job_of(process: Path) -> str:
    """Return the job id of a process. Raises: OSError if it is gone."""
    variables = (process / "environ").read_bytes().split(b"\0")
    variable = next((entry for entry in variables if entry.startswith(b"SLURM_JOB_ID=")), b"")
    return variable.partition(b"=")[2].decode()


def send(pid: int, number: int) -> bool:
    """Send a signal; return False if the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def go_on(pids: list[int]) -> None:
    """Continue stopped processes."""
    for pid in pids:
        send(pid, signal.SIGCONT)
