"""Offsets at which a text that is too long may be cut, the best kind first."""

import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

Range = tuple[int, int]
Cuts = Callable[[str], Iterator[int]]

_CLOSING_PUNCTUATION = re.compile(r"[*_\"'”’»)\]]*+\s++")
_CLAUSE_END = re.compile(r"[,;:،؛،、，；：—–)\]»”]++[*_\"'”’]*+\s++|[、，；：]")
_WHITE_SPACE = re.compile(r"\s++")


def sentence_cuts(text: str) -> Iterator[int]:
    """Yield the offsets at which a sentence starts, except the first.

    By sentencex (Wikimedia), with its rules for English: it knows the full stops of all scripts in
    any language, and only the abbreviations differ.
    """
    from sentencex import segment  # type: ignore[import-untyped]

    at = 0
    for sentence in segment("en", text)[:-1]:
        at += len(sentence)
        if text[at - 1].isspace() or text[at - 1] in "。！？":
            yield at
        # sentencex cuts **so.** Then before the closing asterisks.
        elif behind := _CLOSING_PUNCTUATION.match(text, at):
            yield behind.end()


def clause_cuts(text: str) -> Iterator[int]:
    """Yield the offsets after commas, colons, dashes and brackets."""
    return (clause.end() for clause in _CLAUSE_END.finditer(text))


def word_cuts(text: str) -> Iterator[int]:
    """Yield the offsets at which a word starts."""
    return (gap.end() for gap in _WHITE_SPACE.finditer(text))


LEVELS: tuple[Cuts, ...] = (sentence_cuts, clause_cuts, word_cuts)


def cuts_outside(text: str, cuts: Cuts, places: Sequence[Range]) -> list[int]:
    """Return the offsets of `cuts(text)` that are not inside one of the `places`."""
    starts = [start for start, _ in places]
    allowed = []
    for at in cuts(text):
        before = bisect_right(starts, at - 1) - 1
        inside = before >= 0 and places[before][0] < at < places[before][1]
        if 0 < at < len(text) and not inside:
            allowed.append(at)
    return allowed


def ranges_between_cuts(length: int, cuts: Sequence[int]) -> list[Range]:
    """Return the ranges between the cuts of a text of `length` characters."""
    return list(itertools.pairwise([0, *cuts, length]))


def merge_ranges(ranges: Sequence[Range], fits: Callable[[Range], bool]) -> list[Range]:
    """Merge neighbouring ranges as long as they fit together.

    Doubles the number of neighbours and then narrows it down. So a thousand words call `fits` a few
    times for each merged range, not once for each word.
    """
    out: list[Range] = []
    at = 0
    while at < len(ranges):
        last, step, growing = at, 1, True
        while step:
            further = last + step
            if further < len(ranges) and fits((ranges[at][0], ranges[further][1])):
                last = further
            else:
                growing = False
            step = step * 2 if growing else step // 2
        out.append((ranges[at][0], ranges[last][1]))
        at = last + 1
    return out
