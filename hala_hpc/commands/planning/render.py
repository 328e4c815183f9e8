"""`render=FOLDER`: write what a launch would submit as scripts to read, change and run by hand.

Rounds are started as by a launch, and jobs have the same names: a later launch recognizes jobs that
were submitted by hand.
"""

import shlex
import shutil
from pathlib import Path

from hala_hpc.backends.slurm.backend import SlurmBackend, script_file
from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning.plan import Step
from hala_hpc.core.errors import CANNOT_CREATE, OK, RETRY, UserError
from hala_hpc.core.files import write_text
from hala_hpc.core.job import Job
from hala_hpc.core.lease import WorkLease
from hala_hpc.core.run import format_launch_command
from hala_hpc.jobs.code_snapshot import resolve_launch_code, snapshot_code
from hala_hpc.jobs.rounds import begin_round
from hala_hpc.jobs.spec import gate_job, make_spec, worker_job
from hala_hpc.jobs.submission import find_or_adopt_gate, wait_for_pending_sbatch

#: Placeholder for the job id of the workers, which is known when the script runs.
WORKERS_PLACEHOLDER = "<workers>"
#: Folder in which the scripts record the job id of each gate, for dependent nodes.
IDS = "ids"
SUBMIT = """\
#!/bin/bash
# Submit every node of this folder in order. Run it again after fixing an error: nodes with a job id
# in {ids}/ are not submitted twice.
set -euo pipefail
cd "$(dirname "$0")"
for script in [0-9]*.sh; do
    bash "$script"
done
"""
NODE = """\
#!/bin/bash
# {title}
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p {ids}
if [[ -s {note} ]]; then
    echo "{name}: already submitted, its gate is job $(cat {note})"
    exit 0
fi
{read}
workers=$({workers})
workers=${{workers%%;*}}
gate=$({gate})
gate=${{gate%%;*}}
echo "$gate" >{note}
echo "{name}: workers $workers, gate $gate"
"""
README = """\
# {recipe}

What this command would submit, as scripts:

    {line}

`bash submit.sh` submits everything. Or submit each script by hand, in the order of the numbers.
`{ids}/` then holds the job id of each node's gate. A script submits the workers of one node, and
the gate, which closes the node and resubmits what is missing. `job.sbatch` is the script of every
job: the flags before it are sbatch's, the arguments after it are its own.

Change what you like before you submit, except the arguments after `--`: they name the work folder,
{work}. The results are those of the launch. The command above resumes them at any time; it
recognizes jobs that were submitted here by their names.

| script | node | stage | workers | after |
| --- | --- | --- | --: | --- |
{rows}
"""


def render_steps(command_line: CommandLine, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Write a script for each missing node, a script for all, and a README.

    Raises: UserError (CANNOT_CREATE) if the folder cannot be written or is not empty, (RETRY) if
    jobs of one of the nodes are queued or running.
    """
    folder = command_line.render
    assert folder is not None
    make_folder(folder)
    steps = [step for step in chosen.values() if step.state != "done"]
    require_no_active_jobs(steps)
    code = resolve_launch_code(command_line.launcher, command_line.work)
    snapshot_code(code)
    names = {step.name for step in steps}
    rows = []
    for number, step in enumerate(steps, 1):
        lease.require()
        inputs = [name for name in step.node.input_nodes() if name in names]
        spec = make_spec(command_line.launcher, step.node.settings, step.node.stage.env, code)
        new_round = begin_round(step.artifact, step.units, step.workers, spec)
        workers = worker_job(
            step.artifact, new_round.workers, spec, tuple(map(gate_placeholder, inputs)), new_round
        )
        gate = gate_job(step.artifact, new_round.round, spec, WORKERS_PLACEHOLDER)
        step.artifact.logs.mkdir(parents=True, exist_ok=True)
        script = f"{number:02}-{step.name}.sh"
        write_text(folder / script, format_node_script(step, inputs, workers, gate))
        rows.append(
            f"| {script} | {step.name} | {step.node.stage.name} | {new_round.workers} | "
            f"{', '.join(inputs) or '-'} |"
        )
    shutil.copyfile(script_file(), folder / script_file().name)
    write_text(folder / "submit.sh", SUBMIT.format(ids=IDS))
    write_text(folder / "README.md", format_readme(command_line, rows))
    print(f"{len(steps)} nodes written to {folder}; submit them with bash {folder / 'submit.sh'}")
    return OK


def gate_placeholder(name: str) -> str:
    """Placeholder for the job id of a node's gate, which is known when the script runs."""
    return f"<gate of {name}>"


def make_folder(folder: Path) -> None:
    """Make the folder. Raises: UserError if it cannot be written or is not empty."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise UserError(f"render={folder}: {error.strerror}; name another", CANNOT_CREATE) from None
    if not is_empty:
        raise UserError(f"render={folder} is not empty: name a new folder", CANNOT_CREATE)


def require_no_active_jobs(steps: list[Step]) -> None:
    """Raises: UserError (RETRY) if jobs of a node are queued or running."""
    wait_for_pending_sbatch([step.artifact for step in steps])
    queue_rows = SlurmBackend().query_queue()
    busy = [step.name for step in steps if find_or_adopt_gate(step.artifact, queue_rows)]
    if busy:
        raise UserError(
            f"jobs of {', '.join(busy)} are queued or running: wait for them, or cancel", RETRY
        )


def format_node_script(step: Step, inputs: list[str], workers: Job, gate: Job) -> str:
    """Format the script that submits one node."""
    read = "\n".join(
        f"gate_{index}=$(cat {shlex.quote(f'{IDS}/{name}')})" for index, name in enumerate(inputs)
    )
    known = {gate_placeholder(name): f"$gate_{index}" for index, name in enumerate(inputs)}
    resources = step.node.settings.resources
    what = f"{step.name} ({step.node.stage.name}): {workers.array_size} workers"
    return NODE.format(
        title=f"{what}, each on {resources.nodes} nodes with {resources.gpus_per_node} GPUs",
        ids=IDS,
        note=shlex.quote(f"{IDS}/{step.name}"),
        name=step.name,
        read=read,
        workers=format_sbatch_command(workers, known),
        gate=format_sbatch_command(gate, {WORKERS_PLACEHOLDER: "$workers"}),
    )


def format_sbatch_command(job: Job, known: dict[str, str]) -> str:
    """Format the sbatch command of a job, one argument per line, with ids from shell variables."""
    arguments = SlurmBackend().command(job)
    own = [
        f"./{script_file().name}" if argument == str(script_file()) else argument
        for argument in arguments
    ]
    lines = []
    for argument in ["sbatch", "--parsable", *own[1:]]:
        quoted = shlex.quote(argument)
        for placeholder, variable in known.items():
            # Closes and reopens the single quotes that shlex puts around the whole argument.
            quoted = quoted.replace(placeholder, f"'\"{variable}\"'")
        lines.append(quoted)
    return " \\\n    ".join(lines)


def format_readme(command_line: CommandLine, rows: list[str]) -> str:
    """Format the README of the folder."""
    overrides = {key: value for key, value in command_line.overrides.items() if key != "render"}
    return README.format(
        recipe=Path(command_line.recipe).stem,
        line=format_launch_command(overrides),
        ids=IDS,
        work=command_line.work,
        rows="\n".join(rows),
    )
