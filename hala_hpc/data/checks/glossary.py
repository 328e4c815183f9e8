"""Whether a translation uses the terms of the glossary."""

import re
from collections.abc import Mapping
from functools import cache

from hala_hpc.data.checks.views import Sides
from hala_hpc.data.text.number_words import normalize_arabic


def lacks_glossary_term(sides: Sides) -> bool:
    """Whether a source term is there whose glossary translation is missing, protected spans aside.

    A term in small letters matches any case, `May` only as written. In the translation prefixes
    (`وهالة`), diacritics and forms of alef are ignored.
    """
    wanted = find_terms(sides.source.plain, sides.settings.glossary)
    if not wanted:
        return False
    translation = normalize_arabic(sides.translation.plain).casefold()
    return any(normalize_arabic(into).casefold() not in translation for _, into in wanted)


def find_terms(text: str, glossary: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the terms of a glossary that occur in a text without spans, with their translations.

    A term in small letters matches any case, `May` only as written.
    """
    if not glossary:
        return []
    folded = text.casefold()
    return [
        (term, into)
        for term, into in glossary.items()
        if term.casefold() in folded and _pattern(term).search(text)
    ]


@cache
def _pattern(word: str) -> re.Pattern[str]:
    case = re.IGNORECASE if word == word.lower() else re.NOFLAG
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", case)
