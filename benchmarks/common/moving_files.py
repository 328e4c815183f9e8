"""Read folders in which other processes rename and remove files."""

import contextlib
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
#: A file is removed a few times a second; one read takes milliseconds.
TRIES = 50


def retry_if_moved(read: Callable[[], Result]) -> Result:
    """Return what `look` finds; try again if a file is removed between listing and reading.

    Before Python 3.13 a listing raises if a folder is removed meanwhile; no version reports what
    was renamed meanwhile. Raises: FileNotFoundError if every try fails.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(FileNotFoundError):
            return read()
    return read()
