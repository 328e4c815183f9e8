"""Whether a translation is not empty and about as long as expected from its source."""

from hala_hpc.data.checks.views import Sides, Text
from hala_hpc.data.text.scripts import primary_subtag

#: English letters that correspond to one letter: scripts without vowels, with syllables or words.
_WEIGHT = {"ar": 1.19, "fa": 1.1, "he": 1.2, "ja": 2.2, "ko": 2, "th": 1.1, "ur": 1.1, "zh": 3}
_END_SIGNS = frozenset('.!?:;。！？؟…।"”’»)]*')
#: Factor of the lower bound for a text that does not end as its source does: it may be truncated.
_CUT_RATIO = 1.2


def is_empty(sides: Sides) -> bool:
    """Whether a translation is empty and its source is not."""
    text = sides.translation.text
    if not text.strip():
        return bool(sides.source.text.strip())
    return len(sides.source.letters) > 2 and not any(map(str.isalnum, text))


def is_wrong_length(sides: Sides) -> bool:
    """Whether a translation is too short or too long for its source.

    Counts letters outside of protected spans, weighted by script. The lower bound is higher if the
    source ends with a punctuation mark and the translation does not: it was truncated.
    """
    source, translation = _length(sides.source), _length(sides.translation)
    settings = sides.settings
    slack = settings.length_slack
    if translation > settings.max_length_ratio * (source + slack):
        return True
    min_ratio = settings.min_length_ratio
    if _ends(sides.source.text) and not _ends(sides.translation.text):
        min_ratio *= _CUT_RATIO
    return translation < min_ratio * source - slack


def _ends(text: str) -> bool:
    """Whether a text ends with punctuation, or starts with it, as right-to-left text often does."""
    stripped = text.strip()
    return stripped[-1:] in _END_SIGNS or stripped[:1] in _END_SIGNS


def _length(text: Text) -> float:
    return len(text.letters) * _WEIGHT.get(primary_subtag(text.language), 1.0)
