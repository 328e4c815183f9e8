"""Plants one structural defect of a kind into a translation; shares no code with the check.

A planter takes the lines of both sides and a random generator, and changes the lines of the
translation. It returns False if the pair has no place for its kind. Some kinds need lists, tables
or headings that few messages have: `with_list` and its like build them first, on both sides alike,
from the lines of the pair.
"""

import random
import re
from collections.abc import Callable
from functools import wraps

Lines = list[str]
Planter = Callable[[Lines, Lines, random.Random], bool]

_WORDS = re.compile(r"[^\W\d_]{2,}")


def at_one_of(
    find: Callable[[Lines], list[int]],
) -> Callable[[Callable[[Lines, int], None]], Planter]:
    """Make a planter of what it does at one line; `find` gives the lines where it can."""

    def decorate(edit: Callable[[Lines, int], None]) -> Planter:
        @wraps(edit)
        def plant(source: Lines, lines: Lines, draw: random.Random) -> bool:
            del source
            found = find(lines)
            if found:
                edit(lines, draw.choice(found))
            return bool(found)

        return plant

    return decorate


def blank_lines(lines: Lines) -> list[int]:
    """Numbers of the blank lines between two others."""
    return [
        at
        for at in range(1, len(lines) - 1)
        if not lines[at].strip() and lines[at - 1].strip() and lines[at + 1].strip()
    ]


def starts(lines: Lines, sign: str) -> list[int]:
    """Numbers of the lines that begin with a sign, white space aside."""
    return [at for at, line in enumerate(lines) if line.lstrip().startswith(sign)]


def numbered(lines: Lines) -> list[int]:
    """Numbers of the lines that begin with a number and a full stop."""
    return [at for at, line in enumerate(lines) if re.match(r"\s*\d+\. ", line)]


@at_one_of(blank_lines)
def merged_paragraphs(lines: Lines, at: int) -> None:
    """Remove a blank line."""
    del lines[at]


def split_paragraph(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Add a blank line."""
    del source
    found = [
        at for at in range(1, len(lines)) if _WORDS.search(lines[at]) and lines[at - 1].strip()
    ]
    if found:
        lines.insert(draw.choice(found), "")
    return bool(found)


@at_one_of(lambda lines: starts(lines, "- ") + numbered(lines))
def dropped_item(lines: Lines, at: int) -> None:
    """Drop an item of a list."""
    del lines[at]


@at_one_of(lambda lines: [at for at in starts(lines, "- ") if at - 1 in starts(lines, "- ")])
def merged_items(lines: Lines, at: int) -> None:
    """Write two items in one line."""
    lines[at - 1] += " " + lines.pop(at).lstrip()[2:]


@at_one_of(lambda lines: starts(lines, "- "))
def lost_bullet(lines: Lines, at: int) -> None:
    """Drop a bullet."""
    lines[at] = lines[at].replace("- ", "", 1)


@at_one_of(lambda lines: starts(lines, "- "))
def doubled_item(lines: Lines, at: int) -> None:
    """Write an item twice."""
    lines.insert(at, lines[at])


@at_one_of(lambda lines: [at for at in starts(lines, "- ") if lines[at].startswith("   ")])
def flat_item(lines: Lines, at: int) -> None:
    """Write a nested item as one of the outer list."""
    lines[at] = lines[at].lstrip()


@at_one_of(lambda lines: [at for at in numbered(lines) if at - 1 in numbered(lines)])
def deeper_item(lines: Lines, at: int) -> None:
    """Indent an item."""
    lines[at] = "    " + lines[at]


def restarted_numbers(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Number the rest of a list from 1."""
    del source
    found = numbered(lines)
    if len(found) < 2:
        return False
    for number, at in enumerate(found[draw.randrange(1, len(found)) :], start=1):
        lines[at] = re.sub(r"\d+", str(number), lines[at], count=1)
    return True


def swapped_items(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Swap two numbered items with their numbers."""
    del source
    found = numbered(lines)
    if len(found) < 2:
        return False
    number = draw.randrange(1, len(found))
    one, other = found[number - 1], found[number]
    lines[one], lines[other] = lines[other], lines[one]
    return True


def numbers_for_bullets(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Number a list of bullets."""
    del source, draw
    found = starts(lines, "- ")
    for number, at in enumerate(found, start=1):
        lines[at] = lines[at].replace("- ", f"{number}. ", 1)
    return bool(found)


@at_one_of(lambda lines: starts(lines, "# ") + starts(lines, "## "))
def lost_heading(lines: Lines, at: int) -> None:
    """Write a heading as text."""
    lines[at] = lines[at].lstrip("# ")


def other_heading(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Change the level of a heading."""
    del source
    found = starts(lines, "## ")
    if found:
        at = draw.choice(found)
        lines[at] = draw.choice(["#", "### "]) + lines[at].lstrip("#")
    return bool(found)


@at_one_of(lambda lines: [at for at in starts(lines, "## ") if at + 1 < len(lines)])
def joined_heading(lines: Lines, at: int) -> None:
    """Write a heading and the text below in one line."""
    rest = lines.pop(at + 1) or lines.pop(at + 1)
    lines[at] += " " + rest


@at_one_of(lambda lines: starts(lines, "> "))
def lost_quote(lines: Lines, at: int) -> None:
    """Drop a quotation marker."""
    lines[at] = lines[at].replace("> ", "", 1)


@at_one_of(lambda lines: starts(lines, "```"))
def eaten_fence(lines: Lines, at: int) -> None:
    """Drop the first or last line of a code block."""
    del lines[at]


@at_one_of(lambda lines: starts(lines, "| "))
def lost_cell(lines: Lines, at: int) -> None:
    """Drop a cell of a table."""
    lines[at] = "|" + lines[at].split("|", 2)[2]


@at_one_of(lambda lines: [at for at in starts(lines, "| ") if "`" in lines[at]])
def swapped_cells(lines: Lines, at: int) -> None:
    """Swap two cells, one of which has code."""
    cells = lines[at].split("|")
    cells[1], cells[2] = cells[2], cells[1]
    lines[at] = "|".join(cells)


@at_one_of(lambda lines: starts(lines, "| "))
def lost_row(lines: Lines, at: int) -> None:
    """Drop a row of a table."""
    del lines[at]


def lost_rule(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Drop the second row of a table."""
    del source, draw
    found = starts(lines, "|--")
    if found:
        del lines[found[0]]
    return bool(found)


def moved_span(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Move code into another item."""
    del source, draw
    found = [at for at, line in enumerate(lines) if "`x_1`" in line]
    targets = [at for at in starts(lines, "- ") if at not in found]
    if not found or not targets:
        return False
    lines[found[0]] = lines[found[0]].replace(" `x_1`", "", 1)
    lines[targets[-1]] += " `x_1`"
    return True


def lost_option(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Drop the name of an option."""
    del source
    found = [at for at in starts(lines, "--") if re.match(r"\s*--[a-z]", lines[at])]
    if len(found) < 2:
        return False
    at = draw.choice(found)
    lines[at] = re.sub(r"--[a-z][\w-]*", "", lines[at], count=1)
    return True


def dropped_verse(source: Lines, lines: Lines, draw: random.Random) -> bool:
    """Drop a line of a block whose lines are an address or a verse: short ones with capitals."""
    found = [at for at, line in enumerate(source) if line.startswith(("Street", "City", "Country"))]
    if not found or len(source) != len(lines):
        return False
    del lines[draw.choice(found)]
    return True


KINDS: dict[str, Planter] = {
    planter.__name__: planter
    for planter in (
        *(merged_paragraphs, split_paragraph, dropped_item, merged_items, lost_bullet),
        *(doubled_item, flat_item, deeper_item, restarted_numbers, swapped_items),
        *(numbers_for_bullets, lost_heading, other_heading, joined_heading, lost_quote),
        *(eaten_fence, lost_cell, swapped_cells, lost_row, lost_rule, moved_span),
        *(lost_option, dropped_verse),
    )
}


def furnish(pair: tuple[str, str], draw: random.Random) -> tuple[Lines, Lines]:
    """Add to both sides, in one order, the structure that a planter needs; words of the pair."""
    words = [(_WORDS.findall(side) or ["x"]) * 12 for side in pair]
    sides = [side.split("\n") for side in pair]
    parts: list[tuple[Lines, Lines]] = []
    for make in draw.sample(_PARTS, 4):
        parts.append((make(words[0]), make(words[1])))
    for side, number in ((sides[0], 0), (sides[1], 1)):
        for part in parts:
            side += ["", *part[number]]
    return sides[0], sides[1]


def _list(words: Lines) -> Lines:
    return [
        f"- {words[0]} {words[1]} `x_1`",
        f"- {words[2]}",
        f"   - {words[3]} {words[4]}",
        f"- {words[5]}",
    ]


def _numbers(words: Lines) -> Lines:
    return [f"{number}. {words[number]} {words[number + 1]}" for number in (1, 2, 3)]


def _heading(words: Lines) -> Lines:
    return [f"## {words[0]}", "", f"{words[1]} {words[2]}"]


def _quote(words: Lines) -> Lines:
    return [f"> {words[0]} {words[1]}", "", words[2]]


def _table(words: Lines) -> Lines:
    return [
        f"| {words[0]} | {words[1]} |",
        "|---|---|",
        f"| {words[2]} `y_2` | {words[3]} |",
        f"| {words[4]} `z_3` | 17 |",
    ]


def _fence(words: Lines) -> Lines:
    return [f"{words[0]}:", "```sh", "ls -l", "```"]


def _verse(words: Lines) -> Lines:
    return [
        f"{name} {word}" for name, word in zip(("Street", "City", "Country"), words, strict=False)
    ]


_PARTS = [_list, _numbers, _heading, _quote, _table, _fence, _verse]
