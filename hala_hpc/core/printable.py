"""Text of others, as paths, fit to be printed: nothing in it that a terminal obeys."""

import shlex
import unicodedata

#: Letters that turn the direction of what follows, so that a name is read as another.
TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Letters of a text that are shown before it is cut.
SHOWN_LETTERS = 8000


def printable(text: object) -> str:
    """The text with its control characters as escapes, e.g. `\\x1b`, and cut where it is long."""
    told = str(text)
    shown = "".join(escaped(one) if is_control(one) else one for one in told[:SHOWN_LETTERS])
    more = len(told) - SHOWN_LETTERS
    return f"{shown}... ({more} more letters)" if more > 0 else shown


def command(name: str, *words: str) -> str:
    """`python -m hala_hpc.<name> <words>` as a shell reads it back, whatever is in the words."""
    return shlex.join(["python", "-m", f"hala_hpc.{name}", *words])


def has_controls(text: str) -> bool:
    """Whether a text holds control characters, line breaks and tabs included."""
    return any(map(is_control, text))


def is_control(letter: str) -> bool:
    """Whether a terminal may obey a character, or it is no character at all."""
    return letter in TURNS or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def escaped(letter: str) -> str:
    """A character as an escape."""
    return letter.encode("unicode_escape", "surrogatepass").decode()
