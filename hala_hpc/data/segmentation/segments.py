"""Split a text into segments that a model translates and literals that stay unchanged."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hala_hpc.data.segmentation import placeholders
from hala_hpc.data.segmentation.blocks import Block, make_opaque, parse_blocks
from hala_hpc.data.segmentation.cuts import (
    LEVELS,
    Cuts,
    Range,
    clause_cuts,
    cuts_outside,
    merge_ranges,
    ranges_between_cuts,
    sentence_cuts,
    word_cuts,
)
from hala_hpc.data.segmentation.lines import has_language
from hala_hpc.data.segmentation.spans import Span, protected_spans
from hala_hpc.data.segmentation.wrapping import Wrap, rewrap

_BREAK = re.compile(r"<(?:br\b|hr\b|!--)", re.IGNORECASE)
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z][\w:.-]*)")
_LEADING_PUNCTUATION = re.compile(r"[\s,.;:!?)\]|’/،؛؟–—-]*+")

#: A range, and whether its segment has several blocks.
GroupRange = tuple[Range, bool]


@dataclass(frozen=True, slots=True)
class Segment:
    """Language without white space around it, with its protected spans.

    It is on one line, or has several blocks with their markers.
    """

    text: str
    spans: tuple[Span, ...] = ()
    has_blocks: bool = False

    def masked(self) -> str:
        """Return the text for the model: a placeholder such as `[[1]]` in place of each span."""
        return placeholders.mask_ranges(self.text, self.places()) if self.spans else self.text

    def restored(self, answer: str) -> str | None:
        """Restore the spans in the model's answer; None if one is lost, doubled or invented."""
        return placeholders.unmask_ranges(answer, self.text, self.places())

    def places(self) -> list[Range]:
        """Return the masked ranges.

        Adjacent spans, such as two tags, share a placeholder: fewer are lost less often.
        """
        places: list[Range] = []
        for span in self.spans:
            if places and places[-1][1] == span.start:
                places[-1] = (places[-1][0], span.end)
            else:
                places.append((span.start, span.end))
        return places


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a text in order: literals, which stay unchanged, and segments."""

    parts: tuple[str | Segment, ...]
    wraps: tuple[Wrap, ...] = ()
    """How paragraphs of the text were wrapped; here each is one line."""
    span_count: int = 0
    """Number of protected spans of the text; 0 for a part of one."""

    @property
    def segments(self) -> list[Segment]:
        """The segments to translate."""
        return [part for part in self.parts if isinstance(part, Segment)]

    def join(self, translations: Sequence[str]) -> str:
        """Join the literals and one translation for each segment, in their order."""
        assert len(translations) == len(self.segments), "one translation for each segment"
        left = iter(translations)
        return "".join(part if isinstance(part, str) else next(left) for part in self.parts)

    def wrap(self, joined: str) -> str:
        """Wrap the paragraphs of a joined text as the source's were wrapped."""
        if not self.wraps:
            return joined
        opaque = make_opaque(joined, protected_spans(joined))
        blocks = parse_blocks(opaque)
        # Without as many blocks it would not be known which to wrap.
        if len(blocks) <= self.wraps[-1].block:
            return joined
        return rewrap(joined, opaque, blocks, self.wraps)


class AnnotatedText:
    """A text with its protected spans, from which segments are taken by range."""

    def __init__(self, text: str, spans: Sequence[Span]) -> None:
        self.text = text
        self.spans = spans
        self._starts = [span.start for span in spans]

    def spans_in(self, start: int, end: int) -> Sequence[Span]:
        """Return the spans in a range."""
        return self.spans[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def language(self, start: int, end: int) -> Range | None:
        """Return the range without white space and tags around it; None if it has no words."""
        while True:
            inner_text = self.text[start:end]
            start, end = end - len(inner_text.lstrip()), start + len(inner_text.rstrip())
            spans = self.spans_in(start, end) if start < end else ()
            if start >= end or not has_language(self.text, spans, (start, end)):
                return None
            inner = self._without_tags(start, end, spans)
            if inner == (start, end):
                return inner
            start, end = inner

    def _without_tags(self, start: int, end: int, spans: Sequence[Span]) -> Range:
        """Strip the line break or the pair of tags that encloses the range."""
        if not spans:
            return start, end
        first, last = spans[0], spans[-1]
        opens = first.start == start and first.kind == "tag"
        closes = last.end == end and last.kind == "tag"
        if opens and _BREAK.match(self.text, start):
            start = first.end
        elif closes and _BREAK.match(self.text, last.start):
            end = last.start
        elif opens and closes and self._are_a_pair(spans):
            start, end = first.end, last.start
        return start, end

    def _are_a_pair(self, spans: Sequence[Span]) -> bool:
        """Whether the first tag is closed by the last one, and not earlier."""
        tags = (_TAG.match(self.text, span.start, span.end) for span in spans)
        names = [(tag["slash"], tag["name"].lower()) if tag else ("", "") for tag in tags]
        alone = [name for _, name in names].count(names[0][1]) == 2
        return alone and names[0][0] == "" and names[-1] == ("/", names[0][1])

    def segment(self, start: int, end: int, has_blocks: bool = False) -> Segment:
        """Return the range as a segment, whatever it holds."""
        spans = self.spans_in(start, end)
        moved = tuple(Span(span.start - start, span.end - start, span.kind) for span in spans)
        return Segment(self.text[start:end], moved, has_blocks)

    def cuts(self, level: Cuts) -> list[int]:
        """Return the offsets at which the text may be cut outside of its spans."""
        places = [(span.start, span.end) for span in self.spans]
        return cuts_outside(self.text, level, places)

    def cut(self, place: Range, fits: Callable[[Segment], bool], level: int = 0) -> list[Range]:
        """Cut a range into ranges that fit, as large as possible."""
        segment = self.segment(*place)
        if fits(segment) or level == len(LEVELS):
            return [place]
        inside = AnnotatedText(segment.text, segment.spans)
        ranges = merge_ranges(
            ranges_between_cuts(len(segment.text), inside.cuts(LEVELS[level])),
            lambda inner: fits(inside.segment(*inner)),
        )
        out = []
        for start, end in ranges:
            out += self.cut((place[0] + start, place[0] + end), fits, level + 1)
        return out

    def block_language(self, block: Block) -> str | None:
        """Return the language of a block without its spans; None if it has none."""
        place = self.language(block.start, block.end)
        if place is None:
            return None
        spans = self.spans_in(*place)
        edges = [place[0], *(edge for span in spans for edge in (span.start, span.end)), place[1]]
        return " ".join(
            self.text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)
        )

    def layout_groups(self, ranges: Iterable[GroupRange]) -> Layout:
        """Return the ranges as segments, and all text between as literals."""
        parts: list[str | Segment] = []
        at = 0
        for place, has_blocks in ranges:
            parts += [self.text[at : place[0]], self.segment(*place, has_blocks)]
            at = place[1]
        parts.append(self.text[at:])
        return Layout(tuple(part for part in parts if part != ""))

    def layout(self, ranges: Iterable[Range]) -> Layout:
        """Return the ranges that hold language as segments, and all text between as literals."""
        parts: list[str | Segment] = []
        at = 0
        for rough in ranges:
            place = self.language(*rough)
            if place is None:
                continue
            parts += [self.text[at : place[0]], self.segment(*place)]
            at = place[1]
        parts.append(self.text[at:])
        return Layout(tuple(part for part in parts if part != ""))


def split_at_spans(segment: Segment) -> Layout:
    """Split a segment at its spans, so that the model reads no placeholder."""
    source = AnnotatedText(segment.text, segment.spans)
    edges = [0, *(edge for span in segment.spans for edge in (span.start, span.end))]
    ranges = []
    for start, end in zip(edges[::2], [*edges[1::2], len(segment.text)], strict=True):
        leading = _LEADING_PUNCTUATION.match(segment.text, start, end)
        ranges.append((leading.end() if leading and start else start, end))
    return source.layout(ranges)


def split_segment(segment: Segment) -> Layout:
    """Split a segment into its sentences; a single sentence into two, at a clause or a word.

    Returns one segment if it cannot be cut.
    """
    source = AnnotatedText(segment.text, segment.spans)
    length = len(segment.text)
    sentences = source.layout(ranges_between_cuts(length, source.cuts(sentence_cuts)))
    if len(sentences.segments) > 1:
        return sentences
    for level in (clause_cuts, word_cuts):
        # Try the cut nearest to the middle first; both sides must hold language.
        for cut in sorted(source.cuts(level), key=lambda at: abs(2 * at - length)):
            halves = source.layout(ranges_between_cuts(length, [cut]))
            if len(halves.segments) > 1:
                return halves
    return Layout((segment,))
