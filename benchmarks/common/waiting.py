"""Wait with a deadline; the error names what did not happen."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
#: Seconds after which a wait counts as a deadlock. Much longer than anything takes on a machine
#: with four other busy processes; a wait that succeeds ends at once.
WAIT_S = 200.0


def wait_until(
    condition: Callable[[], Value],
    what: str,
    limit_s: float = WAIT_S,
    pause_s: float = 0.05,
    state: Callable[[], object] | None = None,
) -> Value:
    """Poll until a true value is returned, and return it.

    Raises: TimeoutError with `what`, the seconds, and the result of `state` if given, e.g. the text
    of the queue.
    """
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            details = f"; {state()}" if state else ""
            raise TimeoutError(f"not in {limit_s:g} s: {what}{details}")
        time.sleep(pause_s)
    return value
