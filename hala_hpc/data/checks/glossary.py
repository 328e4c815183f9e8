"""Whether a translation uses the terms of the glossary."""

import re
from functools import cache

from hala_hpc.data.checks.views import Sides
from hala_hpc.data.text.number_words import normalize_arabic


def lacks_glossary_term(sides: Sides) -> bool:
    """Whether a source term is there whose glossary translation is missing, protected spans aside.

    A term in small letters matches any case, `May` only as written. In the translation prefixes
    (`وهالة`), diacritics and forms of alef are ignored.
    """
    wanted = sides.settings.glossary
    if not wanted:
        return False
    translation = normalize_arabic(sides.translation.plain).casefold()
    return any(
        _pattern(word).search(sides.source.plain)
        and normalize_arabic(into).casefold() not in translation
        for word, into in wanted.items()
    )


@cache
def _pattern(word: str) -> re.Pattern[str]:
    case = re.IGNORECASE if word == word.lower() else re.NOFLAG
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", case)
