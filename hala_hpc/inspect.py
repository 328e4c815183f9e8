"""Show what data holds before it is prepared: `python -m hala_hpc.inspect data=mine.jsonl`.

Reads the first 100,000 rows as `prepare` would, and prints files, fields, roles, languages,
lengths, what would be rejected and why, and ten rows. All settings of prepare may be given, for
example rename.question=instruction. Exits with 65 if prepare would refuse the data.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hala_hpc.commands.arguments import asks_for_help, parse_whole_number, print_arguments
from hala_hpc.commands.command_line import run_command
from hala_hpc.core.errors import BAD_DATA, OK, UserError
from hala_hpc.core.hub import fetched_folder, is_hub_id
from hala_hpc.core.node import Draft
from hala_hpc.core.overrides import apply_override, parse_overrides
from hala_hpc.core.recipe import check_settings
from hala_hpc.core.stage_registry import find_stage

if TYPE_CHECKING:
    from hala_hpc.commands.inspecting.report import DataReport

ARGUMENTS = {
    "data": "files, folders or hub ids, as in prepare",
    "limit": "rows to read (default: 100000)",
    "format": "text or json (default: text)",
}
DEFAULT_LIMIT = 100_000


def inspect_data(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes and unusable data."""
    if asks_for_help(arguments):
        print_arguments(str(__doc__), ARGUMENTS)
        return OK
    overrides = parse_overrides(list(arguments))
    settings = parse_settings(overrides)
    report = make_report(settings, settings.limit or DEFAULT_LIMIT)
    if overrides.get("format") == "json":
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        print(report.to_text())
    return BAD_DATA if report.is_refused else OK


def parse_settings(overrides: Mapping[str, str]) -> Any:
    """Return the settings of prepare. Raises: one UserError with all mistakes."""
    stage = find_stage("prepare")
    mistakes: list[str] = []
    raw: dict[str, Any] = {}
    if overrides.get("format", "text") not in ("text", "json"):
        mistakes.append(f"format={overrides['format']}: write text or json")
    if not overrides.get("data"):
        mistakes.append("data= is missing: name a file, a folder or a hub id")
    for key, text in overrides.items():
        if key == "format":
            continue
        try:
            if key == "limit":
                parse_whole_number(overrides, key)
            apply_override(stage.Settings, key, text, raw)
        except UserError as error:
            mistakes += error.mistakes
    node = None if mistakes else check_settings(Draft("prepare", stage, raw, "prepare"), mistakes)
    if node is None:
        raise UserError(mistakes)
    return node.settings


def make_report(settings: Any, limit: int) -> "DataReport":
    """Read the data. Raises: UserError if they cannot be read as any row format."""
    from hala_hpc.commands.inspecting.report import DataReport
    from hala_hpc.data.ingest.inspection import RowInspector
    from hala_hpc.data.readers.data_files import FolderContent
    from hala_hpc.data.readers.sources import find_contents, find_sources

    places = [(find_place(reference), reference) for reference in settings.data]
    contents = [find_contents(path, settings.selection, name) for path, name in places]
    content = FolderContent(
        [file for one in contents for file in one.files],
        [each for one in contents for each in one.unread],
    )
    sources = (
        source for path, name in places for source in find_sources(path, settings.selection, name)
    )
    found = RowInspector(settings.shape).inspect(sources, limit)
    if not found.rows:
        raise UserError(f"data {', '.join(settings.data)}: no rows", BAD_DATA)
    return DataReport(found, content, settings.max_rejected_fraction)


def find_place(reference: str) -> str:
    """Return the path of data, or the hub id if it was not fetched. Raises: UserError."""
    if reference.startswith("@"):
        raise UserError(f"data={reference}: give files or a hub id; @node is read by recipes only")
    if is_hub_id(reference):
        folder = fetched_folder("datasets", reference, os.environ)
        return str(folder) if folder else reference
    return str(Path(reference).expanduser())


def main() -> None:
    """Command line of inspect."""
    sys.exit(run_command(inspect_data, sys.argv[1:]))


if __name__ == "__main__":
    main()
