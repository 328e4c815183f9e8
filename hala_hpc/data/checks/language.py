"""Whether a translation is in the target language and is not a copy of its source."""

import re
from functools import cache
from typing import Any

from hala_hpc.data.checks.views import Sides, Text, is_prose_word
from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.scripts import primary_subtag, script_pattern

#: Letters of Persian, Urdu, Kurdish and others that Arabic uses only in foreign names.
_NOT_ARABIC = re.compile("[\u0671-\u06d3\u06fa-\u06ff\u0750-\u077f]")
#: Shorter texts are too often names for language detection.
_MIN_LETTERS = 20
#: Its model is loaded on first use.
_LANGUAGES = LanguageDetector()


def is_copied(sides: Sides) -> bool:
    """Whether a sentence was returned unchanged, alone or beside its translation."""
    if not sides.must_change:
        return False
    before, after = sides.source.letters.casefold(), sides.translation.letters.casefold()
    if before in after:
        return True
    if not sides.same_scripts:
        return False
    words, translated_words = set(sides.source.words), set(sides.translation.words)
    return len(words) >= 5 and len(words & translated_words) >= 0.9 * max(
        len(words), len(translated_words)
    )


def is_wrong_language(sides: Sides) -> bool:
    """Whether a translation as a whole is in the wrong language."""
    text = sides.translation
    if sides.must_change and text.letters and not text.own_letters:
        return True
    if len(text.letters) < 8 or len(text.words) < 3:
        return False
    if own_share(text) < 0.1:
        return sides.must_change or len(text.letters) >= _MIN_LETTERS
    if primary_subtag(text.language) == "ar" and not _NOT_ARABIC.search(text.plain):
        return False
    if len(text.letters) < _MIN_LETTERS or not text.has_sentence:
        return False
    return _LANGUAGES.is_language(text.plain, text.language) is False


def is_mixed(sides: Sides) -> bool:
    """Whether parts of a translation are in a wrong script.

    That is too large a share, a run of untranslated words, or letters of a third script.
    """
    text = sides.translation
    if text.own_letters == len(text.letters):
        return False
    if _has_third_script(sides):
        return True
    if not sides.must_change:
        return False
    rows = [row for row in text.foreign_rows if sum(map(is_prose_word, row)) > 2]
    if any(len(row) > sides.settings.max_untranslated_words for row in rows):
        return True
    return bool(rows) and own_share(text) < sides.settings.min_script_share


def own_share(text: Text) -> float:
    """Return the share of letters in the text's own scripts, without names and abbreviations."""
    both = text.own_letters + text.foreign_prose
    return text.own_letters / both if both else 1.0


def _has_third_script(sides: Sides) -> bool:
    """Whether there are letters of a script that neither language nor the source has."""
    pattern = _third_letters(primary_subtag(sides.translation.language))
    found = set(pattern.findall("".join(set(sides.translation.letters))))
    return bool(found and found - set(sides.source.text))


@cache
def _third_letters(code: str) -> Any:
    """Return a pattern for letters of foreign scripts; Latin and Greek are allowed for formulas."""
    import regex  # type: ignore[import-untyped]  # supports Unicode scripts; `re` does not

    known = script_pattern(code).pattern[1:-2]
    known += r"\p{sc=Latin}\p{sc=Greek}\p{sc=Common}\p{sc=Inherited}"
    return regex.compile(rf"[\p{{L}}--[{known}]]", flags=regex.V1)
