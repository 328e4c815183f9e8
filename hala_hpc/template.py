"""What the sbatch templates of `slurm/` run inside their jobs.

`python -m hala_hpc.template worker stage=translate model=... corpus=... work=...` prepares what a
launch would have prepared and becomes the worker. `gate` with the same overrides closes the node,
and only reports unless submit=true. `nodes` lists missing nodes of a recipe, for `chain.sbatch`.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from hala_hpc.backends.slurm.backend import script_file
from hala_hpc.backends.slurm.granted import granted_resources, is_array_element, own_job_id
from hala_hpc.backends.slurm.sbatch import resource_flags, script_arguments
from hala_hpc.commands.arguments import asks_for_help, print_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.commands.planning.cleaned_steps import choose_steps
from hala_hpc.commands.planning.template_arguments import (
    TEMPLATE_ARGUMENTS,
    Template,
    read_template,
)
from hala_hpc.core.errors import NO_INPUT, OK, USAGE, UserError
from hala_hpc.core.job import Job
from hala_hpc.core.sharing import start_sharing
from hala_hpc.core.startup import set_private_umask
from hala_hpc.jobs.job_logging import set_up_logging
from hala_hpc.jobs.spec import make_spec, worker_job


def run_template(arguments: Sequence[str]) -> int:
    """Run the command of a template; return the exit code. Raises: UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        print_arguments(__doc__ or "", TEMPLATE_ARGUMENTS)
        return OK
    actions: dict[str, Callable[[Template], int]] = {
        "worker": become_worker,
        "gate": close_node,
        "nodes": list_nodes,
    }
    if arguments[0] not in actions:
        raise UserError(
            f"{arguments[0]!r}: the first argument must be one of {', '.join(actions)}", USAGE
        )
    set_private_umask()
    return actions[arguments[0]](read_template(arguments[1:]))


def become_worker(template: Template) -> int:
    """Write what a launch would have written, first writer wins, and become the worker.

    Returns only if there is nothing to do.
    """
    step = template.step
    if step.state == "done":
        print(f"{step.name} is done: {step.artifact.output}")
        return OK
    if not own_job_id():
        raise UserError("this runs inside a SLURM job: submit it with sbatch", USAGE)
    set_up_logging()
    job = prepare(template)
    os.chdir(job.folder)
    return replace_process(["bash", str(script_file()), *script_arguments(job)])


def replace_process(command: list[str]) -> NoReturn:
    """Continue as another program (exec), with the signals and the exit code of this job."""
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - an argument list


def prepare(template: Template) -> Job:
    """The job of this worker; its artifact and its round are on the disk."""
    from hala_hpc.commands.planning.launch_checks import check_before_jobs
    from hala_hpc.commands.planning.work_folder import (
        link_latest,
        make_work_folder,
        require_own_run,
        reset_damaged_nodes,
        set_aside_damaged_files,
        write_run,
    )
    from hala_hpc.core.run import run_file
    from hala_hpc.jobs.by_hand import begin_by_hand
    from hala_hpc.jobs.code_snapshot import resolve_launch_code

    line, step = template.command_line, template.step
    own = {step.name: step}
    start_sharing(line.launcher.share)
    # Before anything is written.
    resources = granted_resources(step.node.settings.resources)
    check_before_jobs(line, own)
    make_work_folder(line.work)
    require_own_run(line.work)
    set_aside_damaged_files(line.work, own)
    if run_file(line.work).exists():
        link_latest(line.work, own)
    else:
        write_run(line, own, {})
    step.artifact.write_config(step.config())
    reset_damaged_nodes(own)
    code = resolve_launch_code(line.launcher, line.work)
    settings = step.node.settings.model_copy(update={"resources": resources})
    spec = make_spec(line.launcher, settings, step.node.stage.env, code)
    new_round = begin_by_hand(step.artifact, step.units, spec)
    job = worker_job(step.artifact, new_round.workers, spec, asked=new_round)
    job.folder.mkdir(parents=True, exist_ok=True)
    return worker_alone(job)


def worker_alone(job: Job) -> Job:
    """The job as this one runs it: job.sbatch itself appends the index of an array task."""
    arguments = job.arguments if is_array_element() else (*job.arguments, "0")
    return replace(job, arguments=arguments, array_size=None)


def close_node(template: Template) -> int:
    """Close the node if its units are complete; else report why not, and submit if asked."""
    artifact = template.step.artifact
    if not artifact.config_file.exists():
        raise UserError(
            f"{template.step.name} has not begun with these settings: {artifact.folder} does not "
            "exist; give the gate the overrides of its workers",
            NO_INPUT,
        )
    more = ["submit"] if template.submit else []
    folder = str(artifact.folder)
    return replace_process([sys.executable, "-u", "-m", "hala_hpc.gate", folder, *more])


def list_nodes(template: Template) -> int:
    """Print a line for each missing node: name, stage, inputs, and flags of sbatch.

    The fields are separated by tabs; only inputs that are missing themselves are listed.
    """
    line = template.command_line
    wanted = choose_steps(line, template.steps).values()
    missing = [step for step in wanted if step.state != "done"]
    names = {step.name for step in missing}
    for step in missing:
        inputs = [name for name in step.node.input_nodes() if name in names]
        resources = step.node.settings.resources
        fields = (step.name, step.node.stage.name, ",".join(inputs) or "-")
        print("\t".join((*fields, *resource_flags(resources, step.workers))))
    return OK


def main() -> None:
    """Run the command, print mistakes, exit with their code."""
    sys.exit(run_command(run_template, sys.argv[1:]))


if __name__ == "__main__":
    main()
