"""The work folder in which a command is given: the folder itself, or one of those above it.

A work folder is recognised by its own files, and so is every folder between it and the folder of
the command: a clone or a folder of notes kept inside a work folder is not part of the run.
The standard library alone: completion of a line asks this too.
"""

import os
import pwd
import shlex
from dataclasses import dataclass
from pathlib import Path

from hala_hpc.core.errors import UserError
from hala_hpc.core.fingerprint import is_fingerprint
from hala_hpc.core.printable import escape_controls

#: Written by every launch.
RUN_FILE, LINKS, NODE_FILE = "run.json", "latest", "config.json"
#: What a work folder holds beside the folders of its nodes.
PARTS = (LINKS, "code", "cache")


@dataclass(frozen=True)
class EnclosingRun:
    """The work folder around a folder."""

    work: Path
    inside: Path
    """Where the command is given, from the work folder."""
    owner: int
    """Number of the user whose run it is."""

    @property
    def is_own(self) -> bool:
        """Whether it is a run of the user who gives the command."""
        return self.owner == os.geteuid()

    @property
    def message(self) -> str:
        """The line that a command begins with."""
        place = f"around {self.inside}" if self.inside.parts else "the folder of this command"
        owner = "" if self.is_own else f"; it belongs to {format_user(self.owner)}"
        return (
            f"work {escape_controls(shlex.quote(str(self.work)))} ({escape_controls(place)}{owner})"
        )

    def require_own(self) -> None:
        """Raise UserError if it belongs to another user: such a run must be named."""
        if not self.is_own:
            raise UserError(
                f"the work folder {self.work} around this folder belongs to "
                f"{format_user(self.owner)}: name it with work=... where it is meant"
            )


def find_enclosing_run() -> EnclosingRun | None:
    """The work folder in which the command is given; None outside of any."""
    try:
        here = Path.cwd()
    except OSError:
        # It was removed.
        return None
    for folder in (here, *here.parents):
        if not holds_run(folder):
            continue
        inside = here.relative_to(folder)
        if inside.parts and not is_run_folder(folder / inside.parts[0]):
            return None
        return EnclosingRun(folder, inside, find_run_owner(folder))
    return None


def holds_run(folder: Path) -> bool:
    """Whether a launch has worked in a folder: other programs write a `run.json`, too."""
    try:
        return os.path.lexists(folder / RUN_FILE) and (
            (folder / LINKS).is_dir() or any(folder.glob(f"*/{NODE_FILE}"))
        )
    except OSError:
        return False


def is_run_folder(folder: Path) -> bool:
    """Whether a folder in a work folder is the run's: that of a node, or one beside them."""
    return folder.name in PARTS or is_fingerprint(folder.name.rpartition("-")[2])


def find_run_owner(work: Path) -> int:
    """Who owns a run: of its folder and its newest line, one that is another user's first."""
    owners = {path.lstat().st_uid for path in (work, work / RUN_FILE)}
    return max(owners, key=lambda owner: owner != os.geteuid())


def format_user(number: int) -> str:
    """The name of a user; the number where it is not known here."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
