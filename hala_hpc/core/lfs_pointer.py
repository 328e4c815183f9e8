"""Pointers of Git LFS: short texts in the place of files that a clone did not fetch."""

from pathlib import Path

#: First bytes of a pointer.
LFS_START = b"version https://git-lfs.github.com/spec/"
#: What helps, for messages.
LFS_FIX = "run `git lfs pull` in its repository, or fetch it with `hf download`"


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a pointer; false if it cannot be read."""
    try:
        with path.open("rb") as opened:
            return opened.read(len(LFS_START)) == LFS_START
    except OSError:
        return False
