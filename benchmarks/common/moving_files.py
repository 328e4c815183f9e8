"""Looks into folders in which others rename and remove files meanwhile."""

import contextlib
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
#: Something goes away a few times a second; one look takes milliseconds.
TRIES = 50


def retry_if_moved(read: Callable[[], Result]) -> Result:
    """What a look finds; begun anew when something went away between its name and its content.

    A listing of Python before 3.13 raises when a folder goes while it is walked, and none tells
    what was renamed behind its back. Raises FileNotFoundError when every try met with that.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(FileNotFoundError):
            return read()
    return read()
