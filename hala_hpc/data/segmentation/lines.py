"""Find the language in a text: its lines without bullets, indentation and table pipes."""

import re
from collections.abc import Sequence

from hala_hpc.data.segmentation.blocks import Block
from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.spans import Span

_LINE_END = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# A single Latin letter is a variable, an option or a unit.
_LANGUAGE = re.compile(r"[^\W\d_A-Za-z]|[A-Za-z]{2}")


def lines_of_block(text: str, block: Block, spans: Sequence[Span]) -> list[Range]:
    """Return the ranges of a block that are to be translated; `spans` are those in the block.

    A span with a line end, such as a formula on lines of its own, ends the line before it.
    """
    ranges, at = [], block.start
    for span in spans:
        if _LINE_END.search(text, span.start, span.end):
            ranges.append((at, span.start))
            at = span.end
    return [*ranges, (at, block.end)]


def has_language(text: str, spans: Sequence[Span], place: Range) -> bool:
    """Whether a range has words outside of `spans`, the spans in this range."""
    at, end = place
    for span in spans:
        if _LANGUAGE.search(text, at, span.start):
            return True
        at = span.end
    return _LANGUAGE.search(text, at, end) is not None
