"""Lay a text out: the largest segments that fit, at one of three levels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hala_hpc.data.segmentation.blocks import (
    Block,
    Gap,
    make_opaque,
    parse_blocks,
    split_paragraphs,
)
from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.levels import SegmentLevel
from hala_hpc.data.segmentation.lines import lines_of_block
from hala_hpc.data.segmentation.segments import AnnotatedText, GroupRange, Layout, Segment
from hala_hpc.data.segmentation.spans import protected_spans
from hala_hpc.data.segmentation.wrapping import unwrap


@dataclass(frozen=True)
class LayoutRules:
    """How texts are laid out into segments."""

    limit: int
    """Maximum number of tokens of a segment."""
    count: Callable[[str], int]
    """Returns the number of tokens of a text; no token may be shorter than a byte."""
    level: SegmentLevel = "line"
    """The largest segment."""
    is_apart: Callable[[str], bool] | None = None
    """Whether a block with this language, without its spans, is a segment of its own."""

    def fits(self, segment: Segment) -> bool:
        """Whether a segment has at most `limit` tokens."""
        read = segment.masked()
        limit = self.limit
        return len(read) * 4 <= limit or len(read.encode()) <= limit or self.count(read) <= limit


def lay_out(text: str, rules: LayoutRules) -> Layout:
    """Split `text` into segments, as few as its structure and the rules allow.

    A wrapped paragraph is one line in the layout. At level `text` a segment is as many paragraphs
    as are there, if they fit; at level `paragraph` a paragraph with its lines, items and cells; at
    level `line` a line without its bullets, or a table cell. A line above the limit is cut at
    sentences, then clauses, then words. A single word or span above the limit stays whole.
    """
    spans = protected_spans(text)
    opaque = make_opaque(text, spans)
    blocks = parse_blocks(opaque)
    if len(blocks) < 2:
        source = AnnotatedText(text, spans)
        layout = source.layout_groups(_find_ranges(source, blocks, rules, "line"))
        return Layout(layout.parts, span_count=len(spans))
    flat = unwrap(text, spans, opaque, blocks)
    source = AnnotatedText(flat.text, flat.spans)
    if flat.wraps:
        blocks = parse_blocks(make_opaque(flat.text, flat.spans))
    layout = source.layout_groups(_find_ranges(source, blocks, rules, rules.level))
    return Layout(layout.parts, flat.wraps, len(spans))


def find_smaller_ranges(
    source: AnnotatedText, blocks: Sequence[Block], rules: LayoutRules
) -> list[GroupRange]:
    """Return the ranges of a smaller level for some blocks of a segment.

    They are paragraphs, and lines and cells if the segment is a single paragraph.
    """
    is_paragraph = len(split_paragraphs(blocks)) < 2
    return _find_ranges(source, blocks, rules, "line" if is_paragraph else "paragraph")


def _find_ranges(
    source: AnnotatedText, blocks: Sequence[Block], rules: LayoutRules, level: SegmentLevel
) -> list[GroupRange]:
    """Return the ranges of the segments, and whether each has several blocks."""
    if level == "line":
        return [(place, False) for place in _line_ranges(source, blocks, rules)]
    ranges: list[GroupRange] = []
    runs = [blocks] if level == "text" else split_paragraphs(blocks)
    for run in runs:
        for group in _groups(source, run, rules):
            ranges += _group_ranges(source, group, rules, level)
    return ranges


def _groups(
    source: AnnotatedText, blocks: Sequence[Block], rules: LayoutRules
) -> Iterator[list[Block]]:
    """Yield runs of blocks that begin and end with language; blocks that are apart are alone."""
    group: list[Block] = []
    row: list[Block] = []
    length = 0
    for block in blocks:
        language = source.block_language(block)
        if block.gap is not Gap.CELL:
            row = []
        row.append(block)
        if language is None:
            if group:
                group.append(block)
                # The closing pipe of a row belongs to its last cell.
                length += block.gap is Gap.CELL and length == len(group) - 1
            continue
        if rules.is_apart is not None and rules.is_apart(language):
            yield from [group[:length]] if length else []
            yield [block]
            group, row, length = [], [], 0
            continue
        # A row begins with its first cell, if that is empty as well.
        if group:
            group.append(block)
        else:
            group = list(row)
        length = len(group)
    if length:
        yield group[:length]


def _group_ranges(
    source: AnnotatedText, group: list[Block], rules: LayoutRules, level: SegmentLevel
) -> list[GroupRange]:
    """Return the range of a group if it fits, else those of its paragraphs or lines."""
    if len(group) > 1:
        end = group[-1].start + len(source.text[group[-1].start : group[-1].end].rstrip())
        place = group[0].line, end
        if group[0].gap is not Gap.CELL and rules.fits(source.segment(*place)):
            return [(place, True)]
        paragraphs = split_paragraphs(group)
        if len(paragraphs) > 1:
            return [
                found
                for paragraph in paragraphs
                for part in _groups(source, paragraph, rules)
                for found in _group_ranges(source, part, rules, level)
            ]
    return [(place, False) for place in _line_ranges(source, group, rules)]


def _line_ranges(
    source: AnnotatedText, blocks: Sequence[Block], rules: LayoutRules
) -> Iterator[Range]:
    for block in blocks:
        spans = source.spans_in(block.start, block.end)
        for line in lines_of_block(source.text, block, spans):
            place = source.language(*line)
            for part in source.cut(place, rules.fits) if place is not None else ():
                if (found := source.language(*part)) is not None:
                    yield found
