"""Write the pages of docs/reference/ from the code: `python docs/reference_pages.py [check]`.

With `check` nothing is written; the exit code is 1 if a page is not current, and its name is
printed. The pages are in the repository, so that they are read on the forge as well as in the site.
"""

import sys
from pathlib import Path

from reference_classes import exit_code_page, failure_page, record_page
from reference_commands import command_page
from reference_settings import launcher_page, resources_page, stage_page

from hala_hpc.core.files import write_text
from hala_hpc.core.stage_registry import stage_names

FOLDER = Path(__file__).with_name("reference")


def make_pages() -> dict[str, str]:
    """Every page by its name."""
    pages = {
        "commands.md": command_page(),
        "launchers.md": launcher_page(),
        "resources.md": resources_page(),
        "exit-codes.md": exit_code_page(),
        "failure-classes.md": failure_page(),
        "records.md": record_page(),
    }
    return pages | {f"stage-{name}.md": stage_page(name) for name in stage_names()}


def main() -> None:
    """Write the pages again and remove those of stages that are gone, or report what is old."""
    pages = make_pages()
    there = {path.name: path for path in FOLDER.glob("*.md")}
    stale = sorted(set(there) - set(pages))
    old = [
        name
        for name, text in pages.items()
        if name not in there or there[name].read_text(encoding="utf-8") != text
    ]
    if sys.argv[1:] == ["check"]:
        print("\n".join(stale + old))
        sys.exit(bool(stale + old))
    for name in stale:
        there[name].unlink()
    for name in old:
        write_text(FOLDER / name, pages[name])


if __name__ == "__main__":
    main()
