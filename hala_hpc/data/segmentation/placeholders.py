"""The marks that stand for protected spans while a model translates.

`[[1]]`: plain ASCII, three or four tokens, and nothing in it that a translator would translate,
inflect, transliterate or change the case of. Angle brackets are taken for HTML and get closed or
dropped, braces for templates and get filled in, rare characters fall apart into bytes.
"""

import re
from collections.abc import Sequence

from hala_hpc.data.segmentation.span_patterns import PLACEHOLDER

# Small models drop or double brackets, and write the digits of their language (`\d` has them all).
_LENIENT_PLACEHOLDER = re.compile(
    r"\[{1,2}[\s\u200e\u200f]*+(?P<number>\d{1,6})[\s\u200e\u200f]*+\]{1,2}"
)


def mask_ranges(text: str, places: Sequence[tuple[int, int]]) -> str:
    """`text` with a mark in each of its `places`, numbered from 1."""
    parts, at = [], 0
    for number, (start, end) in enumerate(places, start=1):
        parts += [text[at:start], f"[[{number}]]"]
        at = end
    return "".join([*parts, text[at:]])


def unmask_ranges(answer: str, text: str, places: Sequence[tuple[int, int]]) -> str | None:
    """`answer` with what `text` holds in its `places` instead of the marks.

    None unless every mark is there once and no other. A mark may stand in single brackets where
    the text has no number in brackets of its own, such as a footnote's `[1]`.
    """
    wanted = list(range(1, len(places) + 1))
    tolerated = bool(places) and _numbers(_LENIENT_PLACEHOLDER, mask_ranges(text, places)) == wanted
    form = _LENIENT_PLACEHOLDER if tolerated else PLACEHOLDER
    if sorted(_numbers(form, answer)) != wanted:
        return None

    def original(placeholder: re.Match[str]) -> str:
        start, end = places[int(placeholder["number"]) - 1]
        return text[start:end]

    return form.sub(original, answer)


def _numbers(form: re.Pattern[str], text: str) -> list[int]:
    return [int(placeholder["number"]) for placeholder in form.finditer(text)]
