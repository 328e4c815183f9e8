"""Make text of others, e.g. paths, safe to print: no control characters for the terminal."""

import shlex
import unicodedata

#: Characters that change the direction of the text after them, so that a name reads as another.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
#: Characters of a text that are printed before it is cut.
MAX_PRINTED_CHARACTERS = 8000


def escape_controls(text: object) -> str:
    """The text with its control characters escaped, e.g. `\\x1b`, and cut if it is long."""
    original = str(text)
    visible = "".join(
        escape_character(one) if is_control_character(one) else one
        for one in original[:MAX_PRINTED_CHARACTERS]
    )
    more = len(original) - MAX_PRINTED_CHARACTERS
    return f"{visible}... ({more} more characters)" if more > 0 else visible


def format_command(name: str, *arguments: str) -> str:
    """`python -m hala_hpc.<name> <arguments>`, quoted for a shell."""
    return shlex.join(["python", "-m", f"hala_hpc.{name}", *arguments])


def has_controls(text: str) -> bool:
    """Whether a text holds control characters, line breaks and tabs included."""
    return any(map(is_control_character, text))


def is_control_character(letter: str) -> bool:
    """Whether a character may control a terminal, or is not a valid character."""
    return letter in BIDI_CONTROLS or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def escape_character(letter: str) -> str:
    """A character as an escape sequence."""
    return letter.encode("unicode_escape", "surrogatepass").decode()
