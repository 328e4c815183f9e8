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
from hala_hpc.data.segmentation.running_text import (
    MIN_HANGING,
    MIN_SECOND_COLUMN,
    goes_on,
    merge_running,
)
from hala_hpc.data.segmentation.spans import Span

#: Columns of a line of running text that a model may have broken at a width of its own.
MIN_BROKEN_WIDTH = 40
_SENTENCE_END = re.compile(r"[.!?:؟。！？…][\"'”’»)\]*_]*+(?=\s|\Z)|[。！？]")
_NUMBER = re.compile(r"(?<![\w.,٫])\d+(?:[.,:٫]\d+)*(?![\w])")
#: Columns of a table without pipes.
_COLUMNS = re.compile(r"\S(?:\t| {3,})\S")
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
    at = first = 0
    for number, block in enumerate(source):
        if at >= len(answer) or not is_same_block(block, answer[at]):
            return None
        if number and not _is_nested_alike(
            (source[number - 1], block), (answer[first], answer[at])
        ):
            return None
        first, at = at, _find_lines_end(source, number, answer, at, texts)
        ranges.append((answer[first].start, answer[at - 1].end))
    return ranges if at == len(answer) else None


def _find_lines_end(
    source: Sequence[Block],
    number: int,
    answer: Sequence[Block],
    first: int,
    texts: tuple[str, str],
) -> int:
    """Return the index after the last block of an answer that belongs to a block of the source."""
    block = source[number]
    following = source[number + 1] if number + 1 < len(source) else None
    is_one_of_lines = not block.is_running and (
        _is_line(following) or (number > 0 and _is_line(block))
    )
    allowed = _Breaks(block, texts[0])
    at = first + 1
    while at < len(answer) and _may_continue(answer[first], answer[at]):
        ending = texts[1][answer[at - 1].start : answer[at - 1].end].strip()
        beginning = texts[1][answer[at].start : answer[at].end].strip()
        is_table = _has_columns(ending, beginning)
        spare = len(answer) - at - (len(source) - number - 1)
        # Deeper lines that the source has as blocks are not taken from them.
        has_own = following is not None and following.indent - block.indent >= MIN_HANGING
        has_own = has_own and not block.is_running and _is_line(following)
        if not has_own and (
            _is_hanging(block, answer[first], answer[at])
            or _is_second_column(answer[first], answer[at], texts[1])
        ):
            is_taken = True
        elif has_own or is_one_of_lines:
            # Which of several lines a further one belongs to is only known within a sentence.
            is_taken = spare > 0 and not is_table and goes_on(ending, beginning)
        else:
            is_taken = (block.is_running or not is_table) and allowed.take(ending)
        if not is_taken:
            break
        at += 1
    return at


def _has_columns(*lines: str) -> bool:
    return any(map(_COLUMNS.search, lines))


def is_same_block(source: Block, answer: Block) -> bool:
    """Whether two blocks have the same kind, marker and gap."""
    return (source.kind, source.gap, source.marker) == (answer.kind, answer.gap, answer.marker)


def _is_nested_alike(source: tuple[Block, Block], answer: tuple[Block, Block]) -> bool:
    """Whether two neighbours are indented in the same order on both sides."""
    if Gap.CELL in (source[1].gap, answer[1].gap):
        return True
    if BlockKind.TEXT in (source[0].kind, source[1].kind):
        return True
    return _sign(source[1].indent - source[0].indent) == _sign(answer[1].indent - answer[0].indent)


def _sign(difference: int) -> int:
    return (difference > 1) - (difference < -1)


def _may_continue(first: Block, block: Block) -> bool:
    """Whether a line of an answer may belong to the running text that begins with another."""
    return (
        block.kind is BlockKind.TEXT
        and block.gap is Gap.LINE
        and first.kind in (BlockKind.TEXT, BlockKind.ITEM)
        and first.marker.count(">") == block.marker.count(">")
    )


def _is_line(following: Block | None) -> bool:
    """Whether the next block of the source is a line of text as well, if there is one."""
    return following is not None and following.gap is Gap.LINE and following.kind is BlockKind.TEXT


def _is_hanging(source: Block, first: Block, block: Block) -> bool:
    """Whether a line is the deeper text of an item."""
    is_deeper = block.indent - first.indent >= MIN_HANGING
    return is_deeper and (source.is_running or source.kind is BlockKind.ITEM)


def _is_second_column(first: Block, block: Block, text: str) -> bool:
    """Whether a line goes on in the second column of a line that has two."""
    is_deep = block.indent - first.indent >= MIN_SECOND_COLUMN
    return is_deep and _has_columns(text[first.start : first.end])


class _Breaks:
    """The line ends that the running text of one source block explains."""

    def __init__(self, block: Block, text: str) -> None:
        self._is_running = block.is_running
        self._sentences = len(_SENTENCE_END.findall(text[block.start : block.end].strip())) - 1

    def take(self, line: str) -> bool:
        """Whether an answer may be broken after a line: between sentences, or at its width."""
        if self._is_running:
            return True
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
    both = find_common_blocks(source, spans[0], translation, spans[1])
    before, after = _Structure(source, both[0], True), _Structure(translation, both[1], False)
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
    """The blocks of a text, and what its spans hold."""

    def __init__(self, text: str, spans: Sequence[Span], merges: bool) -> None:
        self.text, self.spans = text, spans
        self.opaque = make_opaque(text, spans)
        self.blocks = parse_blocks(self.opaque)
        if merges:
            self.blocks = merge_running(self.opaque, self.blocks)
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


def find_common_blocks(
    source: str, spans: Sequence[Span], translation: str, own: Sequence[Span]
) -> tuple[list[Span], list[Span]]:
    """Return the spans of both sides: of those with several lines the ones that both have.

    Code without a fence is recognized by what is around it, which differs between languages. A
    block that only one side has is lost or invented: a check of spans reports it, and its lines
    are compared like others.
    """
    common: list[Span] = []
    blocks: list[Span] = []
    at = 0
    for span in spans:
        text = source[span.start : span.end]
        if _is_block(text, span.kind):
            found = translation.find(text, at) if at >= 0 else -1
            if found < 0:
                at = -1  # what follows is not looked for: the time stays linear
                continue
            at = found + len(text)
            blocks.append(Span(found, at, span.kind))
        common.append(span)
    single = [span for span in own if not _is_block(translation[span.start : span.end], span.kind)]
    return common, _merge_spans(blocks, single)


def _is_block(text: str, kind: str) -> bool:
    """Whether a span is lines of their own: several, or code without backticks."""
    return "\n" in text or (kind == "code" and not text.startswith("`"))


def _merge_spans(blocks: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Merge two ordered lists of spans; of two that overlap the one of the first list stays."""
    merged, number = list(blocks), 0
    for span in others:
        while number < len(blocks) and blocks[number].end <= span.start:
            number += 1
        if number == len(blocks) or span.end <= blocks[number].start:
            merged.append(span)
    return sorted(merged, key=lambda span: span.start)


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
