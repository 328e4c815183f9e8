"""Compare the structure of a translation with that of its source, block by block.

A model may break or join lines inside of running text. Everything else must be equal: paragraphs,
lines that carry structure, list marks and their numbers, indentation, headings, cells, quotation
marks; and each protected span and number must be in the block where the source has it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from unicodedata import decimal

from hala_hpc.data.segmentation.blocks import (
    Block,
    BlockKind,
    Gap,
    make_opaque,
    parse_blocks,
    split_paragraphs,
)
from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.spans import Span
from hala_hpc.data.segmentation.wrapping import unwrap

#: Columns of a line of running text that a model may have broken at a width of its own.
MIN_BROKEN_WIDTH = 40
#: Columns by which a line is deeper than the one that it continues.
MIN_HANGING = 2
_SENTENCE_END = re.compile(r"[.!?:؟。！？…][\"'”’»)\]*_]*+(?=\s|\Z)|[。！？]")
_NUMBER = re.compile(r"(?<![\w.,٫])\d+(?:[.,:٫]\d+)*(?![\w])")
_LINE_END = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


class StructureFault(StrEnum):
    """How the structure of a translation differs from that of its source."""

    ADDED_LINES = "added_lines"
    """A source of one line has a translation of several that it does not explain."""
    PARAGRAPHS = "paragraphs"
    LINES = "lines"
    MARKERS = "list_markers"
    INDENTATION = "indentation"
    MOVED = "moved"
    """A protected span or a number is in another block."""


def match_blocks(
    source: Sequence[Block], answer: Sequence[Block], texts: tuple[str, str]
) -> list[Range] | None:
    """Return for each block of a paragraph its content in the answer; None if they differ.

    `texts` are those of both sides. Lines that the answer has more inside of running text belong to
    the block before them.
    """
    ranges: list[Range] = []
    at = 0
    for number, block in enumerate(source):
        if at >= len(answer) or not is_same_block(block, answer[at]):
            return None
        if number and not _is_nested_alike(source[number - 1], block, answer[at - 1], answer[at]):
            return None
        start, end = answer[at].start, answer[at].end
        allowed = _Breaks(texts[0][block.start : block.end])
        following = source[number + 1] if number + 1 < len(source) else None
        at += 1
        while at < len(answer) and len(answer) - at > len(source) - number - 1:
            line = texts[1][answer[at - 1].start : end]
            if not _may_continue(following, answer[at - 1], answer[at]) or not allowed.take(line):
                break
            end = answer[at].end
            at += 1
        ranges.append((start, end))
    return ranges if at == len(answer) else None


def is_same_block(source: Block, answer: Block) -> bool:
    """Whether two blocks have the same kind, marker and gap."""
    return (source.kind, source.gap, source.marker) == (answer.kind, answer.gap, answer.marker)


def _is_nested_alike(
    source_before: Block, source: Block, answer_before: Block, answer: Block
) -> bool:
    """Whether two neighbours are indented in the same order on both sides."""
    if Gap.CELL in (source.gap, answer.gap) or BlockKind.TEXT in (source.kind, source_before.kind):
        return True
    return _sign(source.indent - source_before.indent) == _sign(
        answer.indent - answer_before.indent
    )


def _sign(difference: int) -> int:
    return (difference > 1) - (difference < -1)


def _may_continue(following: Block | None, before: Block, block: Block) -> bool:
    """Whether a line of an answer may belong to the running text of the block before it."""
    if block.kind is not BlockKind.TEXT or block.gap is not Gap.LINE:
        return False
    if before.kind not in (BlockKind.TEXT, BlockKind.ITEM):
        return False
    if before.marker.count(">") != block.marker.count(">"):
        return False
    is_last = following is None or following.gap is Gap.PARAGRAPH
    is_hanging = block.indent - before.indent >= MIN_HANGING
    return is_last or is_hanging or (following is not None and following.kind is not BlockKind.TEXT)


class _Breaks:
    """The line ends that the running text of one source block explains."""

    def __init__(self, source: str) -> None:
        self._sentences = len(_SENTENCE_END.findall(source.strip())) - 1

    def take(self, line: str) -> bool:
        """Whether an answer may be broken after a line: between sentences, or at its width."""
        line = line.strip()
        ending = _SENTENCE_END.search(line, max(0, len(line) - 4))
        if ending is not None and ending.end() == len(line):
            self._sentences -= 1
            return self._sentences >= 0
        return len(line) >= MIN_BROKEN_WIDTH


def find_structure_fault(
    source: str, translation: str, spans: tuple[Sequence[Span], Sequence[Span]]
) -> StructureFault | None:
    """Return how the structure of a translation differs from that of its source, if it does.

    `spans` are the protected spans of both sides. The time is linear in the length of both.
    """
    is_line = _LINE_END.search(source) is None
    if is_line and _LINE_END.search(translation.strip()) is None:
        return None
    own = find_known_spans(source, spans[0], translation, spans[1])
    before, after = _Structure(source, spans[0]), _Structure(translation, own)
    paragraphs = split_paragraphs(before.blocks), split_paragraphs(after.blocks)
    if len(paragraphs[0]) != len(paragraphs[1]):
        return StructureFault.ADDED_LINES if is_line else StructureFault.PARAGRAPHS
    pairs: list[tuple[Range, Range]] = []
    for ours, theirs in zip(*paragraphs, strict=True):
        found = match_blocks(ours, theirs, (before.opaque, after.opaque))
        if found is None:
            return StructureFault.ADDED_LINES if is_line else _name_fault(ours, theirs)
        pairs += zip([(block.start, block.end) for block in ours], found, strict=True)
    is_moved = find_moved(
        [before.tokens(place) for place, _ in pairs], [after.tokens(place) for _, place in pairs]
    )
    return StructureFault.MOVED if is_moved else None


class _Structure:
    """The blocks of a text without its wraps, and what its spans hold."""

    def __init__(self, text: str, spans: Sequence[Span]) -> None:
        opaque = make_opaque(text, spans)
        flat = unwrap(text, spans, opaque, parse_blocks(opaque))
        self.text, self.spans = flat.text, flat.spans
        self.opaque = make_opaque(flat.text, flat.spans)
        self.blocks = merge_hanging(self.opaque, parse_blocks(self.opaque))
        self._next_span = 0

    def tokens(self, place: Range) -> Counter[str]:
        """Count the spans and numbers in a range; ranges never go backwards."""
        found = count_numbers(self.opaque[place[0] : place[1]])
        while self._next_span < len(self.spans) and self.spans[self._next_span].start < place[1]:
            span = self.spans[self._next_span]
            if span.start >= place[0]:
                found[self.text[span.start : span.end]] += 1
            self._next_span += 1
        return found


def find_known_spans(
    source: str, spans: Sequence[Span], translation: str, own: Sequence[Span]
) -> list[Span]:
    """Return the spans of a translation: those of several lines where the source's text is.

    Code without a fence is recognized by what is around it, which differs between languages.
    """
    blocks: list[Span] = []
    at = 0
    for span in spans:
        text = source[span.start : span.end]
        if "\n" not in text:
            continue
        found = translation.find(text, at)
        if found < 0:
            break
        at = found + len(text)
        blocks.append(Span(found, at, span.kind))
    if not blocks:
        return list(own)
    return _merge_spans(blocks, own)


def _merge_spans(blocks: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Merge two ordered lists of spans; of two that overlap the one of the first list stays."""
    merged, number = list(blocks), 0
    for span in others:
        while number < len(blocks) and blocks[number].end <= span.start:
            number += 1
        if number == len(blocks) or span.end <= blocks[number].start:
            merged.append(span)
    return sorted(merged, key=lambda span: span.start)


def merge_hanging(opaque: str, blocks: Sequence[Block]) -> list[Block]:
    """Merge lines that continue the description of an option or an item into its block.

    They are as deep as the text of the item, or as the second column of the line before.
    """
    merged: list[Block] = []
    columns: set[int] = set()
    for block in blocks:
        is_line = block.kind is BlockKind.TEXT and block.gap is Gap.LINE and bool(merged)
        if is_line and block.indent in columns:
            first = merged[-1]
            merged[-1] = Block(
                first.start,
                block.end,
                first.line,
                first.kind,
                first.marker,
                first.indent,
                first.gap,
            )
            continue
        columns = _hanging_columns(opaque, block)
        merged.append(block)
    return merged


_COLUMN = re.compile(r"\S(?: {2,}|\t)(?=\S)")


def _hanging_columns(opaque: str, block: Block) -> set[int]:
    """Return the columns at which a line may continue that of a block."""
    columns = set()
    if block.kind is BlockKind.ITEM:
        content = opaque[block.start : block.end]
        offset = block.start + len(content) - len(content.lstrip()) - block.line
        columns.add(block.indent + offset)
    if block.kind in (BlockKind.ITEM, BlockKind.TEXT):
        for column in _COLUMN.finditer(opaque, block.start, block.end):
            columns.add(block.indent + column.end() - block.line)
    return columns


def find_moved(source: Sequence[Counter[str]], translation: Sequence[Counter[str]]) -> list[int]:
    """Return the blocks that lack a span or a number which another block has too often."""
    lost = [before - after for before, after in zip(source, translation, strict=True)]
    added = [after - before for before, after in zip(source, translation, strict=True)]
    if not any(lost) or not any(added):
        return []
    moved = set().union(*lost) & set().union(*added)
    return [
        number
        for number, (one, other) in enumerate(zip(lost, added, strict=True))
        if not moved.isdisjoint(one) or not moved.isdisjoint(other)
    ]


def count_numbers(text: str) -> Counter[str]:
    """Count the numbers of a text by their digits, of whatever script."""
    return Counter(
        "".join(str(decimal(sign)) if sign.isdecimal() else "." for sign in number)
        for number in _NUMBER.findall(text)
    )


def _name_fault(source: Sequence[Block], translation: Sequence[Block]) -> StructureFault:
    if len(source) != len(translation):
        return StructureFault.LINES
    if all(map(is_same_block, source, translation)):
        return StructureFault.INDENTATION
    return StructureFault.MARKERS
