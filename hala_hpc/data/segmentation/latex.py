"""Read LaTeX that stands outside of dollars: commands with their arguments, and scripts."""

import re
from typing import NamedTuple

# Commands that take no argument, or whose argument may be far away. Every other command counts
# only with an argument behind it: `\Users` is a part of a path.
_COMMAND_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu"
    " xi omicron pi varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma"
    " Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega times div cdot cdots ldots dots vdots"
    " ddots pm mp ast star circ bullet oplus otimes odot cap cup setminus wedge vee neg lnot"
    " land lor le leq leqslant ge geq geqslant ne neq approx equiv sim simeq cong propto ll gg"
    " subset subseteq supset supseteq in notin ni emptyset varnothing forall exists nexists"
    " infty partial nabla sum prod int iint iiint oint lim limsup liminf sup inf max min arg"
    " argmax argmin sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp"
    " det dim ker deg gcd lcm mod bmod pmod to gets mapsto rightarrow leftarrow leftrightarrow"
    " Rightarrow Leftarrow Leftrightarrow longrightarrow longleftarrow Longrightarrow implies"
    " iff uparrow downarrow nearrow searrow rightleftharpoons langle rangle lfloor rfloor lceil"
    " rceil lvert rvert lVert rVert vert Vert left right middle big Big bigg Bigg bigl bigr Bigl"
    " Bigr perp parallel angle triangle square blacksquare degree prime hbar ell Re Im aleph"
    " therefore because quad qquad mid nmid cdotp colon dagger displaystyle textstyle limits"
    " nolimits choose over hline frac dfrac tfrac sqrt binom boxed"
)
COMMANDS = frozenset(_COMMAND_NAMES.split())
# The argument of these is text: it is translated if it has more than one word.
_TEXT_COMMAND_NAMES = (
    "textbf textit textsc textsf texttt textrm underline emph section subsection subsubsection"
    " chapter paragraph title caption footnote author"
)
_TEXT_COMMANDS = frozenset(_TEXT_COMMAND_NAMES.split())
# Read as environments.
_DELIMITERS = frozenset({"begin", "end"})
_ENDINGS = _TEXT_COMMANDS | _DELIMITERS  # none of them goes on with a formula
_ITEM = re.compile(r"\s*(?:\w{1,3}[.)]|[-*+])\s")
_NAME = re.compile(r"\\(?P<name>[A-Za-z]++)\*?")
_OPTION = re.compile(r"\[[^\[\]{}\n]{0,80}\]")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_PHRASE = re.compile(r"(?<![^\W\d_])[^\W\d_]{2,}+\s++[^\W\d_]{2,}")
_SCRIPT = r"(?:[_^](?:\{[^{}\n]{0,80}\}|[A-Za-z0-9+*'-]))"
_ATOM = rf"(?:\d++(?:[.,]\d++)*+|[A-Za-z](?![A-Za-z]))'*+{_SCRIPT}*+"
# What may follow a command in the same formula. The letter after a space is no article.
_CONTINUATION = re.compile(
    rf"(?:{_SCRIPT}|[ ]?[-+*/=<>|&]=?[ ]?(?:[-(|\[]*+{_ATOM})?|{_ATOM}|[()\[\]|!]"
    rf"|[ ](?![aAI]\b){_ATOM}|\\[,;:! |{{}}])"
)
# Reversed: the formula before its first command, as `f(x) = ` before `\frac`.
_BEGINNING_BACKWARDS = re.compile(
    r"(?:[ ]?[=+*/<>-][ ]?(?:[)|]?(?:\d[\d.,]{0,12}(?![\w])|[A-Za-z](?![A-Za-z]))"
    r"(?:[(|^_]{1,2}(?:[A-Za-z](?![A-Za-z])|\d{1,4})?)?){1,4})+|[(|]"
    r"|[\^_](?:[0-9]{1,12}(?![\w.])|[A-Za-z](?![A-Za-z]))|[ ]?[0-9]{1,12}(?![\w.,])"
)
_BASE_BACKWARDS = re.compile(r"[A-Za-z0-9)\]|]{1,12}")
_PATH = re.compile(r"(?:[A-Za-z]:|\\)\\?[\w.-]*\Z")
_REACH = 32


#: Characters of an argument; a longer one is no argument. It bounds the search within it.
MAX_ARGUMENT = 4000


class LatexSpan(NamedTuple):
    """A formula `text[start:end]`, or the command before a text and the brace behind it."""

    start: int
    end: int
    closing_brace: int | None = None


def match_braces(text: str) -> dict[int, int]:
    """Map each opening brace that is closed to the offset behind its closing one."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace.group() == "{":
            opened.append(brace.start())
        elif brace.group() == "}" and opened:
            ends[opened.pop()] = brace.end()
    return ends


def read_command(text: str, at: int, braces: dict[int, int], floor: int) -> LatexSpan | None:
    """Return the formula or command that starts at the backslash `at`; None if it is none.

    `floor` is where the last span ends: no formula begins before it.
    """
    found = _NAME.match(text, at)
    if found is None or found["name"] in _DELIMITERS or _is_in_path(text, at):
        return None
    name, end = found["name"], _arguments_end(text, found.end(), braces)
    if end == found.end() and name not in COMMANDS:
        return None
    if name in _TEXT_COMMANDS and end > found.end():
        opening = text.index("{", found.end())
        if braces[opening] == end and _PHRASE.search(text, opening, end):
            return LatexSpan(at, opening + 1, end - 1)
        return LatexSpan(at, end)
    end = _formula_end(text, end, braces)
    return LatexSpan(_formula_start(text, at, floor), end)


def read_script(text: str, at: int, braces: dict[int, int], floor: int) -> LatexSpan | None:
    """Return `x^{…}` or `x_{…}` whose sign is at `at`; None if it has no base or no end."""
    end = braces.get(at + 1)
    base = _BASE_BACKWARDS.match(text[max(floor, at - 16) : at][::-1])
    if end is None or base is None or _PHRASE.search(text, at, end):
        return None
    return LatexSpan(at - base.end(), _formula_end(text, end, braces))


def _arguments_end(text: str, at: int, braces: dict[int, int]) -> int:
    """Return the end of the arguments `[…]{…}{…}` at `at`; `at` if there are none."""
    option = _OPTION.match(text, at) if text.startswith("[", at) else None
    after = option.end() if option else at
    if not text.startswith("{", after):
        return at
    while (end := braces.get(after)) is not None:
        if end - after > MAX_ARGUMENT or "\n\n" in text[after:end]:
            break
        at = after = end
    return at


def _formula_start(text: str, at: int, floor: int) -> int:
    """Return the start of the formula whose first command starts at `at`."""
    before = _BEGINNING_BACKWARDS.match(text[max(floor, at - _REACH) : at][::-1])
    if before is None:
        return at
    start = at - before.end()
    line = text.rfind("\n", max(0, start - _REACH), at) + 1
    is_item = line <= start and not text[line:start].strip() and _ITEM.match(text, start, at)
    return at if is_item else start


def _formula_end(text: str, at: int, braces: dict[int, int]) -> int:
    """Return the end of the formula whose first command ends at `at`."""
    end = at
    while True:
        if (more := _CONTINUATION.match(text, at)) and more.end() > at:
            at = more.end()
            continue
        command = _NAME.match(text, at + text.startswith(" ", at))
        if command is None or command["name"] in _ENDINGS:
            break
        after = _arguments_end(text, command.end(), braces)
        if after == command.end() and command["name"] not in COMMANDS:
            break
        at = after
    # An operator at the end belongs to the sentence.
    return end + _closed_length(text[end:at].rstrip(" -+*/=<>&"))


def _closed_length(formula: str) -> int:
    """Return the length without brackets at the end that close the sentence's own."""
    if "\\right" in formula:
        return len(formula)
    length = len(formula)
    surplus = {")": formula.count(")") - formula.count("("), "]": 0}
    surplus["]"] = formula.count("]") - formula.count("[")
    while length and surplus.get(formula[length - 1], 0) > 0:
        surplus[formula[length - 1]] -= 1
        length -= 1
    return length


def _is_in_path(text: str, at: int) -> bool:
    """Whether the backslash is one of a Windows path."""
    words = text[max(0, at - _REACH) : at + 1].split()
    return bool(words) and _PATH.search(words[-1]) is not None and ":\\" in words[-1]
