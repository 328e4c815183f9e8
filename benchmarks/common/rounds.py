"""Repeat rounds until there are enough results; stop after rounds without a new one."""

from collections.abc import Callable

#: Maximum consecutive rounds without a new result.
IDLE_ROUNDS = 3


def repeat_until(
    enough: int, count: Callable[[], int], one_round: Callable[[], object], what: str
) -> None:
    """Repeat a round until `count` returns at least `enough`.

    Raises: RuntimeError, with `what` and their number, after `IDLE_ROUNDS` consecutive rounds
    without a new one.
    """
    idle = 0
    while (before := count()) < enough:
        one_round()
        idle = 0 if count() > before else idle + 1
        if idle == IDLE_ROUNDS:
            raise RuntimeError(
                f"{IDLE_ROUNDS} rounds in a row without a new result: {before} of {enough} {what}"
            )
