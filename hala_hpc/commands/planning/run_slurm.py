"""Submit a plan to SLURM as one set of jobs; no process stays on the login node."""

import sys

from hala_hpc.backends.slurm.backend import SlurmBackend
from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.code_version import LaunchedCode
from hala_hpc.core.environment import JOB_ENVIRONMENT
from hala_hpc.core.errors import CONFIG, OK, RETRY, JobLimitReached, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.lease import WorkLease
from hala_hpc.core.printable import format_command
from hala_hpc.core.records import PendingNode, RoundSpec
from hala_hpc.jobs.code_snapshot import resolve_launch_code, snapshot_code
from hala_hpc.jobs.spec import MAX_NAME_LETTERS, make_spec, worker_job
from hala_hpc.jobs.submission import find_or_adopt_gate, submit_node, wait_for_pending_sbatch
from hala_hpc.jobs.waiting_list import waiting_nodes, write_waiting


def require_accepted(command_line: CommandLine, steps: list[Step]) -> None:
    """Refuse jobs that SLURM would refuse, before anything is written.

    Warns about jobs that it would accept but not start. Raises: UserError (CONFIG), TransientError
    if SLURM does not answer.
    """
    jobs = [
        worker_job(
            step.artifact,
            step.workers,
            make_spec(
                command_line.launcher, step.node.settings, step.node.stage.env, LaunchedCode()
            ),
        )
        for step in steps
    ]
    found = SlurmBackend().objections(jobs)
    for text in found.waits:
        print(f"warning: {text}", file=sys.stderr)
    if found.refused:
        raise UserError(found.refused, CONFIG)


def submit_steps(command_line: CommandLine, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Submit every missing node without active jobs, after the gates of its inputs.

    Nodes beyond the job limit of the cluster are left to the gates of earlier nodes. Raises:
    UserError if there is no gate to submit them.
    """
    steps = [step for step in chosen.values() if step.state != "done"]
    wait_for_pending_sbatch([step.artifact for step in steps])
    queue_rows = SlurmBackend().query_queue()
    gates: dict[str, str] = {}
    late, submitted = list[PendingNode](), 0
    code = resolve_launch_code(command_line.launcher, command_line.work)
    snapshot_code(code)
    for step in steps:
        spec = make_spec(command_line.launcher, step.node.settings, step.node.stage.env, code)
        inputs = [name for name in step.node.input_nodes() if name in chosen]
        after = tuple(gates[name] for name in inputs if name in gates)
        try:
            gate = find_or_adopt_gate(step.artifact, queue_rows)
            # A gate that recorded the failure of its node is about to exit and submits nothing.
            if gate and not step.artifact.failure_file.exists():
                gates[step.name] = gate
                print(
                    f"{step.name}: jobs {', '.join(step.artifact.job_ids())} are queued or running"
                )
                continue
            step.artifact.failure_file.unlink(missing_ok=True)
            if not late:
                gates[step.name] = submit_node(
                    step.artifact, step.units, spec, after, lease.require
                )
                print_node_jobs(step, after)
                submitted += 1
                continue
        except JobLimitReached as error:
            # Also raised for the gate of workers that a killed launch left without one.
            reason = str(error)
        except UserError:
            record_waiting_nodes(command_line, steps, [])
            raise
        late.append(waiting_node(step, spec, tuple(chosen[name] for name in inputs)))
    lease.require()
    record_waiting_nodes(command_line, steps, late if gates else [])
    if late and not gates:
        raise UserError(f"job limit reached ({reason}): try again later", RETRY)
    print_submission(command_line, submitted, late)
    if command_line.rehearse:
        submit_page(command_line, tuple(gates.values()))
    return OK


def submit_page(command_line: CommandLine, gates: tuple[str, ...]) -> None:
    """Submit the job that writes the rehearsal page once all gates have ended."""
    job = Job(
        name=f"rehearsal-{command_line.work.name}"[:MAX_NAME_LETTERS],
        module="hala_hpc.rehearsal",
        arguments=(f"work={command_line.work}",),
        python=command_line.launcher.gate_python,
        srun_flags=command_line.launcher.srun,
        resources=command_line.launcher.gate_resources,
        folder=command_line.work,
        after_any=gates,
        environment={**JOB_ENVIRONMENT, **command_line.launcher.environment},
        setup=command_line.launcher.setup_lines,
    )
    number = SlurmBackend().submit(job)
    print(
        f"rehearsal page: job {number}; at any time run "
        f"{format_command('rehearsal', job.arguments[0])}"
    )


def waiting_node(step: Step, spec: RoundSpec, inputs: tuple[Step, ...]) -> PendingNode:
    """A node beyond the current job limit."""
    folders = tuple(one.artifact.folder.name for one in inputs)
    return PendingNode(
        folder=step.artifact.folder.name, units=step.units, spec=spec, inputs=folders
    )


def record_waiting_nodes(
    command_line: CommandLine, steps: list[Step], late: list[PendingNode]
) -> None:
    """Record the nodes beyond the job limit; keep those of other launches in this folder."""
    mine = {step.artifact.folder.name for step in steps}
    others = [one for one in waiting_nodes(command_line.work) if one.folder not in mine]
    write_waiting(command_line.work, [*others, *late])


def print_node_jobs(step: Step, after: tuple[str, ...]) -> None:
    """Print the jobs of a submitted node."""
    workers, gate = step.artifact.job_ids()
    behind = f", after {', '.join(after)}" if after else ""
    print(f"{step.name}: workers {workers}, gate {gate}{behind}")


def print_submission(command_line: CommandLine, submitted: int, late: list[PendingNode]) -> None:
    """Print what was submitted and how to watch it."""
    if late:
        print(f"{len(late)} nodes wait for the job limit: gates of earlier nodes submit them")
    watch = format_command("status", f"work={command_line.work}")
    print(f"{submitted} nodes submitted; watch them with {watch}")
