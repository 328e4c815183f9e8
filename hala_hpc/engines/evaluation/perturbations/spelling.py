"""Ways to write Arabic differently: functions of a text, a share and a random generator.

Each returns the changed text. What is not Arabic, such as code and formulas, stays as it is.
"""

import random
import re
from collections.abc import Callable, Mapping

from hala_hpc.engines.evaluation.perturbations.english_nouns import swap_nouns

#: Forms of letters that are often written alike: alef with hamza or madda, final ya and alef
#: maqsura, ta marbuta and ha, hamza on a carrier.
MERGED_FORMS = str.maketrans("أإآٱىةؤئ", "ااااىهوي") | {ord("ى"): "ي"}
EASTERN_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
#: Fatha, damma, kasra and sukun.
VOWELS = "\u064e\u064f\u0650\u0652"
TATWEEL = "\u0640"
#: Consonants, and the letters that are joined to the next one.
CONSONANT = re.compile(r"[بتثجحخدذرزسشصضطظعغفقكلمنهوي](?![\u064b-\u0652])")
JOINED_LETTER = re.compile(r"[بتثجحخسشصضطظعغفقكلمنهيئ](?=[\u0621-\u064a])")
ARABIC_WORD = re.compile(r"[\u0621-\u063a\u0641-\u064a]{3,}")
#: A number that is not part of a Latin word.
PLAIN_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])[0-9]+(?:[.,][0-9]+)*(?![A-Za-z0-9_])")
#: Rows of letters of the Arabic 101 keyboard: a slip hits the key beside.
KEYBOARD_ROWS = ("ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤرىةوزظ")
NEIGHBORS: Mapping[str, str] = {
    letter: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in KEYBOARD_ROWS
    for place, letter in enumerate(row)
}

Change = Callable[[str, float, random.Random], str]


def merge_letter_forms(text: str, _share: float, _drawn: random.Random) -> str:
    """The text without hamza on letters, with ya for alef maqsura and ha for ta marbuta."""
    return text.translate(MERGED_FORMS)


def add_diacritics(text: str, share: float, drawn: random.Random) -> str:
    """The text with random vowel signs on a share of its bare consonants: noise, no reading."""
    return CONSONANT.sub(
        lambda found: found[0] + (drawn.choice(VOWELS) if drawn.random() < share else ""), text
    )


def add_tatweel(text: str, share: float, drawn: random.Random) -> str:
    """The text with a lengthening stroke after a share of the letters that join the next one."""
    return JOINED_LETTER.sub(
        lambda found: found[0] + (TATWEEL if drawn.random() < share else ""), text
    )


def write_eastern_digits(text: str, _share: float, _drawn: random.Random) -> str:
    """The text with ٠ to ٩ for 0 to 9, but not in Latin words."""
    return PLAIN_NUMBER.sub(lambda found: found[0].translate(EASTERN_DIGITS), text)


def slip_keys(text: str, share: float, drawn: random.Random) -> str:
    """The text with one slip in a share of its Arabic words of three letters or more.

    A slip is the key beside, a letter twice, a missing letter, or two letters in the wrong order.
    """
    return ARABIC_WORD.sub(
        lambda found: slip_in_word(found[0], drawn) if drawn.random() < share else found[0], text
    )


def slip_in_word(word: str, drawn: random.Random) -> str:
    """A word with one slip."""
    place = drawn.randrange(len(word))
    letter = word[place]
    kind = drawn.choice(("beside", "twice", "missing", "swapped"))
    if kind == "beside" and letter in NEIGHBORS:
        return word[:place] + drawn.choice(NEIGHBORS[letter]) + word[place + 1 :]
    if kind == "missing":
        return word[:place] + word[place + 1 :]
    after = word[place + 1 : place + 2]
    if kind == "swapped" and after and after != letter:
        return word[:place] + after + letter + word[place + 2 :]
    return word[:place] + letter * 2 + word[place + 1 :]


CHANGES: Mapping[str, Change] = {
    "letters": merge_letter_forms,
    "diacritics": add_diacritics,
    "tatweel": add_tatweel,
    "digits": write_eastern_digits,
    "keyboard": slip_keys,
    "english": swap_nouns,
}
