"""Read the structure of a text: its lines, list items, headings, table cells and paragraphs.

This is the one definition of structure. Texts are laid out by it, and translations are compared
with their sources by it (`alignment`).
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.spans import Span

# The line ends of `str.splitlines`.
_ENDS = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_LINE = re.compile(f"[^{_ENDS}]++")
_LINE_END = re.compile(f"\r\n|[{_ENDS}]")
#: Bullets, numbers and letters of lists, headings, quotation marks; also several in a row.
_LIST_MARKERS = (
    r">|\#{1,6}|[-*+•‣▪●◦–—]|\[[ xX]\]"
    r"|\d{1,3}[.)-]|\(?(?:[A-Za-z\u0370-\u03ff\u0400-\u04ff\u0590-\u05ff\u0621-\u064a]"
    r"|[ivxIVX]{2,5}|\d{1,3})\)"
)
_LINE_MARKERS = re.compile(rf"(?:\s*+(?:{_LIST_MARKERS})(?=\s))*+")
_EMPTY_ITEM = re.compile(rf"(?:\s*+(?:{_LIST_MARKERS})(?=\s|\Z))*+\Z")
# A quotation marker may be joined to the text: >text.
_QUOTE = re.compile(r"(?:\s*+>)++")
_PIPE = re.compile(r"(?<!\\)\|")
_SEPARATOR_ROW = re.compile(
    r"[ \t>]*+\|?[ \t]*+:?-{2,}+:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t\r]*+"
)
_RULE = re.compile(r"[ \t]*+(?:[-=_*~+#—–][ \t]*+){3,}+")
_HEADING_END = re.compile(r"\s#{1,6}\Z")
_INDENT = re.compile(r"[ \t>\u200e\u200f]*+")
_NUMBER = re.compile(r"\d++")
#: An option of a program at the start of a line; its dash is no bullet. A number is one only before
#: its long form, else it is a negative number.
_OPTION = re.compile(r"-{1,2}[A-Za-z?][\w-]*+|-\d(?=, ?--[A-Za-z])")
#: Character in the place of each character of a protected span.
OPAQUE = "\ufffc"


class BlockKind(StrEnum):
    """What a block of a text is."""

    TEXT = "text"
    ITEM = "item"
    HEADING = "heading"
    CELL = "cell"
    RULE = "rule"
    """A line of signs: a rule, the underline of a heading, the second row of a table."""


class Gap(StrEnum):
    """What is between a block and the one before it."""

    PARAGRAPH = "paragraph"
    LINE = "line"
    CELL = "cell"


@dataclass(frozen=True, slots=True)
class Block:
    """A line of a text or a cell of a table; `text[start:end]` is its content without markers."""

    start: int
    end: int
    line: int
    """Offset of the first character of its line that is not white space."""
    kind: BlockKind
    marker: str
    """What comes before the content, in one form: `>` for each quotation mark, `-` for any bullet,
    the number of an item in decimal digits, `a` for a letter, `#` for each level of a heading, the
    option itself for a line about an option of a program."""
    indent: int
    """Columns of white space before its line."""
    gap: Gap
    is_running: bool = False
    """Whether it is several lines of running text, whose line ends carry no meaning."""


def make_opaque(text: str, spans: Sequence[Span]) -> str:
    """Replace each character of the protected spans by U+FFFC; offsets stay the same."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], OPAQUE * (span.end - span.start)]
        at = span.end
    return "".join([*parts, text[at:]])


def parse_blocks(text: str) -> list[Block]:
    """Return the blocks of a text whose spans are opaque or placeholders, in linear time."""
    pipes = [pipe.start() for pipe in _PIPE.finditer(text)] if "|" in text else []
    has_separator = bool(pipes) and any(
        "|" in line.group() and _SEPARATOR_ROW.fullmatch(line.group())
        for line in _LINE.finditer(text)
    )
    blocks: list[Block] = []
    gap, before = Gap.PARAGRAPH, 0
    for found in _LINE.finditer(text):
        start, end = found.span()
        if len(_LINE_END.findall(text, before, start)) > 1:
            gap = Gap.PARAGRAPH
        before = end
        if not text[start:end].strip(" \t\r>\xa0\u200e\u200f"):
            gap = Gap.PARAGRAPH
            continue
        inside = pipes[bisect_left(pipes, start) : bisect_left(pipes, end)]
        blocks += _line_blocks(text, (start, end), gap, (inside, has_separator))
        gap = Gap.LINE
    return blocks


def _line_blocks(
    text: str, line: Range, gap: Gap, table: tuple[Sequence[int], bool]
) -> list[Block]:
    """Return the block of a line, or those of the cells of a table row."""
    pipes, has_separator = table
    first, indent = _first_sign(text, line)
    rule = _rule_sign(text[line[0] : line[1]])
    if rule:
        return [Block(line[1], line[1], first, BlockKind.RULE, rule, indent, gap)]
    start, end = without_markers(text, line)
    marker, kind = _read_marker(text[line[0] : start])
    if kind is BlockKind.TEXT and (option := _OPTION.match(text, first)):
        marker, kind = f"{marker} {option.group()}".strip(), BlockKind.ITEM
    pipes = pipes[bisect_left(pipes, start) :]
    is_framed = len(pipes) > 1 and not text[start : pipes[0]].strip()
    if not pipes or not (is_framed or has_separator):
        return [Block(start, end, first, kind, marker, indent, gap)]
    edges = [start - 1, *pipes, end]
    cells = list(zip([edge + 1 for edge in edges], edges[1:], strict=False))
    rest = cells[1:]
    return [
        Block(*cells[0], first, BlockKind.CELL, marker, indent, gap),
        *(Block(*cell, first, BlockKind.CELL, "", 0, Gap.CELL) for cell in rest),
    ]


def _first_sign(text: str, line: Range) -> tuple[int, int]:
    """Return the offset of the first visible sign of a line, and the columns before it."""
    found = _INDENT.match(text, *line)
    assert found is not None, "it matches nothing at least"
    white = found.group()
    if ">" in white:
        first = line[0] + white.index(">")
        return first, len(white.rpartition(">")[2].expandtabs(8))
    return found.end(), len(white.expandtabs(8))


def _rule_sign(line: str) -> str:
    """Return the sign of a rule or `|` for the second row of a table; empty for another line."""
    bare = line.lstrip(" \t>")
    if "-" in bare and "|" in bare and _SEPARATOR_ROW.fullmatch(line):
        return "|"
    if bare.startswith(("```", "~~~")):
        return bare[:3]  # a fence that is on one side only
    if bare and _RULE.fullmatch(line.replace(">", " ")):
        return bare[0]
    return ""


def without_markers(text: str, line: Range) -> Range:
    """Return the range of a line without indentation, quotation marks, bullets and numbers."""
    start, end = line
    for pattern in (_QUOTE, _LINE_MARKERS):
        found = pattern.match(text, start, end)
        start = start if found is None else found.end()
    if text[line[0] : start].lstrip().startswith("#"):
        closing = _HEADING_END.search(text[start:end].rstrip())
        end = end if closing is None else start + closing.start()
    if _EMPTY_ITEM.match(text[start:end].rstrip()):
        start = end
    return start, end


def _read_marker(frame: str) -> tuple[str, BlockKind]:
    """Return what is before the content of a line in one form, and the kind that it makes."""
    if not frame.strip(" \t\u200e\u200f"):
        return "", BlockKind.TEXT
    parts = [">" * frame.count(">")]
    kind = BlockKind.TEXT
    for sign in frame.replace(">", " ").split():
        if sign.startswith("#"):
            kind = BlockKind.HEADING
            parts.append(sign)
            continue
        kind = BlockKind.ITEM if kind is BlockKind.TEXT else kind
        parts.append(_list_marker(sign))
    return " ".join(filter(None, parts)), kind


def _list_marker(sign: str) -> str:
    if number := _NUMBER.search(sign):
        return str(int(number.group()))
    if sign.startswith("["):
        return "x" if sign.lower() == "[x]" else "o"
    return "a" if any(map(str.isalpha, sign)) else "-"


def split_paragraphs(blocks: Sequence[Block]) -> list[list[Block]]:
    """Group blocks by the blank lines between them."""
    paragraphs: list[list[Block]] = []
    for block in blocks:
        if block.gap is Gap.PARAGRAPH or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(block)
    return paragraphs
