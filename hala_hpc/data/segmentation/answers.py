"""Read the answer to a segment of several blocks: the content of each block, where it has one."""

import re
from collections.abc import Sequence

from hala_hpc.data.segmentation.alignment import count_numbers, find_moved, match_blocks
from hala_hpc.data.segmentation.blocks import Block, parse_blocks, split_paragraphs
from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.placeholders import Unmasking
from hala_hpc.data.segmentation.segments import Segment

_LINE_ENDS = re.compile(r"[ \t]*+(?:\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])[ \t>]*+")


def read_block_answers(segment: Segment, blocks: Sequence[Block], answer: str) -> list[str | None]:
    """Return what an answer has for each block of a segment, with the spans restored.

    None for the blocks whose paragraph has another structure, that lack a span of theirs or have
    that of another block; for all if the number of paragraphs differs. Lines into which a model
    broke running text are joined.
    """
    masked = segment.masked()
    own = parse_blocks(masked)
    places = _match_paragraphs(own, masked, answer)
    if len(own) != len(blocks):
        return [None] * len(blocks)
    contents = [None if place is None else join_lines(answer[slice(*place)]) for place in places]
    numbers = [count_numbers(masked[block.start : block.end]) for block in own]
    found = [count_numbers(content or "") for content in contents]
    for index in find_moved(numbers, found):
        contents[index] = None
    return _restore(segment, blocks, contents)


def _match_paragraphs(own: Sequence[Block], masked: str, answer: str) -> list[Range | None]:
    """Return the range of each block in an answer; None for those of a paragraph that differs."""
    paragraphs, answered = split_paragraphs(own), split_paragraphs(parse_blocks(answer))
    places: list[Range | None] = []
    if len(paragraphs) != len(answered):
        return [None] * len(own)
    for before, after in zip(paragraphs, answered, strict=True):
        found = match_blocks(before, after, (masked, answer))
        places += [None] * len(before) if found is None else found
    return places


def join_lines(content: str) -> str:
    """Join the lines into which a model broke running text."""
    return _LINE_ENDS.sub(" ", content.strip())


def _restore(
    segment: Segment, blocks: Sequence[Block], contents: Sequence[str | None]
) -> list[str | None]:
    """Restore the spans of each block."""
    places = segment.places()
    unmasking = Unmasking(segment.text, places)
    restored: list[str | None] = []
    at = 0
    for block, content in zip(blocks, contents, strict=True):
        first = at
        while at < len(places) and places[at][0] < block.end:
            at += 1
        wanted = range(first, at)
        restored.append(None if content is None else unmasking.restore(content, wanted))
    return restored
