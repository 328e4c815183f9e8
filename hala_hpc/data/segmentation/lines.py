"""Find the language in a text: its lines without bullets, indentation and table pipes."""

import itertools
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.spans import Span

# The line ends of `str.splitlines`.
_ENDS = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_LINE = re.compile(f"[^{_ENDS}]++")
_LINE_END = re.compile(f"[{_ENDS}]")
_LINE_MARKERS = re.compile(
    r"(?:\s*+(?:>|\#{1,6}|[-*+•‣▪●◦–—]|\[[ xX]\]"
    r"|\d{1,3}[.)]|\(?(?:[A-Za-z]|[ivxIVX]{2,5}|\d{1,3})\))(?=\s))*+"
)
# A quotation marker may be joined to the text: >text.
_QUOTE = re.compile(r"(?:\s*+>)++")
_PIPE = re.compile(r"(?<!\\)\|")
_SEPARATOR_ROW = re.compile(
    r"^[ \t>]*+\|?[ \t]*+:?-{2,}+:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t\r]*+$",
    re.MULTILINE,
)
# A single Latin letter is a variable, an option or a unit.
_LANGUAGE = re.compile(r"[^\W\d_A-Za-z]|[A-Za-z]{2}")
_HEADING_END = re.compile(r"\s#{1,6}\Z")


def lines_of_language(text: str, spans: Sequence[Span]) -> Iterator[Range]:
    """Yield the part of each line, or of each cell in a table row, that is to be translated.

    A span with a line end, such as a code block, ends the line before it.
    """
    pipes = _pipes(text, spans) if "|" in text else []
    has_separator = bool(pipes) and _has_separator_row(text)
    at = 0
    blocks = [span for span in spans if _LINE_END.search(text, span.start, span.end)]
    for start, end in [*((block.start, block.end) for block in blocks), (len(text), len(text))]:
        for found in _LINE.finditer(text, at, start):
            line = _without_markers(text, found.span())
            inside = pipes[bisect_left(pipes, line[0]) : bisect_left(pipes, line[1])]
            framed = len(inside) > 1 and not text[line[0] : inside[0]].strip()
            edges = [line[0] - 1, *(inside if framed or has_separator else ()), line[1]]
            for before, after in itertools.pairwise(edges):
                yield before + 1, after
        at = end


def has_language(text: str, spans: Sequence[Span], place: Range) -> bool:
    """Whether a range has words outside of `spans`, the spans in this range."""
    at, end = place
    for span in spans:
        if _LANGUAGE.search(text, at, span.start):
            return True
        at = span.end
    return _LANGUAGE.search(text, at, end) is not None


def _pipes(text: str, spans: Sequence[Span]) -> list[int]:
    """Return the offsets of pipes outside of spans; a table row is cut there."""
    pipes, at = [], 0
    for span in [*spans, Span(len(text), len(text), "")]:
        pipes += [pipe.start() for pipe in _PIPE.finditer(text, at, span.start)]
        at = span.end
    return pipes


def _has_separator_row(text: str) -> bool:
    return any("|" in row.group() for row in _SEPARATOR_ROW.finditer(text))


def _without_markers(text: str, line: Range) -> Range:
    start, end = line
    for pattern in (_QUOTE, _LINE_MARKERS):
        found = pattern.match(text, start, end)
        start = start if found is None else found.end()
    if text[line[0] : start].lstrip().startswith("#"):
        closing = _HEADING_END.search(text[start:end].rstrip())
        end = end if closing is None else start + closing.start()
    return start, end
