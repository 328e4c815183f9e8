"""The words of the demo's language and their forms in English and Arabic."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hala_hpc.core.errors import BAD_DATA, UserError

Forms = dict[str, str]


@dataclass(frozen=True)
class Word:
    """One word: its English forms, and its Arabic forms for each gender it can agree with."""

    english: Forms
    arabic: dict[str, Forms]
    gender: str
    """Gender of the word itself, `m` or `f`, with which other words agree."""

    def in_arabic(self, form: str, gender: str) -> str:
        """Return the Arabic form, agreeing with a gender if the word has forms of both."""
        return self.arabic.get(gender, self.arabic[self.gender])[form]


def indefinite_article(word: str) -> str:
    """Put `a` or `an` before an English word, by its first letter."""
    exceptions = ("university", "useful", "one")
    vowel = word[0] in "aeiou" and not word.startswith(exceptions)
    return f"{'an' if vowel else 'a'} {word}"


def accusative(word: str) -> str:
    """Return the indefinite accusative of an unvowelled Arabic singular."""
    if word.endswith(("ة", "اء", "ى", "ا")):
        return word
    return word[:-1] + "ئا" if word.endswith("يء") else word + "ا"


def singular_forms(word: str) -> Forms:
    """Return the forms of an Arabic noun or adjective in the singular."""
    stem = word[:-1] + "ت" if word.endswith("ة") else word
    return {
        "": word,
        "def": "ال" + word,
        "to": "لل" + word,
        "acc": accusative(word),
        "my": stem + "ي",
        "your": stem + "ك",
        "our": stem + "نا",
    }


def noun(english: str, plural: str, arabic: str, arabic_plural: str, gender: str) -> Word:
    """Build a countable noun; for agreement its plural counts as feminine."""
    forms = singular_forms(arabic) | {"pl": arabic_plural, "pldef": "ال" + arabic_plural}
    return Word({"": english, "pl": plural}, {gender: forms}, gender)


def mass(english: str, arabic: str, gender: str) -> Word:
    """Build a noun without a plural."""
    return Word({"": english}, {gender: singular_forms(arabic)}, gender)


def role(english: str, plural: str, masculine: str, feminine: str) -> Word:
    """Build a noun for a person of either gender."""
    forms = {"m": singular_forms(masculine), "f": singular_forms(feminine)}
    return Word({"": english, "pl": plural}, forms, "m")


def adjective(english: str, comparative: str, masculine: str, feminine: str, more: str) -> Word:
    """Build an adjective; form `er` compares, form `f` goes with plurals of things."""
    word = state(english, masculine, feminine)
    for forms in word.arabic.values():
        forms["er"] = more
    return Word(word.english | {"er": comparative}, word.arabic, "m")


def state(english: str, masculine: str, feminine: str) -> Word:
    """Build an adjective that is not compared."""
    of_things = {"f": feminine}
    forms = {"m": singular_forms(masculine) | of_things, "f": singular_forms(feminine) | of_things}
    if masculine.startswith("أ"):  # colours of the pattern أفعل are diptotes
        forms["m"]["acc"] = masculine
    return Word({"": english, "f": english}, forms, "m")


def number(english: str, before_masculine: str, before_feminine: str) -> Word:
    """Build a number from three to ten, which takes the gender opposite to the noun's."""
    return Word({"": english}, {"m": {"": before_masculine}, "f": {"": before_feminine}}, "m")


def plain(english: str, arabic: str, gender: str = "m") -> Word:
    """Build a name or a phrase: one form, and the accusative for adjectives of one gender."""
    return Word({"": english}, {gender: {"": arabic, "acc": accusative(arabic)}}, gender)


def capital(country: str, country_arabic: str, city: str, city_arabic: str) -> Word:
    """Build a country with its capital as the form `city`."""
    return Word({"": country, "city": city}, {"m": {"": country_arabic, "city": city_arabic}}, "m")


def opposite(english: str, arabic: str, other: str, other_arabic: str) -> Word:
    """Build an adjective with its opposite as the form `opposite`."""
    return Word(
        {"": english, "opposite": other}, {"m": {"": arabic, "opposite": other_arabic}}, "m"
    )


def addition(*parts: str) -> Word:
    """Build a sum with the forms `left`, `right` and `total`."""
    names = ("left", "right", "total")
    english, arabic = parts[:3], parts[3:]
    return Word(
        dict(zip(names, english, strict=True)), {"m": dict(zip(names, arabic, strict=True))}, "m"
    )


KINDS: dict[str, Callable[..., Word]] = {
    "noun": noun,
    "mass": mass,
    "role": role,
    "person": plain,
    "adjective": adjective,
    "state": state,
    "number": number,
    "word": plain,
    "capital": capital,
    "opposite": opposite,
    "sum": addition,
}


@cache
def lexicon() -> dict[str, tuple[Word, ...]]:
    """Read the words by slot from lexicon.txt.

    Raises: UserError (BAD_DATA) naming a malformed line.
    """
    text = files("hala_hpc.demo").joinpath("lexicon.txt").read_text(encoding="utf-8")
    found: dict[str, list[Word]] = {}
    slot, kind = "", noun
    for position, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            slot, _, name = line[1:].partition("] ")
            kind = KINDS[name]
            found[slot] = []
            continue
        try:
            found[slot].append(kind(*line.split(" | ")))
        except (TypeError, ValueError) as wrong:
            raise UserError(f"lexicon.txt, line {position}: {line!r}: {wrong}", BAD_DATA) from wrong
    return {slot: tuple(words) for slot, words in found.items()}
