"""The doctor on a compute node: `python -m hala_hpc.doctor.on_node <JSON>`, run by the doctor.

Its argument lists the checks. Prints `NodeFindings` as its last line.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.backends.slurm.cluster import TEST_ONLY
from hala_hpc.backends.slurm.srun_probe import NodeRequest, placement_options, run_on_node
from hala_hpc.core.artifact import Artifact
from hala_hpc.core.builds import DEVICE_VARIABLE
from hala_hpc.core.errors import AllocationTimeout, SchedulerUnavailable, TransientError
from hala_hpc.core.job import Job
from hala_hpc.core.launcher import Launcher
from hala_hpc.core.paths import ROOT
from hala_hpc.core.record import JsonRecord
from hala_hpc.core.resources import Resources
from hala_hpc.doctor.environments import check_imports, check_packages
from hala_hpc.doctor.findings import Finding, State
from hala_hpc.doctor.folders import READ_ONLY, launcher_folders, nearest_existing, probe_folder
from hala_hpc.doctor.scope import DoctorScope, JobShape, shorten_names
from hala_hpc.engines.models.gpus import FP8_CAPABILITY
from hala_hpc.jobs.gpu_cards import driver_cards
from hala_hpc.jobs.node_faults import SET_UP_FIXES
from hala_hpc.jobs.node_health import NodeProbeRequest, has_gpu_build, probe_node
from hala_hpc.jobs.spec import is_clone, list_job_folders

#: Maximum wait in seconds for a node of a busy partition.
WAIT_S = 300
#: Time limit in seconds of the GPU probe, below that of the doctor's job.
GPU_PROBE_LIMIT_S = 400
#: Seconds after which a new file is visible despite NFS attribute caches.
VISIBLE_LIMIT_S = 60


class NodeScope(JsonRecord):
    """What the doctor checks on a compute node."""

    work: str
    token: str
    """File written by the login node."""
    folders: dict[str, str]
    """Folders by the variable that sets each."""
    pythons: dict[str, str]
    """Interpreter of each environment."""
    gpus: int = 0
    """GPUs that the job requests."""
    resubmits: tuple[Resources, ...] = ()
    """Resources of the jobs that gates submit from this node; empty if no gates run there."""


class NodeFindings(JsonRecord):
    """Findings on a compute node."""

    fix: ClassVar[str] = "see the output of the launcher's `setup` lines"

    findings: tuple[Finding, ...]


def node_findings(
    scope: DoctorScope, kinds: Sequence[JobShape], notify: Callable[[str], None]
) -> list[Finding]:
    """Run the doctor on one node for each set of placement options; `notify` gets messages."""
    # Of jobs with equal placement options, the one with most GPUs and memory is tested.
    by_size = sorted(kinds, key=lambda kind: (kind.asked.gpus_per_node, kind.asked.mem_gb))
    places = {placement_options(kind.asked): kind for kind in by_size}
    launcher, work = scope.launcher, scope.work
    token = nearest_existing(work) / f".doctor-{socket.gethostname()}-{os.getpid()}.tmp"
    folders = launcher_folders(launcher.environment)
    asked = NodeScope(
        work=str(work),
        token=str(token),
        folders={name: str(one) for name, one in folders.items()},
        pythons={env: launcher.job_python_of(env) for env in sorted(scope.environments())},
        resubmits=tuple(kind.asked for kind in kinds),
    )
    try:
        token.write_text(token.name)
        found = []
        for kind in places.values():
            found += examine_node(scope.launcher, kind, asked, notify)
        return found
    except OSError as error:
        what = f"work {work} cannot be written: {error.strerror}"
        return [
            Finding(
                "nodes", "error", what, "the check of nodes needs a file there", "use another work"
            )
        ]
    finally:
        with contextlib.suppress(OSError):
            token.unlink()


def examine_node(
    launcher: Launcher, kind: JobShape, asked: NodeScope, notify: Callable[[str], None]
) -> list[Finding]:
    """Findings on one node with all GPUs of a job, or with one GPU if not all are free."""
    try:
        notify(describe_wait(kind))
        return run_doctor_on_node(launcher, kind, asked)
    except AllocationTimeout as error:
        if kind.asked.gpus_per_node > 1:
            one = replace(kind, asked=kind.asked.model_copy(update={"gpus_per_node": 1}))
            what = f"{kind.asked.gpus_per_node} GPUs were not free within {WAIT_S} s"
            why = "whether they can communicate was not checked; jobs check it when they start"
            unseen = Finding("nodes", "warn", what, why, "try again later")
            return [unseen, *examine_node(launcher, one, asked, notify)]
        # Other findings report limits that forbid the job: this is mostly a full queue.
        return [no_node_finding(kind, error, "warn", "its jobs would wait as well")]
    except TransientError as error:
        return [no_node_finding(kind, error, "error", "its jobs may fail as this one did")]


def no_node_finding(kind: JobShape, error: TransientError, state: State, why: str) -> Finding:
    """Finding if no node could be checked."""
    what = f"no node for {shorten_names(kind.names)} could be checked within {WAIT_S} s: {error}"
    return Finding("nodes", state, what, why, "try again later, or see SLURM's message")


def describe_wait(kind: JobShape) -> str:
    """Message about the wait for a node."""
    gpus = kind.asked.gpus_per_node
    with_gpus = f" with {gpus} GPUs" if gpus else ""
    return (
        f"waiting for a node{with_gpus} as {shorten_names(kind.names)} would get it "
        f"(at most {WAIT_S} s), then for its check (a minute or more, as libraries are imported)"
    )


def run_doctor_on_node(launcher: Launcher, kind: JobShape, asked: NodeScope) -> list[Finding]:
    """Run the doctor on one node and return its findings.

    Raises: AllocationTimeout, TransientError as `run_on_node` does.
    """
    has_gates = placement_options(kind.asked) == placement_options(launcher.gate_resources)
    resubmits = asked.resubmits if has_gates else ()
    gpus, inside = kind.asked.gpus_per_node, launcher.interpreter
    if not inside.is_container:
        own = asked.model_copy(update={"gpus": gpus, "resubmits": resubmits})
        return ask_node(launcher, kind, own, ProbeEntry((launcher.python_of("main"),)))
    folders = list_job_folders(Artifact(Path(asked.work, "doctor")), launcher)
    entry = ProbeEntry(
        (*inside.wrap(folders, gpus > 0), launcher.job_python_of("main")),
        tuple(inside.srun_flags(folders)),
    )
    own = asked.model_copy(update={"gpus": gpus, "resubmits": ()})
    found = ask_node(launcher, kind, own, entry)
    if resubmits:
        # Gates run outside of the image, which has no commands of SLURM.
        own = asked.model_copy(update={"pythons": {}, "folders": {}, "resubmits": resubmits})
        found += ask_node(launcher, kind, own, ProbeEntry((launcher.gate_python,)))
    return found


@dataclass(frozen=True)
class ProbeEntry:
    """How the interpreter of the doctor on a node is reached."""

    program: tuple[str, ...]
    srun_flags: tuple[str, ...] = ()


def ask_node(
    launcher: Launcher, kind: JobShape, asked: NodeScope, entry: ProbeEntry
) -> list[Finding]:
    """Run the doctor on one node with one interpreter. Raises as `run_doctor_on_node`."""
    argv = [*entry.program, "-m", "hala_hpc.doctor.on_node", asked.line()]
    # Within an image of pyxis there are no modules: `setup` ran outside of it in a job.
    setup = () if entry.srun_flags else launcher.setup_lines
    variables = dict(launcher.environment)
    if launcher.interpreter.is_container and is_clone():
        variables["PYTHONPATH"] = str(ROOT)
    output = run_on_node(
        NodeRequest(kind.asked, (*entry.srun_flags, *launcher.srun), WAIT_S),
        argv,
        setup,
        variables,
    )
    last = output.splitlines()[-1:] or [""]
    return list(NodeFindings.from_json(last[0], "output of the doctor on a node").findings)


def examine_this_node(asked: NodeScope) -> Iterator[Finding]:
    """Yield the findings on this node."""
    yield check_shared_folder(Path(asked.token))
    yield probe_folder(f"work {asked.work}", "work", nearest_existing(Path(asked.work)), True)
    for name, path in asked.folders.items():
        yield probe_folder(
            f"{name} {path}", name, nearest_existing(Path(path)), name not in READ_ONLY
        )
    for env, python in asked.pythons.items():
        yield check_packages(env, python)
        yield check_imports(
            env, python, 0 if os.environ.get(DEVICE_VARIABLE) == "cpu" else asked.gpus
        )
    if asked.gpus:
        yield gpu_driver_finding()
        yield from sound_gpus(asked.gpus)
    if asked.resubmits:
        yield resubmission(asked)


def check_shared_folder(token: Path) -> Finding:
    """Whether a file of the login node is visible here."""
    limit_s = time.monotonic() + VISIBLE_LIMIT_S
    while not token.exists() and time.monotonic() < limit_s:
        time.sleep(1)
    if token.exists() and token.read_text() == token.name:
        return Finding(
            "folders", "good", f"{token.parent} is that of the login node", "files are shared"
        )
    what = f"a file that the login node wrote into {token.parent} is not visible"
    why = "workers would find no work, and their results would be lost"
    return Finding("folders", "error", what, why, "set work= to a folder that all nodes share")


def gpu_driver_finding() -> Finding:
    """Finding about the first GPU, by its driver."""
    card = next(iter(driver_cards()), None)
    if card is None or card.capability is None:
        why = "jobs that need a GPU fail at once on such a node"
        fix = "ask the admins; exclude the node with options.exclude"
        return Finding("gpus", "warn", "NVIDIA's driver shows no GPU", why, fix)
    capability = ".".join(map(str, card.capability))
    description = f"{card.name}, {card.total_bytes // 2**20} MiB, compute capability {capability}"
    if card.capability >= FP8_CAPABILITY:
        return Finding("gpus", "good", description, "FP8 works on it")
    fix = "use models that are not quantized, or request newer GPUs with options.gpu_type"
    return Finding("gpus", "warn", description, "it does not support FP8", fix)


def sound_gpus(number: int) -> Iterator[Finding]:
    """The checks of jobs before they load a model: driver, compiler, kernels, all-reduce."""
    if not has_gpu_build():
        return
    answer = probe_node(own_name(), NodeProbeRequest(gpus=number), GPU_PROBE_LIMIT_S)
    for fault in answer.set_up_faults:
        why = "every job on such a node fails at once (78), and no node is excluded"
        yield Finding("gpus", "error", fault.text, why, SET_UP_FIXES[fault.kind])
    for fault in answer.node_faults:
        why = "jobs exclude such a node and run on another"
        fix = "report it to the admins; options.exclude keeps jobs away from it at once"
        yield Finding("gpus", "warn", fault.text, why, fix)
    if not answer.faults:
        together = ", and their all-reduce works" if number > 1 else ""
        what = f"{answer.message}; a Triton kernel compiles and runs{together}"
        yield Finding("gpus", "good", what, "models can be loaded")


def resubmission(asked: NodeScope) -> Finding:
    """Whether SLURM accepts jobs of gates from this node: next rounds and later nodes."""
    refused = refusals_here([job_from_here(one, asked) for one in asked.resubmits])
    if not refused:
        what = f"`{TEST_ONLY}` accepts jobs from here"
        return Finding("jobs", "good", what, "gates submit the next jobs by themselves")
    what = f"`{TEST_ONLY}` does not accept jobs from here: {'; '.join(refused)}"
    why = "gates run on compute nodes: they cannot submit next rounds or later nodes"
    fix = (
        "ask the admins to let compute nodes submit (AllocNodes of the partition; SLURM's commands "
        "and munge there); until then run the same command again after each round"
    )
    return Finding("jobs", "warn", what, why, fix)


def refusals_here(jobs: Sequence[Job]) -> list[str]:
    """Why SLURM would refuse some jobs from this machine, now and later; empty if it would not."""
    backend = SlurmBackend()
    try:
        return backend.preflight() or list(backend.objections(jobs).refused)
    except SchedulerUnavailable as error:
        return [str(error)]


def job_from_here(resources: Resources, asked: NodeScope) -> Job:
    """A job as a gate would submit it."""
    return Job(
        name="doctor-round",
        module="hala_hpc.worker",
        arguments=(asked.work,),
        python=sys.executable,
        resources=resources,
        folder=Path(asked.work),
    )


def own_name() -> str:
    """SLURM's name of this node."""
    return os.environ.get("SLURMD_NODENAME", socket.gethostname())


def main() -> None:
    """Print the findings on this node, each with the name of the node."""
    found = examine_this_node(NodeScope.from_json(sys.argv[1], "argument of the doctor on a node"))
    named = tuple(replace(one, what=f"on {own_name()}: {one.what}") for one in found)
    print(NodeFindings(findings=named).line())


if __name__ == "__main__":
    main()
