"""Atomic file operations: a file is written whole or not at all."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4


@contextlib.contextmanager
def atomic_file(path: Path, require: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; if the block succeeds, rename it to `path`.

    The content is on the disk before the name is. `require` is called between the two; if it
    raises, there is no file. Raises OSError as the file system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        fsync_path(temporary)
        require()
        temporary.replace(path)
        fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def run_on_success(stack: contextlib.ExitStack, work: Callable[[], object]) -> None:
    """Let a stack call `work` first if its block ends without an error, e.g. to flush a buffer.

    If `work` fails, the stack unwinds as after an error in its block.
    """

    def finish(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            work()

    stack.push(finish)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, over an older one.

    Repeated once if its temporary file vanishes: closing a node removes files that others left.
    """
    try:
        write_text_once(path, text)
    except FileNotFoundError:
        write_text_once(path, text)


def write_text_once(path: Path, text: str) -> None:
    """As `write_text`. Raises FileNotFoundError if another process removes the temporary file."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all, over an older one."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def claim_text(path: Path, text: str) -> bool:
    """Write a text file unless it exists; True if this call wrote it.

    The first writer wins on any POSIX file system: `link` fails when the name is taken.
    """
    try:
        return claim_text_once(path, text)
    except FileNotFoundError:
        return claim_text_once(path, text)


def claim_text_once(path: Path, text: str) -> bool:
    """As `claim_text`. Raises FileNotFoundError if another process removes the temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        fsync_path(temporary)
        os.link(temporary, path)
    except FileExistsError:
        # NFS may repeat a link that had succeeded: two names on our inode mean that we won.
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(path.parent)
    return True


def claim_folder(temporary: Path, path: Path) -> bool:
    """Rename a finished folder to its final name unless that is taken; True if this call did.

    Every file in it is on the disk before the name is.
    """
    for file in sorted(temporary.rglob("*")):
        fsync_path(file)
    fsync_path(temporary)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.rename(path)
    except OSError:
        if path.is_dir():
            return False
        raise
    fsync_path(path.parent)
    return True


def link_tree(source: Path, target: Path) -> None:
    """Hard-link every file under `source` to `target`, at the same path (a copy if links fail)."""
    for file in sorted(source.rglob("*")):
        if not file.is_file():
            continue
        name = target / file.relative_to(source)
        name.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, name)
        except OSError:
            shutil.copy2(file, name)


def read_json(path: Path) -> Any:
    """Read a JSON file; None if there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def fsync_path(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
