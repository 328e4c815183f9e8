"""Scan each kind of protected span, from the character that opens it."""

import re
from collections.abc import Callable
from typing import NamedTuple

from hala_hpc.data.segmentation import latex, span_patterns
from hala_hpc.data.segmentation.structured import DATA_ELEMENTS, JsonValues, data_elements


class ScannedSpan(NamedTuple):
    """A span `text[start:end]` and its kind."""

    start: int
    end: int
    kind: str


class TextScan:
    """One scan over a text, from left to right.

    Every search of unbounded distance goes through `search_ahead`, which caches its match. A
    thousand openers share one search for their closer, which keeps the scan linear.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.floor = 0  # end of the last span
        self._matches: dict[re.Pattern[str], re.Match[str] | None] = {}
        self.closing_braces: set[int] = set()  # of LaTeX commands whose argument is text
        self._environments: dict[int, int] | None = None
        self._braces: dict[int, int] | None = None
        self._json: JsonValues | None = None
        self._elements: dict[int, int] | None = None

    @property
    def braces(self) -> dict[int, int]:
        """Map the start of each pair of braces to its end."""
        if self._braces is None:
            self._braces = latex.match_braces(self.text)
        return self._braces

    def json_end(self, start: int) -> int | None:
        """Return the end of the JSON value that begins at `start`."""
        if self._json is None:
            self._json = JsonValues(self.text)
        return self._json.end(start)

    def element_end(self, start: int) -> int | None:
        """Return the end of the XML element with data that begins at `start`."""
        if self._elements is None:
            self._elements = data_elements(self.text)
        return self._elements.get(start)

    def search_ahead(self, pattern: re.Pattern[str], start: int) -> re.Match[str] | None:
        """Return the first match at or after `start`; `start` never decreases."""
        match = self._matches.get(pattern, self)
        if match is self or (isinstance(match, re.Match) and match.start() < start):
            match = self._matches[pattern] = pattern.search(self.text, start)
        return match  # type: ignore[return-value]

    def in_paragraph(self, start: int, end: int) -> bool:
        """Whether there is no blank line between two offsets."""
        blank = self.search_ahead(span_patterns.BLANK_LINE, start)
        return blank is None or blank.start() >= end

    def environment_end(self, start: int) -> int | None:
        """Return the end of the environment that begins at `start`, including nested ones."""
        if self._environments is None:
            self._environments = _environments(self.text)
        return self._environments.get(start)

    def match_backwards(self, pattern: re.Pattern[str], at: int, reach: int) -> int | None:
        """Return the start of a match that ends at `at`; the pattern reads at most `reach` back."""
        start = max(self.floor, at - reach)
        found = pattern.match(self.text[start:at][::-1])
        return None if found is None else at - found.end()


def run_end(text: str, at: int) -> int:
    """Return the end of the backticks or dollars at `at`; `at + 1` for any other character."""
    run = span_patterns.RUN.match(text, at)
    assert run is not None, "it matches any character"
    return run.end()


def _environments(text: str) -> dict[int, int]:
    """Map the start to the end of each closed `\\begin{x}…\\end{x}`."""
    ends: dict[int, int] = {}
    opened: list[tuple[str, int]] = []
    waiting: dict[str, int] = {}
    for delimiter in span_patterns.ENVIRONMENT.finditer(text):
        name = delimiter["name"]
        if delimiter["side"] == "begin":
            opened.append((name, delimiter.start()))
            waiting[name] = waiting.get(name, 0) + 1
        while delimiter["side"] == "end" and waiting.get(name):
            inner, start = opened.pop()
            waiting[inner] -= 1
            if inner == name:
                ends[start] = delimiter.end()
                break
    return ends


def _backticks(scan: TextScan, at: int) -> ScannedSpan | None:
    if fence := _fence(scan, at):
        return fence
    after = run_end(scan.text, at)
    if after - at > len(span_patterns.BACKTICKS):
        return None
    closer = scan.search_ahead(span_patterns.BACKTICKS[after - at - 1], after)
    if closer is None:
        return None
    inner = scan.text[after : closer.start()]
    if after - at >= 3:  # also used for code blocks that do not start a line
        before = scan.text[max(at, closer.start() - 16) : closer.start()]
        opens = span_patterns.CODE_LANGUAGE.match(scan.text, closer.end())
        taken = not (opens and span_patterns.BEFORE_FENCE.search(before))
    else:
        # ``quoted'' and `quoted' are quotation marks of TeX.
        one_sided = inner[0].isspace() != inner[-1].isspace()
        quoted = "''" in inner if after - at == 2 else "'" in inner and one_sided
        quoted |= span_patterns.is_quotation(inner)
        in_paragraph = scan.in_paragraph(after, closer.start())
        taken = bool(inner.strip()) and in_paragraph and not quoted
    return ScannedSpan(at, closer.end(), "code") if taken else None


def _fence(scan: TextScan, at: int) -> ScannedSpan | None:
    opener = scan.search_ahead(span_patterns.FENCE, scan.floor)
    while opener is not None and opener.start("fence") < at:
        opener = scan.search_ahead(span_patterns.FENCE, opener.end("fence"))
    if opener is None or opener.start("fence") != at or _is_underline(scan.text, opener):
        return None
    fence, after = opener["fence"], opener.end()
    closing = span_patterns.FENCE_ENDS[fence[0]]
    # Not `search_ahead`: a fence consumes all that it searched, closed or not.
    for closer in closing.finditer(scan.text, after):
        if len(closer["fence"]) >= len(fence):
            return ScannedSpan(at, closer.end("fence"), "fence")
    return ScannedSpan(at, len(scan.text), "fence")


def _is_underline(text: str, fence: re.Match[str]) -> bool:
    """Whether it is a reStructuredText heading underline: at least as long as the line before."""
    start, length = fence.start(), len(fence["fence"])
    if length < 4 or fence.group() != fence["fence"] or not start:
        return False
    title = text[max(0, start - 2 - length) : start - 1]
    return bool(title.strip()) and ("\n" in title or len(title) < length + 1)


def _dollars(scan: TextScan, at: int) -> ScannedSpan | None:
    text = scan.text
    after = run_end(text, at)
    if after - at == 2:
        return _between(scan, at, after, span_patterns.DISPLAY_DOLLARS, "display")
    if after - at > 2 or (at and text[at - 1] == "\\"):
        return None
    if slot := span_patterns.DOLLAR_SLOT.match(text, at):
        return ScannedSpan(at, slot.end(), "placeholder")
    end = _inline_math_end(scan, at, after)
    if end is None and (variable := span_patterns.VARIABLE.match(text, at)):
        return ScannedSpan(at, variable.end(), "placeholder")
    return None if end is None else ScannedSpan(at, end, "math")


def _inline_math_end(scan: TextScan, at: int, after: int) -> int | None:
    closer = scan.search_ahead(span_patterns.DOLLAR, after)
    if closer is None or closer.start() == after or not scan.in_paragraph(after, closer.end()):
        return None
    inner, end = scan.text[after : closer.start()], closer.end()
    around = scan.text[max(at - 1, 0) : at], scan.text[end : end + 1]
    return end if span_patterns.is_inline_math(inner, around) else None


def _between(
    scan: TextScan, at: int, after: int, closing: re.Pattern[str], kind: str
) -> ScannedSpan | None:
    closer = scan.search_ahead(closing, after)
    if closer is None or not scan.in_paragraph(after, closer.start()):
        return None
    inner = scan.text[after : closer.start()]
    if not inner.strip() or span_patterns.is_prose_between_delimiters(inner):
        return None
    return ScannedSpan(at, closer.end(), kind)


def _backslash(scan: TextScan, at: int) -> ScannedSpan | None:
    opener = scan.text[at : at + 2]
    if opener == r"\(":
        return _between(scan, at, at + 2, span_patterns.ROUND_END, "math")
    if opener == r"\[":
        return _between(scan, at, at + 2, span_patterns.SQUARE_END, "display")
    if opener == r"\b" and (end := scan.environment_end(at)):
        return ScannedSpan(at, end, "environment")
    newlines = span_patterns.ESCAPED_NEWLINES.match(scan.text, at)
    if newlines and newlines.end() - at > 2:
        return ScannedSpan(at, newlines.end(), "placeholder")
    if newlines is None and (found := latex.read_command(scan.text, at, scan.braces, scan.floor)):
        return _formula(scan, found)
    return None if newlines is None else ScannedSpan(at, newlines.end(), "placeholder")


def _formula(scan: TextScan, found: latex.LatexSpan) -> ScannedSpan:
    if found.closing_brace is not None:
        scan.closing_braces.add(found.closing_brace)
    return ScannedSpan(found.start, found.end, "math")


def _script(scan: TextScan, at: int) -> ScannedSpan | None:
    found = latex.read_script(scan.text, at, scan.braces, scan.floor)
    return None if found is None else _formula(scan, found)


def _closing_brace(scan: TextScan, at: int) -> ScannedSpan | None:
    return ScannedSpan(at, at + 1, "math") if at in scan.closing_braces else None


def _brace(scan: TextScan, at: int) -> ScannedSpan | None:
    if value := _bracket(scan, at):
        return value
    slot = span_patterns.BRACES.match(scan.text, at)
    return None if slot is None else ScannedSpan(at, slot.end(), "placeholder")


def _bracket(scan: TextScan, at: int) -> ScannedSpan | None:
    end = scan.json_end(at)
    return None if end is None else ScannedSpan(at, end, "data")


def _double_bracket(scan: TextScan, at: int) -> ScannedSpan | None:
    if placeholder := span_patterns.PLACEHOLDER.match(scan.text, at):
        return ScannedSpan(at, placeholder.end(), "placeholder")
    return _bracket(scan, at)


def _angle(scan: TextScan, at: int) -> ScannedSpan | None:
    text = scan.text
    if (calculation := span_patterns.CALCULATION.match(text, at)) and span_patterns.is_calculation(
        calculation.group()
    ):
        return ScannedSpan(at, calculation.end(), "placeholder")
    if text.startswith("<!--", at):
        closer = scan.search_ahead(span_patterns.COMMENT_END, at + 4)
        return None if closer is None else ScannedSpan(at, closer.end(), "tag")
    return _data_element(scan, at) or _tag(scan, at)


def _data_element(scan: TextScan, at: int) -> ScannedSpan | None:
    if call := span_patterns.FUNCTION_TAG.match(scan.text, at):
        closer = scan.search_ahead(span_patterns.CODE_ELEMENTS["function"], call.end())
        return ScannedSpan(at, call.end() if closer is None else closer.end(), "data")
    declaration = span_patterns.XML_DECLARATION.match(scan.text, at)
    end = scan.element_end(declaration.end() if declaration else at)
    return None if end is None else ScannedSpan(at, end, "data")


def _tag(scan: TextScan, at: int) -> ScannedSpan | None:
    tag = span_patterns.TAG.match(scan.text, at)
    if tag is None:
        return None
    name, is_closing = tag["name"] or "", scan.text[at + 1] == "/"
    closing = None if is_closing else span_patterns.CODE_ELEMENTS.get(name.lower())
    closer = scan.search_ahead(closing, tag.end()) if closing else None
    if closer is None:
        return ScannedSpan(at, tag.end(), "tag")
    return ScannedSpan(at, closer.end(), "data" if name in DATA_ELEMENTS else "tag")


def _url(scan: TextScan, at: int) -> ScannedSpan | None:
    if scan.text[at] == ":":
        start, min_end = (
            scan.match_backwards(span_patterns.SCHEME_BACKWARDS, at, reach=16),
            at + len("://"),
        )
    else:
        start, min_end = None if scan.text[at - 1 : at].isalnum() else at, at + len("www.")
    rest = span_patterns.URL_REST.match(scan.text, at)
    if start is None or rest is None:
        return None
    end = span_patterns.url_end(rest.group(), at)
    return ScannedSpan(start, end, "url") if end > min_end else None


def _email(scan: TextScan, at: int) -> ScannedSpan | None:
    domain = span_patterns.DOMAIN.match(scan.text, at + 1)
    if domain is None:
        return None
    start = scan.match_backwards(span_patterns.MAILBOX_BACKWARDS, at, reach=64)
    return None if start is None else ScannedSpan(start, domain.end(), "email")


def _matching(pattern: re.Pattern[str], kind: str) -> Callable[[TextScan, int], ScannedSpan | None]:
    def read(scan: TextScan, at: int) -> ScannedSpan | None:
        found = pattern.match(scan.text, at)
        return None if found is None else ScannedSpan(at, found.end(), kind)

    return read


# Keys are the matches of `span_patterns.TRIGGER`.
SPAN_READERS: dict[str, Callable[[TextScan, int], ScannedSpan | None]] = {
    "`": _backticks,
    "~~~": _fence,
    "$": _dollars,
    "\\": _backslash,
    "<": _angle,
    "&": _matching(span_patterns.ENTITY, "entity"),
    "{": _brace,
    "}": _closing_brace,
    '["': _bracket,
    "[{": _bracket,
    "[ ": _bracket,
    "[\n": _bracket,
    "^{": _script,
    "_{": _script,
    "%": _matching(span_patterns.PERCENT, "placeholder"),
    "@": _email,
    "://": _url,
    "www.": _url,
    "[[": _double_bracket,
}
