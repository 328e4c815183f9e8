"""Submit a plan to SLURM in one go; nothing stays running on the login node."""

from hala_hpc.backends.slurm import SlurmBackend
from hala_hpc.command import Line
from hala_hpc.core.errors import CONFIG, OK, UserError
from hala_hpc.core.files import read_json
from hala_hpc.plan import Step
from hala_hpc.submit import code_commit, job_ids, make_spec, submit_node, worker_job


def is_living(step: Step, living: dict[str, str]) -> bool:
    """Whether workers or gate of a node still have something before them."""
    return any(i in living for i in job_ids(step.artifact))


def require_accepted(line: Line, steps: list[Step]) -> None:
    """Raise UserError for a job that SLURM would refuse, before anything is written."""
    jobs = [
        worker_job(
            step.artifact,
            step.workers,
            make_spec(line.launcher, step.node.settings, step.node.stage.env, ""),
        )
        for step in steps
    ]
    problems = SlurmBackend().preflight(jobs)
    if problems:
        raise UserError(problems, CONFIG)


def submit_steps(line: Line, chosen: dict[str, Step]) -> int:
    """Submit every missing node that has no living jobs, after the gates of its inputs."""
    steps = [step for step in chosen.values() if step.state != "done"]
    living = SlurmBackend().states([i for step in steps for i in job_ids(step.artifact)])
    gates: dict[str, str] = {}
    commit, submitted = code_commit(), 0
    for step in steps:
        ids = job_ids(step.artifact)
        if is_living(step, living):
            gates[step.name] = (read_json(step.artifact.jobs_file) or {})["gate"]
            print(f"{step.name}: jobs {', '.join(ids)} are at it")
            continue
        spec = make_spec(line.launcher, step.node.settings, step.node.stage.env, commit)
        after = tuple(gates[name] for name in step.node.input_nodes() if name in gates)
        step.artifact.failure_file.unlink(missing_ok=True)
        gates[step.name] = submit_node(step.artifact, step.units, spec, after)
        ids = job_ids(step.artifact)
        print(
            f"{step.name}: workers {ids[0]}, gate {ids[1]}"
            + (f", after {', '.join(after)}" if after else "")
        )
        submitted += 1
    print(
        f"{submitted} nodes submitted; watch them with python -m hala_hpc.status work={line.work}"
    )
    return OK
