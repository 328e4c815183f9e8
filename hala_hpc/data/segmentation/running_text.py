"""Merge the lines of running text, whose ends carry no meaning: a translation may break others.

This is wider than `wrapping`: it changes no text. One line that begins in the middle of a sentence
shows that somebody broke the lines by hand.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hala_hpc.data.segmentation.blocks import Block, BlockKind, Gap

#: Columns by which a line is deeper than the item that it continues.
MIN_HANGING = 2
#: Columns by which the second column of a list is deeper than its first.
MIN_SECOND_COLUMN = 8
#: Characters of a line that the next one continues with a number or sign, and with a capital.
MIN_WIDTH, MIN_WIDTH_OF_NAMES = 45, 60
_SENTENCE_END = re.compile(r"[.!?:;؟。！？…][\"'”’»)\]*_]*+\Z")
_FIRST_LETTER = re.compile(r"[\"'“‘«(\[*_<%`]*+([^\W\d_])")


def merge_running(opaque: str, blocks: Sequence[Block]) -> list[Block]:
    """Merge the lines of each run of running text into one block, in linear time."""
    merged: list[Block] = []
    for run in _runs(blocks):
        if len(run) > 1 and _is_running(opaque, run):
            merged.append(replace(run[0], end=run[-1].end, is_running=True))
        else:
            merged += run
    return merged


def _runs(blocks: Sequence[Block]) -> list[list[Block]]:
    """Group each line with the lines of text below it that may continue it."""
    runs: list[list[Block]] = []
    for block in blocks:
        if runs and _may_follow(runs[-1][0], block):
            runs[-1].append(block)
        else:
            runs.append([block])
    return runs


def _may_follow(first: Block, block: Block) -> bool:
    if block.kind is not BlockKind.TEXT or block.gap is not Gap.LINE:
        return False
    if first.marker.count(">") != block.marker.count(">"):
        return False
    if first.kind is BlockKind.ITEM:
        return block.indent - first.indent >= MIN_HANGING or not block.indent
    return first.kind is BlockKind.TEXT


def _is_running(opaque: str, run: Sequence[Block]) -> bool:
    """Whether a line goes on in the next one, or is the deeper text of an item."""
    if run[0].kind is BlockKind.ITEM and run[1].indent - run[0].indent >= MIN_HANGING:
        return True
    # The second column of a list whose first line begins with what the column before holds.
    if run[1].indent - run[0].indent >= MIN_SECOND_COLUMN:
        return True
    contents = [opaque[block.start : block.end].strip() for block in run]
    return any(
        goes_on(before, after) or _are_sentences(before, after)
        for before, after in pairwise(contents)
    )


def _are_sentences(before: str, after: str) -> bool:
    """Whether two lines are sentences of a paragraph, the first of them a long one."""
    return before.endswith(".") and after.endswith(".") and len(before) >= MIN_WIDTH


def goes_on(before: str, after: str) -> bool:
    """Whether a line begins in the middle of the sentence of the line before."""
    if _SENTENCE_END.search(before):
        return False
    letter = _FIRST_LETTER.match(after)
    if letter is None:
        return len(before) >= MIN_WIDTH or before.endswith((",", "،", "、"))
    return letter[1].islower() or len(before) >= MIN_WIDTH_OF_NAMES
