"""The page of a rehearsal: `python -m hala_hpc.rehearsal work=runs/hala`.

Says what a run with rehearse=true has shown so far: what works, what is rejected and why, with
samples, how fast it is, what the full run will take, and what to change before it. Writes
`rehearsal.html` and `rehearsal.md` into the work folder. Ends with 65 where something must be
changed first, and with 75 while nodes are missing.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import sys
from collections.abc import Sequence

from hala_hpc.commands.arguments import named_run, read_words
from hala_hpc.commands.command_line import read_line, report_mistakes
from hala_hpc.core.errors import OK, UserError
from hala_hpc.core.run import read_run, work_folder

WORDS = {
    "work": "folder of a run (default: runs/<recipe>)",
    "recipe": "recipe whose run is meant, where work is not given",
}


def rehearsal(arguments: Sequence[str]) -> int:
    """Write the page and print its head. Raises UserError where nothing was rehearsed."""
    words = read_words(arguments, str(__doc__), WORDS)
    if words is None:
        return OK
    run = read_run(work_folder(named_run(words)))
    if run.words.get("rehearse") != "true":
        raise UserError(
            f"the newest line of {run.work} is no rehearsal: give it again with rehearse=true"
        )
    from hala_hpc.commands.rehearsing.page import write_page

    given = {key: value for key, value in run.words.items() if key not in ("render", "confirm")}
    return write_page(read_line([f"{key}={value}" for key, value in given.items()]))


def main() -> None:
    """Command line of rehearsal."""
    sys.exit(report_mistakes(rehearsal, sys.argv[1:]))


if __name__ == "__main__":
    main()
