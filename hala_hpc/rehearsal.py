"""Write the page of a rehearsal: `python -m hala_hpc.rehearsal work=runs/hala`.

Shows the results of a run with rehearse=true so far: what works, what is rejected and why, with
samples. Also its speed, the estimate of the full run, and what to change before that. Writes
`rehearsal.html` and `rehearsal.md` into the work folder. Exits with 65 if something must be changed
first, and with 75 while nodes are missing.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import add_default_work, parse_arguments
from hala_hpc.commands.command_line import parse_command_line, run_command
from hala_hpc.core.errors import OK, UserError
from hala_hpc.core.run import read_run, resolve_work_folder

ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
}


def rehearsal(arguments: Sequence[str]) -> int:
    """Write the page and print its head. Raises: UserError if nothing was rehearsed."""
    overrides = parse_arguments(arguments, str(__doc__), ARGUMENTS)
    if overrides is None:
        return OK
    run = read_run(resolve_work_folder(add_default_work(overrides)))
    if run.overrides.get("rehearse") != "true":
        raise UserError(
            f"the newest launch of {run.work} is not a rehearsal: launch again with rehearse=true"
        )
    from hala_hpc.commands.rehearsing.rehearsal_page import write_rehearsal_page

    given = {key: value for key, value in run.overrides.items() if key not in ("render", "confirm")}
    return write_rehearsal_page(
        parse_command_line([f"{key}={value}" for key, value in given.items()])
    )


def main() -> None:
    """Command line of rehearsal."""
    sys.exit(run_command(rehearsal, sys.argv[1:]))


if __name__ == "__main__":
    main()
