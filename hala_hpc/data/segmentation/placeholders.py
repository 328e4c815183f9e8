"""Placeholders that replace protected spans while a model translates.

The form is `[[1]]`: plain ASCII, three or four tokens, and no letter that a translator would
translate, inflect, transliterate or change the case of. Models take angle brackets for HTML and
close or drop them, and they take braces for templates and fill them in. Rare characters are split
into bytes.
"""

import re
from collections.abc import Sequence

from hala_hpc.data.segmentation.span_patterns import PLACEHOLDER

# Small models drop or double brackets, and write the digits of their language (`\d` matches all).
_LENIENT_PLACEHOLDER = re.compile(
    r"\[{1,2}[\s\u200e\u200f]*+(?P<number>\d{1,6})[\s\u200e\u200f]*+\]{1,2}"
)


def mask_ranges(text: str, places: Sequence[tuple[int, int]]) -> str:
    """Replace each of the `places` of `text` by a placeholder, numbered from 1."""
    parts, at = [], 0
    for number, (start, end) in enumerate(places, start=1):
        parts += [text[at:start], f"[[{number}]]"]
        at = end
    return "".join([*parts, text[at:]])


def unmask_ranges(answer: str, text: str, places: Sequence[tuple[int, int]]) -> str | None:
    """Replace the placeholders of `answer` by the texts that `text` has in its `places`.

    None unless every placeholder is there once and no other. A placeholder may have single brackets
    if the text has no number in brackets itself, such as a footnote's `[1]`.
    """
    return Unmasking(text, places).restore(answer, range(len(places)))


class Unmasking:
    """Restores the ranges of one text in parts of an answer."""

    def __init__(self, text: str, places: Sequence[tuple[int, int]]) -> None:
        self._text, self._places = text, places
        every = list(range(1, len(places) + 1))
        is_lenient = (
            bool(places) and _numbers(_LENIENT_PLACEHOLDER, mask_ranges(text, places)) == every
        )
        self._form = _LENIENT_PLACEHOLDER if is_lenient else PLACEHOLDER

    def restore(self, part: str, wanted: Sequence[int]) -> str | None:
        """Restore the places with these indices; None unless each is there once and no other."""
        if sorted(_numbers(self._form, part)) != [index + 1 for index in wanted]:
            return None
        return self._form.sub(self._original, part)

    def _original(self, placeholder: re.Match[str]) -> str:
        start, end = self._places[int(placeholder["number"]) - 1]
        return self._text[start:end]


def _numbers(form: re.Pattern[str], text: str) -> list[int]:
    return [int(placeholder["number"]) for placeholder in form.finditer(text)]
