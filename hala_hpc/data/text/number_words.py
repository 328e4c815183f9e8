"""Number words in English and in Arabic, and those above 20 in French, Spanish and German."""

import re

from hala_hpc.data.text.european_number_words import ABOVE_TWENTY

#: Patterns of the words for a number, cardinal and ordinal. Arabic stems are written as returned by
#: `normalize_arabic`: without diacritics, hamza and the dots of ta marbuta.
_ENGLISH = {
    0: "zero|nil",
    1: "one|first|once|single|an?|another|each",
    2: "two|second|twice|both|pair|couple|double|half|secondly",
    3: "three|third|thrice|triple|thirds",
    4: "four|fourth|quarters?|quadruple",
    5: "five|fifth",
    6: "six|sixth",
    7: "seven|seventh",
    8: "eight|eighth",
    9: "nine|ninth",
    10: "ten|tenth|decades?",
    11: "eleven|eleventh",
    12: "twelve|twelfth|dozen",
    13: "thirteen|thirteenth",
    14: "fourteen|fourteenth",
    15: "fifteen|fifteenth",
    16: "sixteen|sixteenth",
    17: "seventeen|seventeenth",
    18: "eighteen|eighteenth",
    19: "nineteen|nineteenth",
    20: "twenty|twentieth|twenties",
    30: "thirty|thirtieth|thirties",
    40: "forty|fortieth|forties",
    50: "fifty|fiftieth|fifties",
    60: "sixty|sixtieth|sixties",
    70: "seventy|seventieth|seventies",
    80: "eighty|eightieth|eighties",
    90: "ninety|ninetieth|nineties",
    100: "hundreds?|hundredth|century",
    1000: "thousands?|thousandth|k|grand",
    10**6: "millions?|m|mn",
    10**5: "lakhs?",
    10**7: "crores?",
    10**9: "billions?|bn|b",
    10**12: "trillions?|tn",
}
_ARABIC = {
    0: "صفر|معدوم",
    1: r"واحد|\b[وبلفك]?(?:ال|لل)?(?:احدي?|حادي?ه?|اول[اي]?|وحيده?)\b|منفرد|مفرد",
    2: "اثن|ثان|ثنا|زوج|ضعف|كلا|مرتي",
    3: "ثلاث|ثالث|ثلث",
    4: r"اربع|رابع|رباع|\bال?ربع",
    5: "خمس|خامس|خماس",
    6: r"\b[وبلفك]?(?:ال)?سته?\b|ستت|ستما?ي|سادس|سدس|سداس",
    7: "سبع|سابع|سباع",
    8: "ثمان|ثامن|ثمن",
    9: "تسع|تاسع",
    10: "عشر|عاشر|عقد|عقود",
    11: "(?:احد[يه]?|حادي?ه?) عشر",
    12: "(?:اثن\\w*|ثاني\\w*) عشر|دزين",
    20: "عشر(?:ون|ين)",
    30: "ثلاث(?:ون|ين)",
    40: "اربع(?:ون|ين)",
    50: "خمس(?:ون|ين)",
    60: "ست(?:ون|ين)",
    70: "سبع(?:ون|ين)",
    80: "ثمان(?:ون|ين)",
    90: "تسع(?:ون|ين)",
    100: r"ما?ي(?:ه|ت|وي)|مءه|مءت|قرن",
    1000: r"\b[وبل]?(?:ال)?الف(?:ا|ي|ان|ين)?\b|الاف",
    10**6: "مليون|ملايين",
    10**9: "مليار|بليون|بلايين",
    10**12: "تريليون",
}
_WORDS = {
    # Digits and scale words may be joined, as in `5bn`.
    "en": {
        n: re.compile(rf"(?<![^\W\d_])(?:{words})\b", re.IGNORECASE)
        for n, words in _ENGLISH.items()
    },
    "ar": {n: re.compile(words) for n, words in _ARABIC.items()},
}
#: The dual, and that of scale words before a noun.
_DUAL = r"\w\w(?:ان|ين|تا|تي)\b|(?:مليون|مليار|بليون|تريليون|الف)[اي]\b"
#: Patterns for counts of 0, 1 and 2 that are expressed without a number.
_COUNTED = {
    "en": [re.compile(rf"\b(?:{w})\b", re.IGNORECASE) for w in ("no|none|any|not", "an?", "both")],
    "ar": [re.compile(words) for words in (r"\b(?:لا|اي|بدون|بلا|دون|ليس)\b", "", _DUAL)],
}
_DOZEN = re.compile(r"\bdozens?\b|دزين", re.IGNORECASE)
_SCALES = (100, 1000, 10**6, 10**9, 10**12)
_DIACRITICS = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670]")
_PLAIN_LETTERS = str.maketrans("أإآىةؤئ", "ااايهوي")


def is_spelled(number: int, text: str, language: str, *, counts: bool = False) -> bool:
    """Whether a text has the words of a number, e.g. 25 as `خمسة وعشرون`.

    The parts may be anywhere in the text. With `counts`, `no` also means 0, and in Arabic the
    singular means 1 and the dual 2. In other languages, numbers up to 20 count as spelled.
    """
    words = _WORDS.get(language)
    if words is None:
        return number <= 20 or _is_spelled_in_europe(number, text, language)
    if language == "ar":
        text = normalize_arabic(text)
    if counts and number < 3 and _COUNTED[language][number].search(text):
        return True
    if number % 12 == 0 and 12 < number < 120 and _DOZEN.search(text):  # two dozen
        return words[number // 12].search(text) is not None
    return all(words[part].search(text) for part in _parts(number, words))


def _is_spelled_in_europe(number: int, text: str, language: str) -> bool:
    """Do `is_spelled` for a number above 20, whose parts up to 20 are not searched."""
    words = ABOVE_TWENTY.get(language)
    if words is None:
        return False
    return all(words[part].search(text) for part in _parts(number, words) if part in words)


def has_scale_word(scale: int, text: str, language: str) -> bool:
    """Whether a text has a scale word such as `million`."""
    words = _WORDS.get(language) or ABOVE_TWENTY.get(language)
    if words is None or scale not in words:
        return False
    return bool(words[scale].search(normalize_arabic(text) if language == "ar" else text))


def normalize_arabic(text: str) -> str:
    """Remove the Arabic diacritics and unify the forms of alef, ya and ta marbuta."""
    return _DIACRITICS.sub("", text).translate(_PLAIN_LETTERS)


def _parts(number: int, words: dict[int, re.Pattern[str]]) -> list[int]:
    """Return the numbers whose words together spell a number, e.g. 2, 20, 100 for 122."""
    if number in words and number < 100:
        return [number]
    if number < 20:
        return [number - 10, 10]
    if number < 100:
        return [number - number % 10, number % 10]
    scale = max(scale for scale in _SCALES if scale <= number)
    times, rest = divmod(number, scale)
    # One hundred needs no word for one; the Arabic dual needs none for two.
    parts = [scale] if times <= 2 else [scale, *_parts(times, words)]
    return parts + (_parts(rest, words) if rest else [])
