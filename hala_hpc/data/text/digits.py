"""Convert the digits of a text between scripts."""

import re
from itertools import chain, zip_longest

from hala_hpc.data.checks.settings import Digits
from hala_hpc.data.segmentation.spans import language_between, protected_spans

_WESTERN = "0123456789"
#: Code point of zero in the supported scripts: Arabic-Indic, Persian, Devanagari, Bengali, Thai and
#: fullwidth digits.
_ZEROS = (0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10)
_TO_WESTERN = {zero + value: str(value) for zero in _ZEROS for value in range(10)}
_TO_ARABIC = {ord(digit): chr(0x660 + value) for value, digit in enumerate(_WESTERN)} | {
    0x6F0 + value: chr(0x660 + value) for value in range(10)
}
#: A number, but not the digits of a Latin word such as MP3, H.264 or x86_64.
_NUMBER = re.compile(r"(?<![A-Za-z0-9_])(?<![A-Za-z][.\-])[0-9\u06f0-\u06f9]+(?![A-Za-z0-9_])")


def to_western_digits(text: str) -> str:
    """Replace the digits of all supported scripts by 0 to 9."""
    return text if text.isascii() else text.translate(_TO_WESTERN)


def apply_digits(text: str, policy: Digits) -> str:
    """Convert the digits of a text; protected spans stay unchanged.

    `western` converts the digits of other scripts to 0123. `arabic_indic` converts 0123, except in
    words like MP3, and Persian digits to ٠١٢٣.
    """
    if policy == "keep":
        return text
    spans = protected_spans(text)
    language = (_convert(part, policy) for part in language_between(text, spans))
    protected = (text[span.start : span.end] for span in spans)
    return "".join(chain.from_iterable(zip_longest(language, protected, fillvalue="")))


def _convert(text: str, policy: Digits) -> str:
    if policy == "western":
        return to_western_digits(text)
    return _NUMBER.sub(lambda number: number.group().translate(_TO_ARABIC), text)
