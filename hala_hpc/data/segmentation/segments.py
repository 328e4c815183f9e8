"""A text as pieces: what a model translates, and what comes back as it is."""

import re
from collections.abc import Callable

from hala_hpc.data.segmentation.cuts import Range, clause_cuts, parts, sentence_cuts, word_cuts
from hala_hpc.data.segmentation.lines import lines_of_language
from hala_hpc.data.segmentation.source import Layout, Segment, Source
from hala_hpc.data.segmentation.spans import lost_spans, protected_spans

__all__ = ["Layout", "Segment", "around_spans", "lay_out", "lost_spans", "smaller"]

_LEADING_MARKS = re.compile(r"[\s,.;:!?)\]|’/،؛؟–—-]*+")


def lay_out(text: str, limit: int, count: Callable[[str], int]) -> Layout:
    """Cut `text` into segments of at most `limit` tokens, as few as its structure allows.

    A segment is a line without its marks, or a table's cell; over the limit it is cut at
    sentences, then clauses, then words. One word, or one span, over the limit stays whole.
    `count` gives the tokens of a text, none of which may be shorter than a byte.
    """

    def fits(segment: Segment) -> bool:
        read = segment.masked()
        return len(read) * 4 <= limit or len(read.encode()) <= limit or count(read) <= limit

    source = Source(text, protected_spans(text))
    ranges: list[Range] = []
    for line in lines_of_language(text, source.spans):
        place = source.language(*line)
        if place is not None:
            ranges += source.cut(place, fits)
    return source.layout(ranges)


def around_spans(segment: Segment) -> Layout:
    """The segment cut at its spans, so that the model reads no mark."""
    source = Source(segment.text, segment.spans)
    edges = [0, *(edge for span in segment.spans for edge in (span.start, span.end))]
    ranges = []
    for start, end in zip(edges[::2], [*edges[1::2], len(segment.text)], strict=True):
        leading = _LEADING_MARKS.match(segment.text, start, end)
        ranges.append((leading.end() if leading and start else start, end))
    return source.layout(ranges)


def smaller(segment: Segment) -> Layout:
    """The segment cut into its sentences; a single sentence into two, at a clause or a word.

    One segment if there is nowhere to cut.
    """
    source = Source(segment.text, segment.spans)
    length = len(segment.text)
    sentences = source.layout(parts(length, source.cuts(sentence_cuts)))
    if len(sentences.segments) > 1:
        return sentences
    for level in (clause_cuts, word_cuts):
        # Nearest the middle, and only where there is language on both sides.
        for cut in sorted(source.cuts(level), key=lambda at: abs(2 * at - length)):
            halves = source.layout(parts(length, [cut]))
            if len(halves.segments) > 1:
                return halves
    return Layout((segment,))
