"""Words for fractions such as a half and three quarters."""

import re
from functools import cache

from hala_hpc.data.text.number_words import is_spelled, normalize_arabic

#: Stem and plural of each Arabic fraction by its denominator, in the form of `normalize_arabic`.
_ARABIC = {
    2: ("نصف", "انصاف"),
    3: ("ثلث", "اثلاث"),
    4: ("ربع", "ارباع"),
    5: ("خمس", "اخماس"),
    6: ("سدس", "اسداس"),
    7: ("سبع", "اسباع"),
    8: ("ثمن", "اثمان"),
    9: ("تسع", "اتساع"),
    10: ("عشر", "اعشار"),
}
_ENGLISH = {
    2: "half|halves",
    3: "thirds?",
    4: "quarters?|fourths?",
    5: "fifths?",
    6: "sixths?",
    7: "sevenths?",
    8: "eighths?",
    9: "ninths?",
    10: "tenths?",
}
_FRENCH = {
    2: "demie?s?|moitié|mi",
    3: "tiers",
    4: "quarts?",
    5: "cinquièmes?",
    6: "sixièmes?",
    7: "septièmes?",
    8: "huitièmes?",
    9: "neuvièmes?",
    10: "dixièmes?",
}
_SPANISH = {
    2: "medi[oa]s?|mitad",
    3: "terci[oa]s?|tercera",
    4: "cuart[oa]s?",
    5: "quint[oa]s?",
    6: "sext[oa]s?",
    7: "séptim[oa]s?",
    8: "octav[oa]s?",
    9: "noven[oa]s?",
    10: "décim[oa]s?",
}
_GERMAN = {
    2: r"\w*halb\w*|hälfte",
    3: r"\w*drittel\w*",
    4: r"\w*viertel\w*",
    5: r"\w*fünftel\w*",
    6: r"\w*sechstel\w*",
    7: r"\w*sieb(?:en)?tel\w*",
    8: r"\w*achtel\w*",
    9: r"\w*neuntel\w*",
    10: r"\w*zehntel\w*",
}
_WORDS = {"en": _ENGLISH, "fr": _FRENCH, "es": _SPANISH, "de": _GERMAN}


def has_fraction_word(numerator: int, denominator: int, text: str, language: str) -> bool:
    """Whether a text has the words of a fraction, e.g. 3 and 4 as `three quarters`.

    The words may be anywhere in the text. It is true for languages without a table here, and false
    for a denominator above 10.
    """
    if language != "ar" and language not in _WORDS:
        return True
    if denominator not in _ARABIC:
        return False
    if language == "ar":
        text = normalize_arabic(text)
    if not _pattern(denominator, language).search(text):
        return False
    if numerator == 1:
        return True
    if numerator == 2 and language == "ar" and _dual(denominator).search(text):
        return True
    return is_spelled(numerator, text, language)


@cache
def _pattern(denominator: int, language: str) -> re.Pattern[str]:
    if language != "ar":
        words = _WORDS[language][denominator]
        return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    stem, plural = _ARABIC[denominator]
    # The ends of words keep a fourth (ربع) apart from four (اربعه).
    return re.compile(rf"\b[وفبلك]*(?:ال|لل)?(?:{stem}(?:ا|ان|ي|ين|ه)?|{plural})\b")


@cache
def _dual(denominator: int) -> re.Pattern[str]:
    return re.compile(rf"{_ARABIC[denominator][0]}(?:ا|ان|ي|ين)\b")
