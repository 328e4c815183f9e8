"""Run a pipeline: `python -m hala_hpc.launch stage=translate recipe=hala launcher=slurm`.

Reads top to bottom: words -> recipe -> plan -> jobs.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hala_hpc.commands.arguments import asks_for_help
from hala_hpc.commands.command_line import Line, read_line, report_mistakes
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.damage import owner_of
from hala_hpc.core.errors import CANNOT_CREATE, CONFIG, NO_INPUT, OK, UserError
from hala_hpc.core.hub import fetch_command, hub_cache, hub_words, is_hub_off, not_fetched
from hala_hpc.core.lease import WorkLease, work_lease
from hala_hpc.core.paths import is_path
from hala_hpc.core.printable import printable
from hala_hpc.core.recipe import with_inputs
from hala_hpc.core.records import RunNodeRecord, RunRecord
from hala_hpc.core.run import run_file


def launch(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        from hala_hpc.commands.help import print_help

        print_help(arguments)
        return OK
    line = read_line(arguments)
    steps = make_plan(line.nodes, line.work)
    chosen = {name: steps[name] for name in with_inputs(line.nodes, line.chosen)}
    missing = {name: step for name, step in chosen.items() if step.state != "done"}
    check_before_jobs(line, missing)
    if line.dry_run:
        from hala_hpc.commands.planning.dry_run import print_plan

        print_plan(line, chosen)
        return OK
    hours = estimate(line, chosen)
    check_with_scheduler(line, chosen)
    make_work_folder(line.work)
    require_own_run(line.work)
    with work_lease(line.work) as lease:
        mend(line.work, chosen)
        write_run(line, chosen, hours)
        for step in chosen.values():
            if not step.artifact.config_file.exists():
                step.artifact.write_config(step.config(hours.get(step.name)))
        if not missing:
            print(f"done: all {len(chosen)} nodes in {line.work}; nothing to submit")
            return OK
        repair(missing)
        return start(line, chosen, lease)


def mend(work: Path, chosen: dict[str, Step]) -> None:
    """Put aside what is damaged, and say so.

    Raises UserError where other users could have written what jobs would be run by.
    """
    from hala_hpc.jobs.mending import mend_node, mend_work_folder, require_own_records

    lines = mend_work_folder(work)
    for step in chosen.values():
        lines += [f"{step.name}: {line}" for line in mend_node(step.artifact, step.state == "done")]
    for line in lines:
        print(printable(line))
    require_own_records([s.artifact for s in chosen.values() if s.state in ("partial", "damaged")])


def repair(missing: dict[str, Step]) -> None:
    """Let finished nodes whose files are not whole be unfinished, as far as they are not whole."""
    for step in missing.values():
        if step.state == "damaged":
            from hala_hpc.jobs.repair import forget_broken_units, forget_node

            print(f"{step.name}: {step.because}: what is not whole is made again")
            forget_broken_units(step.artifact, step.units)
            forget_node(step.artifact)


def check_before_jobs(line: Line, missing: dict[str, Step]) -> None:
    """Everything that can be found wrong before a GPU is asked for, all at once."""
    problems: list[str] = []
    code = CONFIG
    for step in missing.values():
        try:
            problems += [f"{step.name}: {text}" for text in step.stage().preflight()]
        except UserError as error:
            problems += [f"{step.name}: {text}" for text in error.mistakes]
            code = error.code
    if not line.dry_run and missing:
        problems += line.launcher.python_problems(
            {step.node.stage.env for step in missing.values()} | {"main"}
        )
    if problems:
        raise UserError(problems, code)
    if not line.dry_run:
        require_fetched(line, missing)


def check_with_scheduler(line: Line, chosen: dict[str, Step]) -> None:
    """Raise UserError when nothing can be submitted from here, or the scheduler would refuse it."""
    missing = [step for step in chosen.values() if step.state != "done"]
    if line.launcher.backend == "slurm" and missing:
        from hala_hpc.backends.slurm.backend import SlurmBackend
        from hala_hpc.commands.planning.run_slurm import require_accepted

        require_slurm(SlurmBackend().preflight())
        if not run_file(line.work).exists():
            heed_doctor(line, chosen)
        require_accepted(line, missing)


def heed_doctor(line: Line, chosen: dict[str, Step]) -> None:
    """Before the first submission: tell what the doctor doubts.

    Raises UserError for what would make the run fail.
    """
    from hala_hpc.doctor.examine import cheap_findings

    found = cheap_findings(line, chosen)
    for one in found:
        if one.state == "warn":
            print(f"warning: {one.told}", file=sys.stderr)
    if bad := [one.told for one in found if one.state == "bad"]:
        raise UserError(bad, CONFIG)


def require_fetched(line: Line, missing: dict[str, Step]) -> None:
    """Compute nodes work offline: models and data sets of the hub must be on the disk."""
    environment = {**os.environ, **line.launcher.environment}
    words = not_fetched(hub_words(s.node.settings for s in missing.values()), environment)
    if words and is_hub_off(environment, default=True):
        raise UserError(
            [
                f"{name} is not in the hub cache {hub_cache(environment)}, and jobs work offline: "
                f"run `{fetch_command(kind, name)}`"
                for kind, name in words
            ],
            NO_INPUT,
        )


def require_slurm(problems: list[str]) -> None:
    """Raise UserError when nothing can be submitted from here."""
    from hala_hpc.core.errors import UNAVAILABLE

    if problems:
        raise UserError(problems, UNAVAILABLE)


def estimate(line: Line, chosen: dict[str, Step]) -> dict[str, float | None]:
    """GPU hours that each node takes in all, where a scheduler counts them.

    Raises UserError when they are more than may be submitted without a word.
    """
    if line.launcher.backend == "local":
        return {}
    from hala_hpc.commands.planning.affordable import require_affordable
    from hala_hpc.commands.planning.cost import costs

    found = costs(chosen, line.launcher.environment)
    require_affordable(line, found)
    return {name: cost.whole for name, cost in found.items()}


def make_work_folder(work: Path) -> None:
    """Make the work folder and prove that it can be written."""
    probe = work / f".probe-{os.getpid()}"
    try:
        work.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"work={work} cannot be written: {error.strerror}; name another folder with work=...",
            CANNOT_CREATE,
        ) from None


def require_own_run(work: Path) -> None:
    """Raise UserError where the run of a folder is that of another user.

    Its owner could not read what is written here, nor this user what he writes.
    """
    owner = owner_of(run_file(work))
    if owner not in (None, os.geteuid()):
        raise UserError(
            f"work={work} holds a run of another user (number {owner}): name a folder of your own",
            CANNOT_CREATE,
        )


def write_run(line: Line, chosen: dict[str, Step], hours: dict[str, float | None]) -> None:
    """Note what this line means, for `status`, and make the links of the run."""
    RunRecord(
        words=with_absolute_files(line.words),
        recipe=str(Path(line.recipe).absolute()),
        launcher=line.launcher.name,
        time=time.time(),
        budget_gpu_hours=line.launcher.budget_gpu_hours,
        nodes=tuple(
            RunNodeRecord(
                name=s.name,
                stage=s.node.stage.name,
                units=s.units,
                artifact=s.artifact.folder.name,
                gpu_hours=hours.get(s.name),
            )
            for s in chosen.values()
        ),
    ).write(run_file(line.work))
    links = line.work / "latest"
    links.mkdir(exist_ok=True)
    for step in chosen.values():
        temporary = links / f".{step.name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("..") / step.artifact.folder.name)
        temporary.replace(links / step.name)


def with_absolute_files(words: dict[str, str]) -> dict[str, str]:
    """The words of a line, so that it can be given from any folder."""
    files = {word: words[word] for word in ("recipe", "launcher") if is_path(words.get(word, ""))}
    return {
        **words,
        **{word: str(Path(name).expanduser().absolute()) for word, name in files.items()},
    }


def start(line: Line, chosen: dict[str, Step], lease: WorkLease) -> int:
    """Run the missing nodes here, or submit them, each waiting for the gates of its inputs."""
    if line.launcher.backend == "local":
        from hala_hpc.commands.planning.run_local import run_steps
    else:
        from hala_hpc.commands.planning.run_slurm import submit_steps as run_steps
    return run_steps(line, chosen, lease)


def main() -> None:
    """Console script: run the line, print mistakes, exit with their code."""
    sys.exit(report_mistakes(launch, sys.argv[1:]))


if __name__ == "__main__":
    main()
