"""Submit a plan to SLURM in one go; nothing stays running on the login node."""

import sys

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.commands.command_line import Line
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import JOB_ENVIRONMENT
from hala_hpc.core.errors import CONFIG, OK, RETRY, NoRoom, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.lease import WorkLease
from hala_hpc.core.printable import command
from hala_hpc.core.records import RoundSpec, WaitingNode
from hala_hpc.jobs.kept_code import code_of_launch, keep_code
from hala_hpc.jobs.spec import NAME_LETTERS, make_spec, worker_job
from hala_hpc.jobs.submission import living_gate, settle, submit_node
from hala_hpc.jobs.waiting_list import waiting_nodes, write_waiting


def require_accepted(line: Line, steps: list[Step]) -> None:
    """Raise UserError for a job that SLURM would refuse, before anything is written.

    Tells of jobs that it would take and let wait. Raises Retry where it does not answer.
    """
    jobs = [
        worker_job(
            step.artifact,
            step.workers,
            make_spec(line.launcher, step.node.settings, step.node.stage.env, LaunchedCode()),
        )
        for step in steps
    ]
    found = SlurmBackend().objections(jobs)
    for text in found.waits:
        print(f"warning: {text}", file=sys.stderr)
    if found.refused:
        raise UserError(found.refused, CONFIG)


def submit_steps(line: Line, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Submit every missing node that has no living jobs, after the gates of its inputs.

    Nodes for which the cluster has no room now are left to the gates of those before them. Raises
    UserError when no gate is there to do that.
    """
    steps = [step for step in chosen.values() if step.state != "done"]
    settle([step.artifact for step in steps])
    seen = SlurmBackend().look()
    gates: dict[str, str] = {}
    late, submitted = list[WaitingNode](), 0
    code = code_of_launch(line.launcher, line.work)
    keep_code(code)
    for step in steps:
        spec = make_spec(line.launcher, step.node.settings, step.node.stage.env, code)
        inputs = [name for name in step.node.input_nodes() if name in chosen]
        after = tuple(gates[name] for name in inputs if name in gates)
        try:
            gate = living_gate(step.artifact, seen)
            # One that has written down why the node failed is about to leave: nobody goes on.
            if gate and not step.artifact.failure_file.exists():
                gates[step.name] = gate
                print(f"{step.name}: jobs {', '.join(step.artifact.job_ids())} are at it")
                continue
            step.artifact.failure_file.unlink(missing_ok=True)
            if not late:
                gates[step.name] = submit_node(
                    step.artifact, step.units, spec, after, lease.require
                )
                tell(step, after)
                submitted += 1
                continue
        except NoRoom as error:
            # Also for the gate of workers that a killed launch left without one.
            reason = str(error)
        except UserError:
            leave_to_gates(line, steps, [])
            raise
        late.append(waiting_node(step, spec, tuple(chosen[name] for name in inputs)))
    lease.require()
    leave_to_gates(line, steps, late if gates else [])
    if late and not gates:
        raise UserError(f"no room for another job of yours now ({reason}): try again later", RETRY)
    tell_all(line, submitted, late)
    if line.rehearse:
        submit_page(line, tuple(gates.values()))
    return OK


def submit_page(line: Line, gates: tuple[str, ...]) -> None:
    """Submit the job that writes the page of a rehearsal once all gates have ended, however."""
    job = Job(
        name=f"rehearsal-{line.work.name}"[:NAME_LETTERS],
        module="hala_hpc.rehearsal",
        words=(f"work={line.work}",),
        python=line.launcher.python_of("main"),
        resources=line.launcher.gate_resources,
        folder=line.work,
        after_any=gates,
        environment={**JOB_ENVIRONMENT, **line.launcher.environment},
        setup=line.launcher.setup,
    )
    number = SlurmBackend().submit(job)
    print(f"its page: job {number}; at any time {command('rehearsal', job.words[0])}")


def waiting_node(step: Step, spec: RoundSpec, inputs: tuple[Step, ...]) -> WaitingNode:
    """A node for which there is no room now."""
    folders = tuple(one.artifact.folder.name for one in inputs)
    return WaitingNode(
        folder=step.artifact.folder.name, units=step.units, spec=spec, inputs=folders
    )


def leave_to_gates(line: Line, steps: list[Step], late: list[WaitingNode]) -> None:
    """Write down the nodes that wait for room, beside those of other lines in this folder."""
    mine = {step.artifact.folder.name for step in steps}
    others = [one for one in waiting_nodes(line.work) if one.folder not in mine]
    write_waiting(line.work, [*others, *late])


def tell(step: Step, after: tuple[str, ...]) -> None:
    """Name the jobs of a node that was submitted."""
    workers, gate = step.artifact.job_ids()
    behind = f", after {', '.join(after)}" if after else ""
    print(f"{step.name}: workers {workers}, gate {gate}{behind}")


def tell_all(line: Line, submitted: int, late: list[WaitingNode]) -> None:
    """Say what was done and how to watch it."""
    if late:
        print(f"{len(late)} nodes wait for room: the gates before them submit them")
    watch = command("status", f"work={line.work}")
    print(f"{submitted} nodes submitted; watch them with {watch}")
