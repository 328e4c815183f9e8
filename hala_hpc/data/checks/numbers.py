"""Whether a translation has the numbers of its source."""

import re
from collections import Counter

from hala_hpc.data.checks.views import Sides, Text
from hala_hpc.data.text.digits import to_western_digits
from hala_hpc.data.text.number_words import has_scale_word, is_spelled
from hala_hpc.data.text.scripts import primary_subtag

_FULL_HOUR = re.compile(r"(?<=\d):00(?!\d)")
_NUMBER = re.compile(r"\d+(?:[.,٫٬،’'\u00a0\u202f]\d+)*")
_RUN = re.compile(r"[0-9]+")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:([.,٬،’'\u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*")
_DECIMAL = re.compile(r"([0-9]+)[.,٫]([0-9]+)")


def wrong_numbers(sides: Sides) -> bool:
    """Whether numbers were lost or invented, protected spans aside.

    Digits of any script and any separators are the same number. A number may be a word on one side
    (`3 books`, `ثلاثة كتب`), and so may its zeros (`5 million`, `5,000,000`).
    """
    source, translation = (
        written_numbers(sides.source.plain),
        written_numbers(sides.translation.plain),
    )
    if source == translation:
        return False
    before, after = _one_notation(source), _one_notation(translation)
    if before == after or _runs(source) == _runs(translation):
        return False
    lost, invented = before - after, after - before
    _match_scales(sides, lost, invented)
    return any(not _is_word(number, sides.source, sides.translation) for number in +lost) or any(
        not _is_word(number, sides.translation, sides.source) for number in +invented
    )


def written_numbers(text: str) -> list[str]:
    """Return the numbers of a text as written, with western digits."""
    # `10:00` is often written as ten.
    return [to_western_digits(number) for number in _NUMBER.findall(_FULL_HOUR.sub("", text))]


def _one_notation(written: list[str]) -> Counter[str]:
    """Count each number as `1234.5`; lists, dates and versions as their parts."""
    found: Counter[str] = Counter()
    for number in written:
        found.update(_parts(number))
    return found


def _parts(number: str) -> list[str]:
    grouped = _GROUPED.match(number)
    whole, rest = (grouped.group(), number[grouped.end() :]) if grouped else ("", number)
    digits = "".join(_RUN.findall(whole))
    if whole and not rest:
        return [digits]
    decimal = _DECIMAL.fullmatch(digits + rest)
    if decimal is None:
        return [_without_zeros(run) for run in _RUN.findall(number)]
    fraction = decimal[2].rstrip("0")
    return [_without_zeros(decimal[1]) + ("." + fraction if fraction else "")]


def _without_zeros(run: str) -> str:
    return run.lstrip("0") or "0"


def _runs(written: list[str]) -> Counter[str]:
    """Count each run of digits: the same for `1,2` and `1، 2`."""
    return Counter(_without_zeros(run) for number in written for run in _RUN.findall(number))


def _match_scales(sides: Sides, lost: Counter[str], invented: Counter[str]) -> None:
    """Remove from both the numbers that one side writes with a scale word."""
    for fewer, more, text in (
        (lost, invented, sides.source),
        (invented, lost, sides.translation),
    ):
        for number in list(+fewer):
            for scale in (100, 10**3, 10**6, 10**9, 10**12):
                scaled = _times(number, scale)
                if more[scaled] > 0 and has_scale_word(
                    scale, text.plain, primary_subtag(text.language)
                ):
                    both = min(fewer[number], more[scaled])
                    fewer[number] -= both
                    more[scaled] -= both


def _times(number: str, power_of_ten: int) -> str:
    """Return the product of a number in this notation and a power of ten."""
    whole, _, fraction = number.partition(".")
    zeros = len(str(power_of_ten)) - 1
    moved, rest = fraction[:zeros].ljust(zeros, "0"), fraction[zeros:]
    return (whole + moved).lstrip("0") + ("." + rest if rest else "")


def _is_word(number: str, digits: Text, words: Text) -> bool:
    """Whether a number in digits of one text is in words in the other."""
    language = primary_subtag(words.language)
    if "." in number:
        return number == "0.5" and is_spelled(2, words.plain, language)
    if len(number) == 4 and re.search(rf"\b{number}['’]?s\b", digits.plain):
        number = number[2:]  # the 1990s are the nineties
    # Longer runs of digits are identifiers, and too long for Python's int conversion.
    if len(number) > 15:
        return False
    counts = (
        number in ("0", "1", "2")
        and re.search(rf"(?<![\w.-]){number} +[^\W\d_]", digits.plain) is not None
    )
    return is_spelled(int(number), words.plain, language, counts=counts)
