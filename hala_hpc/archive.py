"""Pack a finished run for years: `python -m hala_hpc.archive work=runs/demo to=demo.tar.gz`.

The file holds records, recipe, launcher, logs, reports, scores of every item, cards and curves, and
MANIFEST.json with size and digest of each. Weights, corpora, units and checkpoints stay out; the
summaries list their files with digests.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import add_default_work, parse_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.core.errors import NO_INPUT, OK, UserError
from hala_hpc.core.paths import expand_path
from hala_hpc.core.run import Run, read_run, resolve_work_folder

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "to": "file to write: .tar, .tar.gz or .tar.xz",
}


def archive(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    if not overrides.get("to"):
        raise UserError("to= is missing: name the file to write, as to=demo.tar.gz")
    overrides = add_default_work(overrides)
    from hala_hpc.commands.cleaning.archive_file import check_archive_name, write_archive

    target = expand_path("to", overrides["to"]).absolute()
    check_archive_name(target)
    run = read_run(resolve_work_folder(overrides))
    require_finished(run)
    facts = write_archive(run, target)
    print(f"{target}: {facts.files} files, {facts.size_bytes / 1e6:,.1f} MB packed")
    return OK


def require_finished(run: Run) -> None:
    """Raises: UserError (NO_INPUT) naming the nodes of the run that are not done."""
    if late := [node.name for node in run.nodes if node.artifact.summary() is None]:
        raise UserError(
            f"work={run.work}: {', '.join(late)} is not done; an archive is of a finished run: "
            f"first {run.launch_command}",
            NO_INPUT,
        )


def main() -> None:
    """Command line of archive."""
    sys.exit(run_command(archive, sys.argv[1:]))


if __name__ == "__main__":
    main()
