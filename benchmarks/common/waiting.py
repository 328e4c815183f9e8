"""Waiting with a deadline: a wait that ends in vain says what it waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
#: Seconds after which something that should have happened is taken for a deadlock. Long beside
#: what anything takes on a machine that four other processes keep busy; nothing waits it out
#: where all is well.
WAIT_S = 200.0


def wait_until(
    condition: Callable[[], Value],
    what: str,
    limit_s: float = WAIT_S,
    pause_s: float = 0.05,
    state: Callable[[], object] | None = None,
) -> Value:
    """Look again and again until something true is seen, and return it.

    Raises TimeoutError, which names `what`, the seconds, and what `state` returns, if that is
    given, e.g. the text of the queue.
    """
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            details = f"; {state()}" if state else ""
            raise TimeoutError(f"not in {limit_s:g} s: {what}{details}")
        time.sleep(pause_s)
    return value
