"""Make texts of models and data harmless: no invisible character, no markup, no formula.

A page, a table of Markdown or LaTeX and a table for spreadsheets each have characters with an
effect. Here they are shown instead.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hala_hpc.core.printable import escape_character, is_control_character

if TYPE_CHECKING:
    from markupsafe import Markup

#: Characters of a text on the page; the rest is counted.
MAX_TEXT_CHARACTERS = 2000
#: Characters of a name in a drawing.
MAX_LABEL_CHARACTERS = 28
#: Code points that are no characters, and that XML does not allow.
NO_CHARACTERS = frozenset("\ufffe\uffff")
#: Where a spreadsheet takes a cell for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "±": r"$\pm$",
    "–": "--",
}


def show_invisible(text: str) -> str:
    r"""Replace what has no shape by its escape sequence, e.g. `\x00`; line breaks and tabs stay.

    Characters that change the direction of what follows are among them: an unmatched one would end
    the isolation of its own cell.
    """
    return "".join(map(visible_character, text.replace("\r\n", "\n")))


def visible_character(character: str) -> str:
    """A character, or the escape sequence of one without a shape."""
    if character in "\n\t" or not (is_control_character(character) or character in NO_CHARACTERS):
        return character
    return escape_character(character)


def shorten_text(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Truncate a text and count what it had; unchanged up to the limit."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text):,} characters)"


def clean_text(text: str) -> str:
    """A text as the page shows it: short enough, and with nothing invisible."""
    return show_invisible(shorten_text(text))


def clean_label(text: str) -> str:
    """A name as a drawing shows it: on one line, with at most `MAX_LABEL_CHARACTERS`."""
    line = " ".join(show_invisible(text[: 4 * MAX_LABEL_CHARACTERS]).split())
    if len(line) <= MAX_LABEL_CHARACTERS:
        return line
    return f"{line[: MAX_LABEL_CHARACTERS - 1]}…"


def format_sentence(form: str, *names: str) -> "Markup":
    """A sentence as markup: each `{}` of the form is a text of its own direction.

    Without that, a name from right to left would reorder the numbers behind it.
    """
    from markupsafe import Markup

    # The form is ours; `format` escapes the names.
    return Markup(form.replace("{}", "<bdi>{}</bdi>")).format(*map(clean_text, names))  # noqa: S704


def format_markdown_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table with escaped cells."""
    return f"| {' | '.join(map(escape_markdown, cells))} |"


def escape_markdown(text: str) -> str:
    """Escape text that would end a table cell or start an HTML tag."""
    text = clean_text(text)
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        text = text.replace(sign, code)
    return text


def escape_latex(text: str) -> str:
    """A text as a cell of a LaTeX table."""
    line = " ".join(clean_text(text).split())
    return "".join(LATEX.get(character, character) for character in line)


def escape_formula(cell: object) -> object:
    """A cell of a CSV file: a text that a spreadsheet would run as a formula begins with `'`."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA_STARTS):
        return cell
    return cell if is_number(cell) else f"'{cell}"


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def file_stem(text: str) -> str:
    """A name of a node as part of a file name: letters, digits, dots and hyphens, 60 at most."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text)[:60].strip("._") or "unnamed"
