"""Regular expressions for each kind of protected span.

Every pattern either stops at the next character that could start it again or consumes what it
read, and repeats possessively (`*+`). So no text makes a pattern read the same character often.
"""

import re

from hala_hpc.data.segmentation.structured import DATA_ELEMENTS

# Only literals: `re` then skips to the first characters that any of them starts with.
TRIGGER = re.compile(r"`|~~~|\$|\\|<|&|\{|%|@|\[\[|\[\"|\[\{|\[ |\[\n|\}|\^\{|_\{|://|www\.")
RUN = re.compile(r"`+|\$+|~+|.", re.DOTALL)
BLANK_LINE = re.compile(r"\n[ \t\r]*+\n")

# CommonMark 4.5, also after quote and list markers.
FENCE = re.compile(
    r"^[ \t>]*+(?:(?:[-*+]|\d{1,9}[.)])[ \t]++)?(?P<fence>`{3,}+(?=[^`\n]*+$)|~{3,}+)[^\n]*+",
    re.MULTILINE,
)
# Wider than CommonMark: models often end a block after the last line of code.
FENCE_ENDS = {
    "`": re.compile(r"(?<!`)(?P<fence>`{3,}+)[ \t\r]*+$", re.MULTILINE),
    "~": re.compile(r"^[ \t>]*+(?P<fence>~{3,}+)[ \t\r]*+$", re.MULTILINE),
}
# A code language after a fence, and what may precede it: such a fence opens a block, closes none.
CODE_LANGUAGE = re.compile(r"[A-Za-z][\w+#.-]*+[ \t\r]*+$", re.MULTILINE)
BEFORE_FENCE = re.compile(r"\n[ \t>]*+\Z")
# One pattern for each length; longer runs are not inline code.
BACKTICKS = [re.compile(rf"(?<!`)`{{{length}}}(?!`)") for length in range(1, 9)]

DOLLAR = re.compile(r"(?<!\\)\$")
DISPLAY_DOLLARS = re.compile(r"\$\$")
ROUND_END = re.compile(r"\\\)")
SQUARE_END = re.compile(r"\\\]")
# Newlines that were escaped twice; a small letter after one makes it LaTeX or a path.
ESCAPED_NEWLINES = re.compile(r"(?:(?:\\r)?\\n){2,}|(?:\\r)?\\n(?![a-z])")
ENVIRONMENT = re.compile(r"\\(?P<side>begin|end)\{(?P<name>[A-Za-z]++\*?)\}")

_ATTRIBUTE = (
    r"\s++(?:[A-Za-z_:@][\w:.@-]*+\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'=<>`]++)"
    # Names without a value are often words, as in "a <b and c> d": only those of HTML count.
    r"|(?:allowfullscreen|async|autofocus|autoplay|checked|controls|defer|disabled|hidden|loop"
    r"|multiple|muted|novalidate|open|readonly|required|selected)\b)"
)
TAG = re.compile(
    rf"</?+(?P<name>[A-Za-z][A-Za-z0-9:._-]*+)(?:{_ATTRIBUTE})*+\s*+/?>"
    r"|<![A-Za-z][^<>]*+>|<\?[A-Za-z][^<>]*+>",
)
COMMENT_END = re.compile(r"-->")
# The content of these elements is not language either.
CODE_ELEMENTS = {
    name: re.compile(rf"</{name}\s*+>", re.IGNORECASE)
    for name in ("code", "kbd", "math", "pre", "samp", "script", "style", "svg")
} | {name: re.compile(rf"</{re.escape(name)}\s*+>") for name in DATA_ELEMENTS}
# Llama's form of a tool call.
FUNCTION_TAG = re.compile(r"<function=[\w.:-]++>")
XML_DECLARATION = re.compile(r"<\?xml\b[^<>?]*+\?>\s*+")
ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")

SCHEME_BACKWARDS = re.compile(r"[A-Za-z0-9+.-]+[A-Za-z]")
URL_REST = re.compile(r"[^\s<>\"`{}|\\^«»“”،؛؟]++")
MAILBOX_BACKWARDS = re.compile(r"[A-Za-z0-9_.+-]+")
DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}(?![A-Za-z0-9])")

DOLLAR_SLOT = re.compile(r"\$\{[^\W\d][\w.]*+\}")
# No amount of money starts with a letter; a single letter may be math that was not closed.
VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]++(?:\.[A-Za-z_]\w*+)*+")
BRACES = re.compile(
    r"\{\{[^{}\n]++\}\}|\{%[^{}\n]*+(?<=%)\}"
    r"|\{(?:[^\W\d][\w.\-]*+|\d*+)(?:\[\w*+\])?(?:![rsa])?(?::[^{}\s]*+)?\}"
)
# No space flag: "5% discount" is a share. No letter may follow: %d8 is half of a URL.
PERCENT = re.compile(
    r"(?<![\d%])%(?:\([^\W\d]\w*+\)|\d{1,2}\$)?[-+#0]*+\d{0,4}(?:\.\d{1,3})?"
    r"(?:hh|ll|[hlLzjt])?[diouxXeEfFgGcrs](?!\w)"
)
# The form of our own placeholders (`placeholders.py`): one in a source text is protected too.
PLACEHOLDER = re.compile(r"\[\[[\s\u200e\u200f]*+(?P<number>\d{1,6})[\s\u200e\u200f]*+\]\]")
CALCULATION = re.compile(r"<<[^<>\n]++>>")

# The rest of `quoted' on its line, after which the text goes on in other lines.
_QUOTED = re.compile(r"[^\s'`(=\[,][^'`\n]*+'(?!\w)[^\n]*+\n")
_WORD = re.compile(r"[^\W\d_]{3,}")
_PHRASE = re.compile(r"(?<![^\W\d_])[^\W\d_]{3,}+ [^\W\d_]{3,}|: ")
# Text that cannot end a formula: the dollar belongs to the next amount or shell variable.
_NO_END = re.compile(r"(?:[/(\[_*+\-=<|,;:]|\s['\"])\Z")
_MONEY_WORD = re.compile(r"[^\W\d_]{2,}|[\u0590-\U0010FFFF]")


def is_prose_between_delimiters(inner: str) -> bool:
    """Whether a text between two LaTeX delimiters is language, as in `\\[see below\\]`."""
    if "\\" in inner:
        return False
    equation = any(sign in inner for sign in "=^_")
    return _PHRASE.search(inner) is not None or (not equation and len(_WORD.findall(inner)) >= 2)


def is_quotation(inner: str) -> bool:
    """Whether a text between two backticks begins with one quoted as in TeX, and goes on."""
    return _QUOTED.match(inner) is not None and _PHRASE.search(inner) is not None


# Scripts on their own, glued to a letter or digit, as in CO$_2$ and 10$^3$.
_SCRIPTS = re.compile(
    r"(?:\s*+[_^](?:\{[^{}$\n]*+\}|\\[A-Za-z]++|[+\-*']*+\d*+[A-Za-z]{0,2}[+\-*']*+))++\s*+"
)
_COMMAND = re.compile(r"\\[A-Za-z]")


def is_spaced_math(inner: str, behind: str) -> bool:
    """Whether `$ inner $`, with a space at one end at least, is math: no prompt, no amounts."""
    if "\n" in inner.strip() or behind.isalnum():
        return False
    if _COMMAND.search(inner):
        return True
    if _MONEY_WORD.search(inner):
        return False
    bare = inner.strip()
    both = inner[0].isspace() and inner[-1].isspace()
    is_letter = both and len(bare) == 1 and bare.isalpha()
    has_letter = any(sign.isalpha() for sign in bare)
    return is_letter or (
        has_letter and any(sign in bare for sign in ("^", "_", *("=+<>" if both else "")))
    )


def is_inline_math(inner: str, around: tuple[str, str]) -> bool:
    """Whether `$inner$` is math and not two amounts of money with words between.

    `around`: the characters directly before and after the dollar signs, or "".
    """
    before, behind = around
    # Pandoc's rule for `tex_math_dollars`: no space on the inner side of either dollar sign.
    # LaTeX itself allows it, so a formula beyond doubt may have one.
    if inner[0].isspace() or inner[-1].isspace():
        return is_spaced_math(inner, behind)
    if "\\" in inner or (inner[0] in "_^" and len(inner) > 1 and _SCRIPTS.fullmatch(inner)):
        return True
    if "\n" in inner or inner[0] in ",.;:!?)/" or _NO_END.search(inner) or behind.isdigit():
        return False
    if before.isalnum() and not inner[0].isalpha():  # 5$, 10$
        return False
    if inner[0].isdigit() or inner.startswith("<<"):
        return _MONEY_WORD.search(inner) is None
    return not is_prose_between_delimiters(inner)


def is_calculation(expression: str) -> bool:
    """Whether `<<…>>` is a calculation and not a quotation."""
    return "=" in expression or not any(letter.isalpha() for letter in expression)


def url_end(rest: str, start: int) -> int:
    """Return the end of a URL whose text from `start` is `rest`, without sentence punctuation."""
    unmatched = {")": rest.count(")") - rest.count("("), "]": rest.count("]") - rest.count("[")}
    length = len(rest)
    while length and rest[length - 1] in ".,;:!?'*_)]~$":
        if (bracket := rest[length - 1]) in unmatched:
            if unmatched[bracket] <= 0:
                break
            unmatched[bracket] -= 1
        length -= 1
    return start + length
