"""Put faults into translations: the same ones for the same row and seed, in any process.

The targets of pairs and the answers of conversations are damaged; sources and questions are not.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from hala_hpc.data.ingest.damage_settings import Damage, DamageKind
from hala_hpc.data.readers.adapters import Texts, compute_row_digest

#: Arabic negations that stand as words of their own; one may be joined to "and".
NEGATIONS = ("لا", "لم", "لن", "ليس", "ليست", "ليسوا", "لست", "لسنا", "غير", "بدون", "دون")
NEGATION = re.compile(rf"(?<!\w)[وف]?(?:{'|'.join(NEGATIONS)})(?!\w)[ \t]*")
NUMBER = re.compile(r"[0-9]+|[٠-٩]+")
WORD = re.compile(r"\S+")
#: Below this number of words a half of a text has no meaning.
MIN_WORDS = 4


def damage_row(texts: Texts, row: Mapping[str, Any], damage: Damage) -> tuple[Texts, str]:
    """The texts of a row, and the kind of damage that they got; "" if they are as they were.

    `row`: as in the data, for the sources of a translated conversation (`messages_source`).
    """
    if not damage.share:
        return texts, ""
    name, _ = compute_row_digest(*texts)
    drawn = random.Random(blake2b(name, salt=damage.seed.to_bytes(8, "big")).digest())
    # One number decides, so that a larger share damages the rows of a smaller one as well.
    if drawn.random() >= damage.share:
        return texts, ""
    sources = sources_of(texts, row)
    for kind in drawn.sample(damage.kinds, len(damage.kinds)):
        damaged = [
            DAMAGE[kind](text, source, drawn) if source is not None else text
            for text, source in zip(texts.texts, sources, strict=True)
        ]
        if damaged != texts.texts:
            return texts._replace(texts=damaged), kind
    return texts, ""


def sources_of(texts: Texts, row: Mapping[str, Any]) -> list[str | None]:
    """For each text that may be damaged its source, "" if that is unknown; None for the others."""
    if not texts.roles:
        return [None, texts.texts[0]]
    listing = row.get("messages_source")
    sources = [""] * len(texts.texts)
    if isinstance(listing, Sequence) and len(listing) == len(texts.texts):
        sources = [str(turn["content"]) for turn in listing]
    return [
        source if role == "assistant" else None
        for role, source in zip(texts.roles, sources, strict=True)
    ]


def drop_negation(text: str, _source: str, _drawn: random.Random) -> str:
    """The text without its first negation."""
    return NEGATION.sub("", text, count=1)


def change_number(text: str, _source: str, drawn: random.Random) -> str:
    """The text with another value of its first number: one digit becomes another one."""
    found = NUMBER.search(text)
    if found is None:
        return text
    place = drawn.randrange(found.start(), found.end())
    zero = ord("0") if text[place] <= "9" else ord("٠")
    digit = ord(text[place]) - zero
    other = (digit + drawn.randrange(1, 10)) % 10
    return f"{text[:place]}{chr(zero + other)}{text[place + 1 :]}"


def leave_untranslated(text: str, source: str, _drawn: random.Random) -> str:
    """The first half of the text, and the second half of its source."""
    ends, starts = word_ends(text), list(WORD.finditer(source))
    if len(ends) < MIN_WORDS or len(starts) < MIN_WORDS:
        return text
    return f"{text[: ends[len(ends) // 2 - 1]]} {source[starts[len(starts) // 2].start() :]}"


def cut_half(text: str, _source: str, _drawn: random.Random) -> str:
    """The first half of the text."""
    ends = word_ends(text)
    return text[: ends[len(ends) // 2 - 1]] if len(ends) >= MIN_WORDS else text


def word_ends(text: str) -> list[int]:
    """Where each word of a text ends."""
    return [found.end() for found in WORD.finditer(text)]


DAMAGE: Mapping[DamageKind, Callable[[str, str, random.Random], str]] = {
    "negation": drop_negation,
    "number": change_number,
    "untranslated": leave_untranslated,
    "cut": cut_half,
}
