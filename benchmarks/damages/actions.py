"""Damages of a file or a folder: truncated, emptied, removed, foreign, of another kind."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Changed in place, so that every hard link of the file has the damage.
FLIPPED_BITS = 0x55


@dataclass(frozen=True)
class Damage:
    """A kind of damage with its name."""

    name: str
    act: Callable[[Path], None]
    needs_file: bool = False
    """Whether it needs an existing file that is not empty."""
    must_drop_rights: bool = False
    """Whether commands run without root rights, which allow reading everything."""


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put(data: bytes) -> Callable[[Path], None]:
    """Return a damage that leaves a file with these bytes."""

    def act(path: Path) -> None:
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return act


def cut(path: Path) -> None:
    """Keep the first half. The file keeps its inode: its other hard links have the damage, too."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Keep nothing, in the same way as `cut`."""
    if path.is_file():
        os.truncate(path, 0)
    else:
        put(b"")(path)


def zeros(path: Path) -> None:
    """Replace all bytes by zeros, as a crash of a file system does."""
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    """Change two bytes; the size stays the same."""
    data = bytearray(path.read_bytes())
    for place in (len(data) // 3, len(data) // 2):
        data[place] ^= FLIPPED_BITS
    path.write_bytes(data)


def lengthen(path: Path) -> None:
    """Append text after the end."""
    with path.open("ab") as file:
        file.write(b"}\n")


def more_keys(path: Path) -> None:
    """Add a key of a later version to a record."""
    put(json.dumps({**values_of(path), "of_a_later_version": [1]}).encode())(path)


def fewer_keys(path: Path) -> None:
    """Keep only the first key of a record."""
    put(json.dumps(dict(list(values_of(path).items())[:1])).encode())(path)


def values_of(path: Path) -> dict[str, Any]:
    """Return the existing record; an empty one if there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def make_folder(path: Path) -> None:
    """Replace it by a folder."""
    remove(path)
    path.mkdir(parents=True)


def make_pipe(path: Path) -> None:
    """Replace it by a named pipe: opening it blocks for ever."""
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def link_to_nothing(path: Path) -> None:
    """Replace it by a link to a missing file."""
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.parent / "nothing-is-here")


def link_to_itself(path: Path) -> None:
    """Replace it by a link to its own name."""
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path.name)


def close(path: Path) -> None:
    """Remove all permissions."""
    path.chmod(0)


def open_to_all(path: Path) -> None:
    """Make it world-writable; it is created if missing."""
    if not path.exists():
        put(b"{}")(path)
    path.chmod(0o777 if path.is_dir() else 0o666)


def almost_right_names(path: Path) -> None:
    """Put files with similar names beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in (f"{path.name}.bak", f"{path.stem}x{path.suffix}", f"0x{path.suffix}", "7.json"):
        path.with_name(name).write_text("{}")


GONE = Damage("missing", remove)
EMPTY = Damage("empty", empty)
CUT = Damage("cut", cut, needs_file=True)
ZEROS = Damage("zeros", zeros, needs_file=True)
FLIPPED = Damage("two bytes changed", flip, needs_file=True)
LONGER = Damage("longer", lengthen, needs_file=True)
FOLDER = Damage("a folder", make_folder)
PIPE = Damage("a pipe", make_pipe)
LINK = Damage("a link to nothing", link_to_nothing)
LOOP = Damage("a link to itself", link_to_itself)
CLOSED = Damage("unreadable", close, must_drop_rights=True)
OPEN = Damage("open to all", open_to_all)
NAMES = Damage("almost right names", almost_right_names)


def text(value: str) -> Damage:
    """Replace it by a file with this text."""
    return Damage(repr(value), put(value.encode()))


#: Damages of a JSON file, of a folder, of a file of rows or of a log.
OF_RECORDS = (
    *(GONE, EMPTY, CUT, ZEROS, LONGER, FOLDER, PIPE, LINK, LOOP, CLOSED, OPEN, NAMES),
    *(text("[]"), text("{}"), text("null"), text("3"), Damage("no text", put(b"\xff\xfe\x00"))),
    *(Damage("more keys", more_keys), Damage("fewer keys", fewer_keys)),
)
OF_FOLDERS = (GONE, Damage("a file", put(b"x")), PIPE, LINK, LOOP, CLOSED, OPEN, NAMES)
OF_FILES = (GONE, EMPTY, CUT, ZEROS, FLIPPED, LONGER, FOLDER, PIPE, LINK, CLOSED)
