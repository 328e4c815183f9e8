"""Human translations of several lines: messages of programs, from the catalogues of a machine.

Each is a file `LANGUAGE/LC_MESSAGES/NAME.mo` in the binary format of GNU gettext.
"""

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

Pair = tuple[str, str]
LOCALES = Path("/usr/share/locale")
MAX_CHARACTERS = 4000
#: Messages of one catalogue, so that no program dominates.
MAX_OF_CATALOGUE = 12
_MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}
_BLANK = re.compile(r"\n[ \t]*\n")
_LIST = re.compile(r"^[ \t]*(?:[-*•–—]|\d{1,2}[.)-]|#{1,6})[ \t]", re.MULTILINE)
_OPTION = re.compile(r"^[ \t]*(-{1,2}[A-Za-z][\w-]*)", re.MULTILINE)


def read_catalogue(path: Path) -> Iterator[Pair]:
    """Yield the messages of a catalogue with their translations, plural forms left out."""
    data = path.read_bytes()
    order = _MAGIC.get(data[:4])
    if order is None:
        return
    count, sources, targets = struct.unpack_from(f"{order}8x3I", data)
    for number in range(count):
        both = []
        for table in (sources, targets):
            length, offset = struct.unpack_from(f"{order}2I", data, table + 8 * number)
            both.append(data[offset : offset + length])
        if b"\0" in both[0] or not both[0]:
            continue
        try:
            source, target = (side.decode().split("\x04")[-1] for side in both)
        except UnicodeDecodeError:
            continue
        yield source, target


def read_pairs(folder: Path, seed: int) -> list[Pair]:
    """Return different messages of several lines with translations, in a seeded order."""
    draw = random.Random(seed)
    catalogues = sorted(folder.glob("*/LC_MESSAGES/*.mo"))
    draw.shuffle(catalogues)
    found: dict[Pair, None] = {}
    for catalogue in catalogues:
        own = [pair for pair in read_catalogue(catalogue) if is_of_lines(pair)]
        for source, target in draw.sample(own, min(len(own), MAX_OF_CATALOGUE)):
            found[source.strip("\n"), target.strip("\n")] = None
    pairs = list(found)
    draw.shuffle(pairs)
    return pairs


def is_of_lines(pair: Pair) -> bool:
    """Whether a message has several lines of language, and a translation that differs."""
    source, target = pair
    lines = [line for line in source.strip().split("\n") if re.search("[A-Za-z]{2}", line)]
    return len(lines) > 1 and len(source) < MAX_CHARACTERS and source != target and bool(target)


def keeps_the_rule(pair: Pair) -> bool:
    """Whether a translator left paragraphs, list items and options as they are.

    Human translations are defective, too. The rule looks at the text alone, without the code of the
    check: as many blank lines, and the same numbers of items, headings and options, in one order.
    """
    before, after = ((_BLANK.split(side.strip()), _LIST.findall(side)) for side in pair)
    options = [_OPTION.findall(side) for side in pair]
    return (
        len(before[0]) == len(after[0])
        and len(before[1]) == len(after[1])
        and options[0] == options[1]
        and all(
            _LIST.match(one.lstrip("\n")) is None or _LIST.match(other.lstrip("\n")) is not None
            for one, other in zip(before[0], after[0], strict=True)
        )
    )
