"""Other ways to write the numbers that one side has and the other lacks.

These are scale words, fractions, clock times, dates, years, Roman numerals and spaces in thousands.
Each function removes from both sides what it can explain. num2words and text2num were looked at:
the first makes one form of a number, in Arabic of one gender, and the second does not read Arabic.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from hala_hpc.data.text.digits import to_western_digits
from hala_hpc.data.text.fraction_words import has_fraction_word
from hala_hpc.data.text.month_names import has_month_name
from hala_hpc.data.text.number_words import has_scale_word, is_spelled, normalize_arabic

_SCALES = (100, 10**3, 10**5, 10**6, 10**7, 10**9, 10**12)
_FRACTION = re.compile(r"(?<![\d/.,])(?:(\d{1,4})[ \u00a0]+)?(\d{1,2})[/\u2044](\d{1,2})(?![\d/])")
_CLOCK = re.compile(r"(?<![\d:.,])([01]?\d|2[0-4])[:.٫hH]([0-5]\d)(?![\d:])")
_SPACED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?!\d)")
_LAKHS = re.compile(r"(?<![\d.,])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])")
_DATE = re.compile(r"(?<!\d)\d{1,4}(?:[/.-]\d{1,2}){1,2}(?:[/.-]\d{2,4})?(?!\d)")
_ROMAN = re.compile(r"\b(?=[IVXL]{2}|[VX]\b)L?X{0,4}(?:IX|IV|V?I{0,3})\b")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}
#: Words for the second half of the day, and for the hours around midnight and noon.
_PM = re.compile(
    r"p\.? ?m\b|after-?noon|evening|night|noon|soir|après.midi|nuit|midi\b|tarde|noche|abend|nachm"
    r"|nacht|mittag|مسا|(?<!\w)م(?!\w)|ظهر|عصر|مغرب|ليل|عشيه",
    re.IGNORECASE,
)
_AM = re.compile(
    r"a\.? ?m\b|midnight|night|minuit|matin|mediano|madrugad|mitternacht|nacht|morgen|منتصف|صباح"
    r"|ليل|(?<!\w)ص(?!\w)|فجر",
    re.IGNORECASE,
)
#: Words for minutes before an hour, as in `quarter to six`.
_BEFORE_HOUR = re.compile(
    r"\b(?:to|till|of|before|الا|moins|menos|vor|dreiviertel)\b", re.IGNORECASE
)
#: Words for `24/7`.
_ALWAYS = re.compile(r"مدار|طوال|دائم|always|clock|jour|siempre|todo|rund")


@dataclass(frozen=True)
class UnmatchedNumbers:
    """The numbers of one side that the other side lacks, and the text of this side."""

    numbers: Counter[str]
    """As `1234.5`; the functions of this module remove some."""
    text: str
    language: str

    @cached_property
    def western(self) -> str:
        """The text with western digits."""
        return to_western_digits(self.text)

    @cached_property
    def plain(self) -> str:
        """The text with western digits and without Arabic diacritics."""
        return normalize_arabic(self.western)

    def remove(self, *numbers: str) -> bool:
        """Remove these numbers if all are there; returns whether they are."""
        wanted = Counter(numbers)
        if any(self.numbers[number] < count for number, count in wanted.items()):
            return False
        self.numbers.subtract(wanted)
        return True

    def has(self, number: str) -> bool:
        """Whether this number is unmatched."""
        return self.numbers[number] > 0


def match_readings(source: UnmatchedNumbers, translation: UnmatchedNumbers) -> None:
    """Remove from both sides the numbers that are written in another way on the other side."""
    for here, there in ((source, translation), (translation, source)):
        for match in (
            _match_spaced,
            _match_fractions,
            _match_hours,
            _match_clocks,
            _match_dates,
            _match_years,
            _match_roman,
            _match_scales,
        ):
            match(here, there)


def is_decimal_word(number: str, words: UnmatchedNumbers) -> bool:
    """Whether a decimal number, such as 2.5, is in words, such as two and a half, in a text."""
    whole, _, digits = number.partition(".")
    fraction = Fraction(f"0.{digits}").limit_denominator(10)
    if abs(fraction - Fraction(f"0.{digits}")) > Fraction(1, 100):
        return False
    if not has_fraction_word(fraction.numerator, fraction.denominator, words.plain, words.language):
        return False
    return whole in ("0", "1") or is_spelled(int(whole), words.plain, words.language, counts=True)


def is_part_of_scale(number: int, digits: UnmatchedNumbers, words: UnmatchedNumbers) -> bool:
    """Whether a number is in words as a part of a scale word, e.g. 500,000 as half a million."""
    own = [1, *(s for s in _SCALES if has_scale_word(s, digits.plain, digits.language))]
    for scale in _SCALES[1:]:
        if not has_scale_word(scale, words.plain, words.language):
            continue
        for times in own:
            share = Fraction(number * times, scale)
            part = share - int(share)
            if (
                part.denominator in (2, 4)
                and has_fraction_word(part.numerator, part.denominator, words.plain, words.language)
                and (share < 2 or is_spelled(int(share), words.plain, words.language, counts=True))
            ):
                return True
    return False


def is_percentage_word(number: int, digits: UnmatchedNumbers, words: UnmatchedNumbers) -> bool:
    """Whether a percentage is a fraction in words, e.g. 50 % as a half."""
    if not re.search(
        rf"(?<!\d){number}\s*(?:[%٪]|per ?cent|في الم|بالم|pour cent|por cien|Proz)", digits.western
    ):
        return False
    share = Fraction(number, 100).limit_denominator(10)
    near = abs(share - Fraction(number, 100)) <= Fraction(1, 100)
    return near and has_fraction_word(
        share.numerator, share.denominator, words.plain, words.language
    )


def _match_spaced(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match 10 000 and 10,000, and 1,00,000 and 100,000."""
    for pattern in (_SPACED, _LAKHS):
        for found in pattern.findall(here.western):
            joined, parts = re.sub(r"\D", "", found), re.findall(r"\d+", found)
            if there.has(joined) and here.remove(*(part.lstrip("0") or "0" for part in parts)):
                there.remove(joined)


def _match_fractions(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match 1/2 and a half, 2 1/2 and 2.5, and 24/7 and always."""
    for whole, above, below in _fractions(here.western):
        numbers = [str(int(above)), str(int(below))]
        if (above, below) == ("24", "7") and _ALWAYS.search(there.plain):
            here.remove(*numbers)
            continue
        if not 0 < int(above) < int(below):
            continue
        for mixed in ([str(int(whole))], []) if whole else ([],):
            decimal = _decimal(sum(map(int, mixed)), Fraction(int(above), int(below)))
            if there.has(decimal) and here.remove(*mixed, *numbers):
                there.remove(decimal)
                break
        else:
            if has_fraction_word(int(above), int(below), there.plain, there.language):
                here.remove(*numbers)
                if whole == "1" or (
                    whole and is_spelled(int(whole), there.plain, there.language, counts=True)
                ):
                    here.remove(whole)


def _fractions(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield the whole number, numerator and denominator of each fraction as they are written."""
    for match in _FRACTION.finditer(text):
        yield match[1] or "", match[2], match[3]


def _decimal(whole: int, fraction: Fraction) -> str:
    digits = f"{float(fraction):.2f}"[2:].rstrip("0")
    return f"{whole}.{digits}"


def _match_clocks(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match 5:30 and half past five, 17:45 and a quarter to six in the evening."""
    for match in _CLOCK.finditer(here.western):
        hour, minute = int(match[1]), int(match[2])
        to_hour = minute > 30 and _BEFORE_HOUR.search(there.plain) is not None
        past = 60 - minute if to_hour else minute
        named = {15: (1, 4), 20: (1, 3), 30: (1, 2)}.get(past)
        if here.has(str(minute)) and (
            (named and has_fraction_word(*named, there.plain, there.language))
            or (past and is_spelled(past, there.plain, there.language))
        ):
            here.remove(str(minute))
        if not here.has(str(hour)):
            continue
        spoken = [hour + 1 if to_hour else hour]
        if spoken[0] > 12 and _PM.search(there.plain):
            spoken.append(spoken[0] - 12)
        if any(there.remove(str(h)) for h in spoken if h != hour) or any(
            is_spelled(h, there.plain, there.language) for h in spoken
        ):
            here.remove(str(hour))


def _match_hours(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match the hours 1 to 11 p.m. and 13 to 23, and 12 a.m. and 0."""
    for hour in range(1, 12):
        if here.has(str(hour)) and there.has(str(hour + 12)) and _PM.search(here.plain):
            here.remove(str(hour))
            there.remove(str(hour + 12))
    if here.has("12") and there.has("0") and _AM.search(here.plain):
        here.remove("12")
        there.remove("0")


def _match_dates(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match the month of 5/3/2020 and 5 March 2020."""
    for date in _DATE.findall(here.western):
        for part in map(int, re.findall(r"\d+", date)):
            if here.has(str(part)) and has_month_name(part, there.plain, there.language):
                here.remove(str(part))


def _match_years(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match the years 1990-95, 5/3/20 and '90s with their four digits."""
    for short in [number for number in +here.numbers if len(number) <= 2]:
        written = rf"(?:\d{{4}} ?[-–—/] ?|['’‘]|[/.-])0?{short}(?!\d)|\b{short}['’]?s\b"
        years = [
            year
            for year in +there.numbers
            if len(year) == 4 and year.isdigit() and int(year) % 100 == int(float(short))
        ]
        if years and re.search(written, here.western):
            here.remove(short)
            there.remove(years[0])


def _match_roman(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match World War II and 2."""
    for numeral in filter(None, _ROMAN.findall(here.text)):
        there.remove(str(_roman_value(numeral)))


def _roman_value(numeral: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    return sum(
        -value if value < following else value
        for value, following in zip(values, [*values[1:], 0], strict=True)
    )


def _match_scales(here: UnmatchedNumbers, there: UnmatchedNumbers) -> None:
    """Match 5 million with 5,000,000, and 1.2 billion with 1,200 million."""
    for number in list(+here.numbers):
        for scale in _SCALES:
            if not has_scale_word(scale, here.plain, here.language):
                continue
            scaled = multiply(number, scale)
            for other in [1, *_SCALES]:
                if other > 1 and not has_scale_word(other, there.plain, there.language):
                    continue
                for candidate in list(+there.numbers):
                    if here.has(number) and multiply(candidate, other) == scaled:
                        here.remove(number)
                        there.remove(candidate)


def multiply(number: str, power_of_ten: int) -> str:
    """Return the product of a number written as `1234.5` and a power of ten."""
    whole, _, fraction = number.partition(".")
    zeros = len(str(power_of_ten)) - 1
    moved, rest = fraction[:zeros].ljust(zeros, "0"), fraction[zeros:]
    return (whole + moved).lstrip("0") + ("." + rest if rest else "")
