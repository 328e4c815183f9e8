"""The doctor on a compute node: `python -m hala_hpc.doctor.on_node <JSON>`, run by the doctor.

Prints `NodeFindings` as its last line. What it looks at is told in its one argument.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from hala_hpc.backends.slurm.srun_probe import place_of, run_on_node
from hala_hpc.core.builds import VARIABLE
from hala_hpc.core.errors import NoNode, Retry
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.record import Record
from hala_hpc.doctor.environments import health, imports
from hala_hpc.doctor.findings import Finding, State
from hala_hpc.doctor.folders import READ_ONLY, launcher_folders, nearest, probe
from hala_hpc.doctor.scope import JobKind, label
from hala_hpc.engines.models.gpus import FP8_CAPABILITY
from hala_hpc.jobs.gpu_cards import driver_cards

#: A node of a busy partition is not waited for longer.
WAIT_S = 300
#: Attribute caches of NFS show a new file after at most this.
SEEN_LIMIT_S = 60


class NodeVisit(Record):
    """What the doctor looks at on a compute node."""

    work: str
    token: str
    """A file that the login node wrote."""
    folders: dict[str, str]
    """By the variable that names each."""
    pythons: dict[str, str]
    """Interpreter of each environment."""
    gpus: int = 0
    """That the job asks for."""


class NodeFindings(Record):
    """What the doctor found on a compute node."""

    cure: ClassVar[str] = "see what else the `setup` lines of the launcher print"

    findings: tuple[Finding, ...]


def node_findings(
    launcher: Launcher, kinds: Sequence[JobKind], work: Path, envs: set[str]
) -> list[Finding]:
    """Send the doctor to one node for each place that jobs may go to; waits for the nodes."""
    places = {place_of(kind.asked): kind for kind in kinds}
    token = nearest(work) / f".doctor-{socket.gethostname()}-{os.getpid()}.tmp"
    folders = launcher_folders(launcher.environment)
    asked = NodeVisit(
        work=str(work),
        token=str(token),
        folders={name: str(one) for name, one in folders.items()},
        pythons={env: launcher.python_of(env) for env in sorted(envs)},
    )
    try:
        token.write_text(token.name)
        return [one for kind in places.values() for one in visit(launcher, kind, asked)]
    except OSError as error:
        what = f"work {work} cannot be written: {error.strerror}"
        return [Finding("nodes", "bad", what, "nothing to look for on a node", "name another work")]
    finally:
        with contextlib.suppress(OSError):
            token.unlink()


def visit(launcher: Launcher, kind: JobKind, asked: NodeVisit) -> list[Finding]:
    """What the doctor finds on one node."""
    words = [launcher.python_of("main"), "-m", "hala_hpc.doctor.on_node"]
    own = asked.model_copy(update={"gpus": kind.asked.gpus_per_node}).line()
    try:
        told = run_on_node(kind.asked, [*words, own], launcher.setup, launcher.environment, WAIT_S)
    except Retry as error:
        # A limit that forbids the job is told by other findings: this is mostly a full queue.
        state: State = "warn" if isinstance(error, NoNode) else "bad"
        what = f"no node for {label(kind.names)} could be looked at in {WAIT_S} s: {error}"
        why = "its jobs wait as well" if state == "warn" else "its jobs may end as this one did"
        return [Finding("nodes", state, what, why, "try again later, or see SLURM's words")]
    last = told.splitlines()[-1:] or [""]
    return list(NodeFindings.from_json(last[0], "answer of the doctor on a node").findings)


def look(asked: NodeVisit) -> Iterator[Finding]:
    """What is found on this node."""
    yield shared(Path(asked.token))
    yield probe(f"work {asked.work}", "work", nearest(Path(asked.work)), True)
    for name, path in asked.folders.items():
        yield probe(f"{name} {path}", name, nearest(Path(path)), name not in READ_ONLY)
    for env, python in asked.pythons.items():
        yield health(env, python)
        yield imports(env, python, 0 if os.environ.get(VARIABLE) == "cpu" else asked.gpus)
    if asked.gpus:
        yield gpus()


def shared(token: Path) -> Finding:
    """Whether a file of the login node can be seen here."""
    limit_s = time.monotonic() + SEEN_LIMIT_S
    while not token.exists() and time.monotonic() < limit_s:
        time.sleep(1)
    if token.exists() and token.read_text() == token.name:
        return Finding("folders", "good", f"{token.parent} is the login node's", "files are shared")
    what = f"a file that the login node wrote into {token.parent} is not there"
    why = "workers would find no work, and their results would be lost"
    return Finding("folders", "bad", what, why, "name a folder that all nodes share with work=")


def gpus() -> Finding:
    """What the driver says of the GPU."""
    card = next(iter(driver_cards()), None)
    if card is None or card.capability is None:
        why = "jobs that need a GPU end at once on such a node"
        cure = "ask the admins; exclude the node with options.exclude"
        return Finding("gpus", "warn", "NVIDIA's driver shows no GPU", why, cure)
    capability = ".".join(map(str, card.capability))
    told = f"{card.name}, {card.total_bytes // 2**20} MiB, compute capability {capability}"
    if card.capability >= FP8_CAPABILITY:
        return Finding("gpus", "good", told, "FP8 works on it")
    cure = "take models that are not quantized, or ask for newer GPUs with options.gpu_type"
    return Finding("gpus", "warn", told, "it does not calculate in FP8", cure)


def main() -> None:
    """Print what is found on this node, its name before each line."""
    host = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    found = look(NodeVisit.from_json(sys.argv[1], "argument of the doctor on a node"))
    named = tuple(replace(one, what=f"on {host}: {one.what}") for one in found)
    print(NodeFindings(findings=named).line())


if __name__ == "__main__":
    main()
