"""Find texts of a corpus that are in the target language already, or in a third one.

The script decides where it can: it is quick, and right for a single word. The model of `language`
decides between languages of one script, for texts of 25 letters or more.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from hala_hpc.data.checks.content import MIN_LETTERS, ContentKind
from hala_hpc.data.checks.settings import ForeignTextPolicy
from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.scripts import (
    extract_letters,
    primary_subtag,
    script_pattern,
    script_share,
)

#: Share of letters in another script from which a text is in a language of that script.
_MIN_SHARE = 0.7
#: A single letter is a variable or the label of a list.
_MIN_SCRIPT_LETTERS = 2
#: Letters of Persian, Urdu, Kurdish and others that Arabic uses only in foreign names.
_NOT_ARABIC = re.compile("[\u0671-\u06d3\u06fa-\u06ff\u0750-\u077f]")
#: Words of English alone: a text with one needs no model, which takes 0.1 to 0.2 ms of CPU time.
_ENGLISH = re.compile(
    r"\b(?:the|and|with|that|this|you|your|what|which|they|from|their)\b", re.IGNORECASE
)
#: Its model is loaded on first use.
_LANGUAGES = LanguageDetector()


@dataclass(frozen=True)
class ForeignTexts:
    """What is done with texts that are not in the language of the corpus."""

    source: str
    target: str
    """ISO 639 codes."""
    target_policy: ForeignTextPolicy
    other_policy: ForeignTextPolicy

    def policy_of(self, text: str) -> tuple[ForeignTextPolicy, ContentKind | None]:
        """What is done with a text, protected spans aside, and why if it is not translated."""
        kind = self._find_kind(text)
        if kind is ContentKind.TARGET_LANGUAGE:
            return self.target_policy, kind
        if kind is ContentKind.OTHER_LANGUAGE:
            return self.other_policy, kind
        return "translate", None

    @cached_property
    def _codes(self) -> tuple[str, str]:
        return primary_subtag(self.source), primary_subtag(self.target)

    @cached_property
    def _same_scripts(self) -> bool:
        """Whether the scripts do not tell the languages apart."""
        source, target = map(script_pattern, self._codes)
        return source is None or target is None or source.pattern == target.pattern

    def _find_kind(self, text: str) -> ContentKind | None:
        """Whether a text is in the target language or in a third one; None for the source's."""
        source, target = self._codes
        uses_model = self._same_scripts or self.other_policy != "translate"
        if source == target or (text.isascii() and not uses_model):
            return None
        found = extract_letters(text)
        if len(found) < _MIN_SCRIPT_LETTERS:
            return None
        if script_share(found, source) > 1 - _MIN_SHARE:
            return self._judge_by_model(text, len(found)) if uses_model else None
        if script_share(found, target) < _MIN_SHARE:
            return ContentKind.OTHER_LANGUAGE
        if target == "ar" and _NOT_ARABIC.search(found):
            return ContentKind.OTHER_LANGUAGE
        is_target = len(found) < MIN_LETTERS or _LANGUAGES.is_language(text, target) is not False
        return ContentKind.TARGET_LANGUAGE if is_target else ContentKind.OTHER_LANGUAGE

    def _judge_by_model(self, text: str, letter_count: int) -> ContentKind | None:
        """Judge a text in the script of the source."""
        source, target = self._codes
        if letter_count < MIN_LETTERS or (source == "en" and _ENGLISH.search(text)):
            return None
        if _LANGUAGES.is_language(text, source) is not False:
            return None
        if self._same_scripts and _LANGUAGES.is_language(text, target):
            return ContentKind.TARGET_LANGUAGE
        return ContentKind.OTHER_LANGUAGE
