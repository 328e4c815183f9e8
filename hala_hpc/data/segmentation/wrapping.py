"""Unwrap hard-wrapped paragraphs before they are translated, and wrap them again afterwards.

Mail, manual pages and messages of programs are wrapped at a width. Poems, addresses, lists, tables,
code and `key: value` lines are not: their line ends carry meaning. The difference is that a writer
who wraps fills every line: the first word of the next line had no room.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hala_hpc.data.segmentation.blocks import OPAQUE, Block, BlockKind, Gap
from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.spans import Span

#: Columns of the longest line of a wrapped paragraph: shorter lines are those of poems and
#: addresses, longer ones are not wrapped.
MIN_WIDTH, MAX_WIDTH = 45, 132
#: Wrapped lines that a script without capital letters needs as evidence.
MIN_LINES_WITHOUT_CASE = 3
#: Columns by which the lines of a paragraph may be indented further than its first.
MAX_HANGING = 12
_SENTENCE_END = re.compile(r"[.!?:;؟。！？…][\"'”’»)\]*_]*+\Z")
_KEY = re.compile(r"[^\W\d_][\w ./()-]{0,40}:(?:\s|\Z)")
#: Columns of a table without pipes.
_COLUMNS = re.compile(r"\S(?:\t| {3,})\S")
_FIRST_WORD = re.compile(r"\S++")
_FIRST_LETTER = re.compile(r"[\"'“‘«(\[*_]*+([^\W\d_])")
#: A word that would be a marker or an option at the start of a line.
_LIKE_MARKER = re.compile(r"[-*+•‣▪●◦–—>#=~|`]|\d{1,3}[.)-]|\(?\w{1,5}\)|\[[ xX]\]")
#: groff breaks words with U+2010 at line ends.
_SOFT_HYPHEN = "\u2010"


@dataclass(frozen=True, slots=True)
class Wrap:
    """How the paragraph of a block was wrapped."""

    block: int
    """Index of the block in the text without the wraps."""
    width: int
    """Columns of its longest line."""
    first_column: int
    """Columns before its content on the first line."""
    line_end: str
    """A line end, and what the next line begins with: indentation and quotation marks."""


@dataclass(frozen=True, slots=True)
class UnwrappedText:
    """A text whose wrapped paragraphs are one line each, with its spans and former wraps."""

    text: str
    spans: list[Span]
    wraps: tuple[Wrap, ...]


def find_wrapped(opaque: str, blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Return the first and last block of each wrapped paragraph of two lines or more."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(blocks):
        last = at
        while last + 1 < len(blocks) and _continues(opaque, blocks[at], blocks[last + 1]):
            last += 1
        if last > at:
            found += _wrapped_parts(opaque, blocks, at, last)
        at = last + 1
    return found


def _continues(opaque: str, first: Block, block: Block) -> bool:
    """Whether a line may belong to the paragraph that begins with another."""
    if block.kind is not BlockKind.TEXT or block.gap is not Gap.LINE:
        return False
    if first.kind not in (BlockKind.TEXT, BlockKind.ITEM):
        return False
    if first.marker.count(">") != block.marker.count(">"):
        return False
    if not opaque[block.start : block.end].strip(f"{OPAQUE} \t\r.,;:"):
        return False  # a line of code or an address alone
    hanging = block.indent - first.indent
    return hanging <= MAX_HANGING and _COLUMNS.search(opaque, block.start, block.end) is None


def _wrapped_parts(
    opaque: str, blocks: Sequence[Block], first: int, last: int
) -> list[tuple[int, int]]:
    """Cut lines after each one that had room for the next word; return the wrapped parts.

    The longest line has no room by definition: two lines alone are no evidence beside a line that
    had room and ends in the middle of a sentence.
    """
    widths = [line_width(opaque, block) for block in blocks[first : last + 1]]
    width = max(widths)
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        return []
    parts, start = [], first
    has_short_line = False
    for at in range(first, last + 1):
        is_full = at < last and (
            widths[at - first] + 1 + _first_word_width(opaque, blocks[at + 1]) > width
        )
        if is_full:
            continue
        if at > start and _is_running(opaque, blocks[start : at + 1]):
            parts.append((start, at))
        start = at + 1
        content = opaque[blocks[at].start : blocks[at].end].strip()
        has_short_line |= at < last and not _SENTENCE_END.search(content)
    return [part for part in parts if not has_short_line or part[1] - part[0] > 1]


def line_width(text: str, block: Block) -> int:
    """Return the columns of the line of a block up to the end of its content."""
    return block.indent + len(text[block.line : block.end].rstrip())


def _first_word_width(opaque: str, block: Block) -> int:
    word = _FIRST_WORD.search(opaque, block.start, block.end)
    return 0 if word is None else len(word.group())


def _is_running(opaque: str, lines: Sequence[Block]) -> bool:
    """Whether the line ends inside of a paragraph carry no meaning, by how the lines begin."""
    contents = [opaque[line.start : line.end].strip() for line in lines]
    if sum(_KEY.match(content) is not None for content in contents) > 1:
        return False
    if len({line.indent for line in lines[1:]}) > 1:
        return False
    soft = odd = caseless = 0
    for before, after in pairwise(contents):
        if _SENTENCE_END.search(before):
            continue
        letter = _FIRST_LETTER.match(after)
        if letter is None:
            continue
        sign = letter[1]
        if sign.islower():
            soft += 1
        elif sign.isupper():
            odd += 1
        else:
            caseless += 1
    if caseless > soft + odd:
        return len(lines) >= MIN_LINES_WITHOUT_CASE
    return soft > odd


def unwrap(text: str, spans: Sequence[Span], opaque: str, blocks: Sequence[Block]) -> UnwrappedText:
    """Join the lines of each wrapped paragraph; a word that was broken at its hyphen is whole."""
    found = find_wrapped(opaque, blocks)
    if not found:
        return UnwrappedText(text, list(spans), ())
    cuts: list[tuple[int, int, str]] = []
    wraps, joined = [], 0
    for first, last in found:
        lines = blocks[first : last + 1]
        wraps.append(_make_wrap(text, opaque, lines, first - joined))
        joined += last - first
        for before, after in pairwise(lines):
            cuts.append(_cut_line_end(text, before, after))
    parts, at = [], 0
    for start, end, between in cuts:
        parts += [text[at:start], between]
        at = end
    moved = _move_spans(spans, cuts)
    return UnwrappedText("".join([*parts, text[at:]]), moved, tuple(wraps))


def _make_wrap(text: str, opaque: str, lines: Sequence[Block], block: int) -> Wrap:
    first = lines[0]
    width = max(line_width(opaque, line) for line in lines)
    content = text[first.start : first.end]
    column = first.indent + first.start - first.line + len(content) - len(content.lstrip())
    start, end, _ = _cut_line_end(text, first, lines[1])
    return Wrap(block, width, column, text[start:end].lstrip(f"{_SOFT_HYPHEN} \t"))


def _cut_line_end(text: str, before: Block, after: Block) -> tuple[int, int, str]:
    """Return the range between the contents of two lines, and what takes its place."""
    start = before.start + len(text[before.start : before.end].rstrip())
    content = text[after.start : after.end]
    end = after.end - len(content.lstrip())
    sign = text[start - 1 : start]
    is_broken = text[start - 2 : start - 1].isalpha() and text[end : end + 1].islower()
    if sign == _SOFT_HYPHEN and is_broken:
        return start - 1, end, ""
    return start, end, "" if sign == "-" and is_broken else " "


def _move_spans(spans: Sequence[Span], cuts: Sequence[tuple[int, int, str]]) -> list[Span]:
    """Return the spans where they are after the cuts, of which none is inside of a span."""
    moved, shift, number = [], 0, 0
    for span in spans:
        while number < len(cuts) and cuts[number][1] <= span.start:
            start, end, between = cuts[number]
            shift += len(between) - (end - start)
            number += 1
        moved.append(Span(span.start + shift, span.end + shift, span.kind))
    return moved


def rewrap(text: str, opaque: str, blocks: Sequence[Block], wraps: Sequence[Wrap]) -> str:
    """Wrap paragraphs of a text without wraps again, each at its width; spans are not broken."""
    parts, at = [], 0
    for wrap in wraps:
        block = blocks[wrap.block]
        for start, end in _line_breaks(opaque, (block.start, block.end), wrap):
            parts += [text[at:start], wrap.line_end]
            at = end
    return "".join([*parts, text[at:]])


def _line_breaks(opaque: str, place: Range, wrap: Wrap) -> list[Range]:
    """Return the white space at which a paragraph is to be broken."""
    breaks: list[Range] = []
    column, before = wrap.first_column, 0
    indent = len(wrap.line_end.lstrip("\r\n").expandtabs(8))
    for word in re.finditer(r"\S++", opaque[place[0] : place[1]]):
        start, end = place[0] + word.start(), place[0] + word.end()
        is_wide = column + 1 + end - start > wrap.width
        if before and is_wide and not _LIKE_MARKER.match(word.group()):
            breaks.append((before, start))
            column = indent + end - start
        else:
            column += end - start + (1 if before else 0)
        before = end
    return breaks
