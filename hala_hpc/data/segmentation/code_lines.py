"""Find code that stands in a text without a fence: lines of programs, YAML, CSV, shell, traces."""

from dataclasses import dataclass, field
from enum import IntEnum

from hala_hpc.data.segmentation import code_patterns
from hala_hpc.data.segmentation.cuts import Range

#: How many blank lines may be between two lines of the same code.
MAX_BLANK_LINES = 2
#: YAML has a nested value within so many lines.
MAX_FLAT_LINES = 20


class _Evidence(IntEnum):
    """What a line says by itself; a block of code has at least `CERTAIN` in all."""

    NONE = -1
    ADJACENT = 0
    LIKELY = 1
    CERTAIN = 2


@dataclass(slots=True)
class _Block:
    """Lines that may be code: the range of lines, and the evidence in all."""

    first: int
    last: int
    evidence: int = 0
    is_in_comment: bool = False
    """Whether a comment of several lines is open."""
    is_session: bool = False
    """Whether it has a prompt: the lines below are output."""


@dataclass(slots=True)
class _Blocks:
    found: list[_Block] = field(default_factory=list)
    open: _Block | None = None

    def close(self) -> None:
        """End the block; it is found if it has enough evidence."""
        block, self.open = self.open, None
        if block and block.evidence >= _Evidence.CERTAIN:
            self.found.append(block)


def code_blocks(text: str) -> list[Range]:
    """Return the ranges of `text` that are code, data or terminal output without a fence.

    Each begins and ends with whole lines, without the white space around them. The time is linear
    in the length of the text.
    """
    lines = text.split("\n")
    kinds = [_evidence(line) for line in lines]
    if max(kinds) < _Evidence.LIKELY and not _may_hold_data(lines):
        return []
    blocks = _Blocks()
    at = 0
    while at < len(lines):
        after = _data_end(lines, at)
        if after > at:
            blocks.close()
            blocks.found.append(_Block(at, after - 1))
            at = after
            continue
        _add_line(blocks, lines, kinds, at)
        at += 1
    blocks.close()
    return _ranges(lines, blocks.found)


def _evidence(line: str) -> _Evidence:
    bare = line.strip()
    # The second is the quickest way out, for nearly all prose.
    if not bare or len(bare) > code_patterns.MAX_LINE or (bare[-1] in ".!?" and bare[0].isupper()):
        return _Evidence.NONE
    outside = code_patterns.STRINGS.sub('""', bare) if '"' in bare or "'" in bare else bare
    if code_patterns.NOT_ASCII.search(outside):
        return _Evidence.NONE
    is_comment = bare[0] == "#" or bare.startswith(("//", "/*", "-- "))
    if is_comment and not code_patterns.DIRECTIVE.match(bare):
        return _Evidence.ADJACENT
    if code_patterns.CERTAIN.match(bare) or (
        code_patterns.CERTAIN_WITHOUT_PROSE.match(bare) and not _is_sentence(outside)
    ):
        return _Evidence.CERTAIN
    return _weak_evidence(bare, outside)


def _is_sentence(outside: str) -> bool:
    """Whether a line, without strings, has a word of grammar before its comment."""
    comment = code_patterns.COMMENT.search(outside)
    end = comment.start() if comment else len(outside)
    return code_patterns.FUNCTION_WORD.search(outside, 0, end) is not None


def _weak_evidence(bare: str, outside: str) -> _Evidence:
    """Return the evidence of a line that is not certain; `outside`: without strings."""
    is_message = code_patterns.EXCEPTION.match(bare) is not None
    if not is_message and code_patterns.PROSE.search(outside):
        return _Evidence.NONE
    if code_patterns.LIKELY.match(bare) and (is_message or _has_sign(outside)):
        return _Evidence.LIKELY
    return _Evidence.ADJACENT if code_patterns.ADJACENT.match(bare) else _Evidence.NONE


def _has_sign(outside: str) -> bool:
    """Whether a line has a sign of programs, or is one word: else it is words of language."""
    first = outside.split(" ", 1)[0]
    return (
        first in (outside, "return", "def")
        or first.isupper()
        or code_patterns.SIGN.search(outside) is not None
    )


def _add_line(blocks: _Blocks, lines: list[str], kinds: list[_Evidence], at: int) -> None:
    """Add a line to the open block, open one, or close it."""
    kind, line, block = kinds[at], lines[at], blocks.open
    if not line.strip():
        if block and at - block.last > MAX_BLANK_LINES:
            blocks.close()
        return
    if kind is _Evidence.NONE:
        if block and at == block.last + 1 and _belongs(block, line):
            block.last = at
            block.is_in_comment &= "*/" not in line
        else:
            blocks.close()
        return
    if block and kind is _Evidence.ADJACENT and at > block.last + 1 and not _is_indented(line):
        blocks.close()
        block = None
    if block and not block.evidence and at > block.last + 1:
        block = None  # a heading, not a comment
    if block is None:
        blocks.open = block = _Block(at, at)
    opens = block.is_in_comment or "/*" in line
    block.is_in_comment = opens and "*/" not in line
    block.is_session |= code_patterns.PROMPT.match(line) is not None
    block.last, block.evidence = at, block.evidence + kind


def _is_indented(line: str) -> bool:
    """Whether a line is indented as the body of code is, and is no sentence."""
    return line.startswith(("  ", "\t")) and (
        code_patterns.PROSE.search(line) is None
        and code_patterns.NOT_ASCII.search(line) is None
        and line.lstrip()[0] not in "-*+•"
    )


def _belongs(block: _Block, line: str) -> bool:
    """Whether a line that is no code by itself belongs to the code above it."""
    return block.is_in_comment or _is_indented(line) or _is_output(block, line)


def _is_output(block: _Block, line: str) -> bool:
    """Whether a line of language belongs to a terminal session: it is no sentence."""
    if not block.is_session or code_patterns.NOT_ASCII.search(line):
        return False
    return not (line[0].isupper() and line.rstrip()[-1] in ".!?:")


def _may_hold_data(lines: list[str]) -> bool:
    return len(lines) > 1 and any(
        line.count(",") > 1 or line.endswith(":") or line.startswith("- ") for line in lines
    )


def _data_end(lines: list[str], at: int) -> int:
    """Return the line behind the hunk, the YAML or the CSV that begins with a line; else `at`."""
    line = lines[at]
    if line.startswith("@@ ") and (hunk := code_patterns.HUNK.match(line)):
        return _hunk_end(lines, at, int(hunk["before"] or 1), int(hunk["after"] or 1))
    if line[:1].islower() and ":" in line and code_patterns.YAML.match(line):
        return _yaml_end(lines, at)
    if line.count(",") > 1 and code_patterns.CSV_HEADER.match(line):
        return _csv_end(lines, at)
    return at


def _hunk_end(lines: list[str], at: int, before: int, after: int) -> int:
    """Return the line behind a hunk, which says how many lines it has of each side."""
    at += 1
    while at < len(lines) and (before > 0 or after > 0):
        sign = lines[at][:1]
        if sign not in ("", " ", "+", "-", "\\"):
            break
        before -= sign in ("", " ", "-")
        after -= sign in ("", " ", "+")
        at += 1
    return at


def _yaml_end(lines: list[str], at: int) -> int:
    """Return the line behind YAML, which has a keyword with deeper lines; `at` if it has none."""
    end, is_nested = at, False
    while end < len(lines):
        found = code_patterns.YAML.match(lines[end])
        if found is None and code_patterns.YAML_ITEM.match(lines[end]) is None:
            break
        if found and not found["value"] and end + 1 < len(lines):
            is_nested |= _is_below(lines[end + 1], len(found["indent"]))
        end += 1
        if not is_nested and end - at > MAX_FLAT_LINES:
            break
    return end if is_nested and end - at > 2 else at


def _is_below(line: str, indent: int) -> bool:
    deeper = len(line) - len(line.lstrip(" ")) > indent
    return deeper and (
        code_patterns.YAML.match(line) is not None
        or code_patterns.YAML_ITEM.match(line) is not None
    )


def _csv_end(lines: list[str], at: int) -> int:
    """Return the line behind rows with as many values as the header; `at` if there are none."""
    columns = lines[at].count(",")
    end = at + 1
    while end < len(lines) and len(lines[end]) <= code_patterns.MAX_LINE:
        row = lines[end].rstrip("\r")
        plain = code_patterns.STRINGS.sub("", row) if '"' in row else row
        if plain.count(",") != columns or not code_patterns.CSV.match(row):
            break
        end += 1
    return end if end - at > 1 else at


def _ranges(lines: list[str], blocks: list[_Block]) -> list[Range]:
    """Return the characters of the blocks' lines."""
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line) + 1
    ranges = []
    for block in blocks:
        first, last = lines[block.first], lines[block.last]
        start = starts[block.first] + len(first) - len(first.lstrip())
        ranges.append((start, starts[block.last] + len(last.rstrip())))
    return ranges
