"""Sentence patterns, filled with words that agree in form and gender."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hala_hpc.demo.words import Word, indefinite_article, lexicon

SLOT = re.compile(r"\{(?P<slot>[a-z]+\d?)(?:\.(?P<form>[a-z]+))?(?:~(?P<like>[a-z]+\d?))?"
                  r"(?:\?(?P<m>[^/}]*)/(?P<f>[^}]*))?\}")  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One sentence in both languages."""

    english: str
    arabic: str


@dataclass(frozen=True)
class Pattern:
    """A statement (one pair) or a question with its answer (two pairs), with open slots."""

    topic: str
    """The section of patterns.txt that contains it."""
    pairs: tuple[Pair, ...]

    @property
    def slots(self) -> list[str]:
        """Names of the open slots, in order of first appearance."""
        text = " ".join(f"{pair.english} {pair.arabic}" for pair in self.pairs)
        return list(dict.fromkeys(match["slot"] for match in SLOT.finditer(text)))

    def fill(self, draw: random.Random) -> tuple[Pair, ...]:
        """Put drawn words into the slots; two slots of one kind get different words."""
        return self.put(self.draw_words(draw))

    def draw_words(self, draw: random.Random) -> dict[str, Word]:
        """Draw a word for each slot; two slots of one kind get different words."""
        words: dict[str, Word] = {}
        for slot in self.slots:
            taken = [word.english for word in words.values()]
            words[slot] = draw.choice(
                [word for word in lexicon()[lexicon_section(slot)] if word.english not in taken]
            )
        return words

    def fill_all(self) -> Iterator[tuple[Pair, ...]]:
        """Put every word into the slot of a pattern that has just one kind."""
        (slot,) = self.slots
        for word in lexicon()[slot]:
            yield self.put({slot: word})

    def put(self, words: dict[str, Word]) -> tuple[Pair, ...]:
        """Put these words into the slots."""
        return tuple(
            Pair(in_english(pair.english, words), in_arabic(pair.arabic, words))
            for pair in self.pairs
        )


def lexicon_section(slot: str) -> str:
    """Return the section of the lexicon whose words a slot takes: `text` for the slot text2."""
    return slot.rstrip("0123456789")


def in_english(pattern: str, words: dict[str, Word]) -> str:
    """Fill the English side: forms, `a` or `an`, and a capital letter at the start."""
    text = SLOT.sub(lambda match: words[match["slot"]].english[match["form"] or ""], pattern)
    text = re.sub(r"\ba (\w+)", lambda match: indefinite_article(match[1]), text)
    return text[0].upper() + text[1:]


def in_arabic(pattern: str, words: dict[str, Word]) -> str:
    """Fill the Arabic side: forms that agree in gender, and verbs chosen by gender."""

    def fill_slot(match: re.Match[str]) -> str:
        word = words[match["slot"]]
        if match["m"] is not None:
            return match["m"] if word.gender == "m" else match["f"]
        gender = words[match["like"]].gender if match["like"] else word.gender
        return word.in_arabic(match["form"] or "", gender)

    return SLOT.sub(fill_slot, pattern)


@cache
def patterns() -> tuple[Pattern, ...]:
    """Return every pattern of patterns.txt."""
    text = files("hala_hpc.demo").joinpath("patterns.txt").read_text(encoding="utf-8")
    found, topic = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            topic = line.strip("[]")
        elif line and not line.startswith("#"):
            sides = line.split(" | ")
            found.append(Pattern(topic, tuple(map(Pair, sides[::2], sides[1::2]))))
    return tuple(found)
