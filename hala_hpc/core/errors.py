"""Mistakes of the user, each with its text and exit code (after sysexits.h)."""

from collections.abc import Sequence

OK = 0
USAGE = 64
BAD_DATA = 65
NO_INPUT = 66
UNAVAILABLE = 69
INTERNAL = 70
CANNOT_CREATE = 73
RETRY = 75
CONFIG = 78


class UserError(Exception):
    """A mistake that the user can mend: names the word, the value and the cure.

    `code` is the exit status; `mistakes` holds one line for each thing that is wrong.
    """

    def __init__(self, message: str | Sequence[str], code: int = USAGE) -> None:
        self.mistakes = [message] if isinstance(message, str) else list(message)
        self.code = code
        super().__init__("\n".join(self.mistakes))


class Retry(Exception):
    """This attempt cannot go on but another may: the worker leaves with code 75."""


class NoRoom(Exception):
    """The cluster takes no more jobs of this user now, or no array of this size."""


def closest(word: str, valid: Sequence[str], kind: str) -> str:
    """Say which valid word was probably meant, or list them all."""
    from difflib import get_close_matches

    near = get_close_matches(word, valid, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"{kind} are: {', '.join(sorted(valid)) or 'none'}"
