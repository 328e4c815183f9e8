"""Rounds until there is as much as was asked for; those that bring nothing new come to an end."""

from collections.abc import Callable

#: Rounds in a row that may bring nothing new.
IDLE_ROUNDS = 3


def repeat_until(
    enough: int, count: Callable[[], int], one_round: Callable[[], object], what: str
) -> None:
    """Make rounds until `count` says that there are enough.

    Raises RuntimeError, which names `what` and how many there are, after `IDLE_ROUNDS` in a row
    that brought nothing new.
    """
    idle = 0
    while (before := count()) < enough:
        one_round()
        idle = 0 if count() > before else idle + 1
        if idle == IDLE_ROUNDS:
            raise RuntimeError(
                f"{IDLE_ROUNDS} rounds in a row brought nothing new: {before} of {enough} {what}"
            )
