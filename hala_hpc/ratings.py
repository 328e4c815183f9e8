"""Let people rate outputs blindly: `python -m hala_hpc.ratings export work=runs/demo node=scores`.

`export` chooses a sample of the translations or answers of two or more systems, and writes it as a
page for a browser without a network, as a table for a spreadsheet, and as a campaign of Pearmut. No
rater sees which system made what. `import` takes back what raters returned, also partly filled:
`python -m hala_hpc.ratings import work=runs/demo data=ratings-….json,form-maryam.csv`. It prints
how far the raters agree, then how often a system wins; the page of the run shows it as well.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Mapping, Sequence

from hala_hpc.commands.arguments import (
    add_default_work,
    asks_for_help,
    parse_arguments,
    parse_whole_number,
)
from hala_hpc.commands.command_line import run_command
from hala_hpc.core.errors import OK, UserError, suggest_name
from hala_hpc.core.run import read_run, resolve_work_folder

ACTIONS = ("export", "import")
#: Defaults of the numbers of an export.
COUNTS = {"items": 50, "attention": 5, "raters": 3, "seed": 1}
ARGUMENTS = {
    "work": "folder of a run (default: the one around this folder, else runs/<recipe>)",
    "recipe": "recipe of the run, if work is not given",
    "name": "folder of the rating in <work>/ratings (default: that of node, or the only one)",
    "node": "export: an evaluate node with translations, or several translate nodes of one corpus",
    "data": "export: a file of JSON lines with source and outputs by system, in the place of node; "
    "import: files that raters returned, with commas",
    "systems": "export: the systems to compare, with commas (default: all)",
    "items": "export: items to rate (default: 50)",
    "attention": "export: items more whose best output is known (default: 5)",
    "raters": "export: raters in the campaign of Pearmut (default: 3)",
    "seed": "export: seed of the sample (default: 1)",
    "language": "export: language of the forms, en or ar (default: that of the outputs)",
}


def ratings(arguments: Sequence[str]) -> int:
    """Export a sample, or import ratings."""
    if asks_for_help(arguments):
        parse_arguments(arguments, str(__doc__), ARGUMENTS)
        return OK
    action = arguments[0] if arguments else ""
    if action not in ACTIONS:
        hint = suggest_name(action, list(ACTIONS), "actions") if action else "none is given"
        raise UserError(f"write {' or '.join(ACTIONS)} first, then the arguments: {hint}")
    given = parse_arguments(arguments[1:], str(__doc__), ARGUMENTS)
    assert given is not None
    from hala_hpc.commands.rating_actions import ExportRequest, export_ratings, take_ratings

    run = read_run(resolve_work_folder(add_default_work(given)))
    if action == "import":
        refuse_export_arguments(given)
        return take_ratings(run, given.get("name", ""), split_list(given, "data"))
    request = ExportRequest(
        nodes=split_list(given, "node"),
        systems=split_list(given, "systems"),
        name=given.get("name", ""),
        data=given.get("data", ""),
        language=given.get("language", ""),
        items=read_export_number(given, "items"),
        attention=read_export_number(given, "attention"),
        raters=read_export_number(given, "raters"),
        seed=read_export_number(given, "seed"),
    )
    return export_ratings(run, request)


def read_export_number(given: Mapping[str, str], key: str) -> int:
    """A number of an export. Raises: UserError if there is nothing to rate, or nobody to do it."""
    found = parse_whole_number(given, key, COUNTS[key])
    assert found is not None
    if key in ("items", "raters") and not found:
        raise UserError(f"{key}=0: write 1 or more")
    return found


def refuse_export_arguments(given: Mapping[str, str]) -> None:
    """Raise UserError for arguments that an import would ignore."""
    allowed = ("work", "recipe", "name", "data")
    if others := [f"{key}={value}" for key, value in given.items() if key not in allowed]:
        raise UserError(
            f"{', '.join(others)}: of export only; an import takes {', '.join(allowed)}"
        )


def split_list(given: Mapping[str, str], key: str) -> list[str]:
    """The parts of an argument with commas."""
    return [part.strip() for part in given.get(key, "").split(",") if part.strip()]


def main() -> None:
    """Command line of ratings."""
    sys.exit(run_command(ratings, sys.argv[1:]))


if __name__ == "__main__":
    main()
