"""A cell of the campaign: one file of a copy of a finished run, in one state, with one damage."""

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.damages.actions import Damage, remove


class State(StrEnum):
    """Progress of a node when it is damaged."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    """Its unit 0 and the collected output are missing."""
    UNCOLLECTED = "uncollected"
    """All units exist, and the collected output is missing."""


@dataclass(frozen=True)
class Harm:
    """A damage and its place: `mine/config.json` of the node `mine`, `run.json` of the run."""

    path: str
    damage: Damage


@dataclass(frozen=True)
class Cell:
    """States of some nodes, and the damages applied then."""

    harms: tuple[Harm, ...]
    states: tuple[tuple[str, State], ...] = ()
    """Nodes that are not finished, and their progress."""

    @property
    def name(self) -> str:
        """Name for messages and `--only`."""
        harms = " and ".join(f"{harm.path} {harm.damage.name}" for harm in self.harms)
        states = ", ".join(f"{node} {state}" for node, state in self.states)
        return f"{harms} ({states or 'all finished'})"

    @property
    def must_drop_rights(self) -> bool:
        """Whether commands run without root rights."""
        return any(harm.damage.must_drop_rights for harm in self.harms)

    def befall(self, work: Path) -> bool:
        """Bring a copy of the finished run to this state and damage it.

        False if there is nothing to damage; the copy is of no use then.
        """
        for node, state in self.states:
            set_back(folder_of(work, node), state)
        for harm in self.harms:
            path = find_path(work, harm.path)
            write_sound_content(path)
            if harm.damage.needs_file and not (path.is_file() and path.stat().st_size):
                return False
            if harm.damage.must_drop_rights and (path.is_symlink() or not path.exists()):
                return False
            harm.damage.act(path)
        return True


def folder_of(work: Path, node: str) -> Path:
    """Return the folder of a node."""
    [folder] = [path for path in work.glob(f"{node}-*") if ".damaged-" not in path.name]
    return folder


def find_path(work: Path, path: str) -> Path:
    """Return the path of a harm in a work folder."""
    first, _, rest = path.partition("/")
    nodes = {folder.name.rpartition("-")[0]: folder for folder in work.glob("*-*/")}
    return nodes[first] / rest if first in nodes else work / path


def set_back(folder: Path, state: State) -> None:
    """Remove results of a finished node to reach a state."""
    lost = ["summary.json", "output"]
    if state is State.UNFINISHED:
        lost += ["done/00000.json", "units/00000"]
    for name in lost:
        remove(folder / name)


def write_sound_content(path: Path) -> None:
    """Write valid content to a place that a finished node leaves empty."""
    if path.exists() or path.is_symlink() or path.parent.name == "done":
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = {
        "failure.json": '{"code": 70, "reasons": [{"text": "it broke"}]}',
        "feed.json": '{"nodes": []}',
    }
    if path.suffix == ".json":
        path.write_text(sound.get(path.name, "{}"))
    elif path.suffix == ".jsonl":
        path.write_text('{"index": 0}\n')
    elif not path.suffix:
        path.mkdir()


def copy_of(work: Path, place: Path) -> Path:
    """Copy a work folder; symbolic links and hard links stay links."""
    shutil.rmtree(place, ignore_errors=True)
    known: dict[int, str] = {}

    def copy(source: str, goal: str) -> str:
        number = Path(source).stat(follow_symlinks=False).st_ino
        if number in known:
            Path(goal).hardlink_to(known[number])
            return goal
        known[number] = goal
        return str(shutil.copy2(source, goal, follow_symlinks=False))

    return Path(shutil.copytree(work, place, symlinks=True, copy_function=copy))
