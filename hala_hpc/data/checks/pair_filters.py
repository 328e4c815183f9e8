"""Cheap rules that reject pairs before the judge; the first rule that fails is the reason.

The rules about broken text are in `broken_text`. The others follow OpusFilter
(github.com/Helsinki-NLP/OpusFilter), whose filters and bounds are named below. It is not a
dependency: it is a program that works on whole files, and some of its parts need a compiler. These
of its default filters are left out because good pairs fail them: HtmlTag (subtitles), LongWord
(URLs), Repetition ("ha ha ha"), TerminalPunctuation and AverageWordLength.
"""

import re
from collections import Counter
from collections.abc import Callable
from unicodedata import decimal

from hala_hpc.data.checks import broken_text
from hala_hpc.data.checks.pair_settings import PairRules, Rule
from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.scripts import extract_letters, script_share

#: Added to both lengths before the division: "OK" may have a translation of eight letters.
SLACK_CHARACTERS = 15
#: Fewer digits are often written as words.
MIN_DIGITS = 3
#: Below this number of letters only the script decides: of labels such as "Video bitrate", 0.3 %
#: are taken for another language of the same script.
SENTENCE_LETTERS = 25

_WORDS = re.compile(r"[^\W_]+")


class PairChecker:
    """The rules as functions of a pair; `source` and `target` are ISO 639 language codes."""

    def __init__(self, rules: PairRules, source: str, target: str) -> None:
        self.rules, self.languages = rules, LanguageDetector()
        checks: dict[Rule, Callable[[str, str], bool]] = {
            "blank": self.blank,
            "control_sequence": on_either_side(broken_text.has_control_sequence),
            "broken_letters": on_either_side(broken_text.has_broken_letters),
            "entity": on_either_side(broken_text.has_entity),
            "subtitle_code": broken_text.has_subtitle_codes,
            "too_short": self.too_short,
            "too_many_characters": self.too_many_characters,
            "few_letters": self.few_letters,
            "length_ratio": self.length_ratio,
            "copied": self.copied,
            "other_numbers": self.other_numbers,
            "source_language": lambda text, _: self.is_foreign(text, source),
            "target_language": lambda _, text: self.is_foreign(text, target),
        }
        self.checks = {name: check for name, check in checks.items() if name not in rules.disabled}

    def first_broken(self, source: str, target: str) -> str:
        """Return the name of the first rule that a pair fails; "" if it passes all."""
        source, target = source.strip(), target.strip()
        return next((name for name, check in self.checks.items() if check(source, target)), "")

    def blank(self, source: str, target: str) -> bool:
        """An empty side (LengthFilter)."""
        return not source or not target

    def too_short(self, source: str, target: str) -> bool:
        """A side of very few characters: keys, bullets (LengthFilter)."""
        return min(len(source), len(target)) < self.rules.min_characters

    def too_many_characters(self, source: str, target: str) -> bool:
        """A side longer than a sentence or paragraph (LengthFilter has 100 words)."""
        return max(len(source), len(target)) > self.rules.max_characters

    def few_letters(self, source: str, target: str) -> bool:
        """A side of times, tables, symbols (AlphabetRatioFilter has 0.75, which "170 Hz" fails)."""
        return min(letter_share(source), letter_share(target)) < self.rules.min_letters

    def length_ratio(self, source: str, target: str) -> bool:
        """Sides whose lengths are too different (LengthRatioFilter has 3 without a slack)."""
        short, long = sorted((len(source), len(target)))
        ratio = (long + SLACK_CHARACTERS) / (short + SLACK_CHARACTERS)
        return ratio > self.rules.max_length_ratio

    def copied(self, source: str, target: str) -> bool:
        """A target equal to the source (SimilarityFilter and LongestCommonSubstring have 0.9)."""
        return copied_share(source, target) >= self.rules.max_copied

    def other_numbers(self, source: str, target: str) -> bool:
        """Different numbers on the two sides (NonZeroNumeralsFilter has 0.5)."""
        return same_digits(source, target) < self.rules.min_same_digits

    def is_foreign(self, text: str, code: str) -> bool:
        """A text that is certainly not in its language (LinguaFilter, CharacterScoreFilter)."""
        found = extract_letters(text)
        if len(found) < SENTENCE_LETTERS and script_share(found, code) >= 0.5:
            return False
        return self.languages.is_language(text, code) is False


def on_either_side(is_broken: Callable[[str], bool]) -> Callable[[str, str], bool]:
    """Return a rule about pairs from one about a text."""
    return lambda source, target: is_broken(source) or is_broken(target)


def letter_share(text: str) -> float:
    """Return the share of letters in the non-space characters; 0 if there are none."""
    visible = "".join(text.split())
    return sum(map(str.isalpha, visible)) / len(visible) if visible else 0.0


def copied_share(source: str, target: str) -> float:
    """Return the share of letters in target words that are also words of the source, 0 to 1.

    It is 1 for equal texts without letters.
    """
    words = [word for word in _WORDS.findall(target.casefold()) if not word.isdecimal()]
    if not words:
        return float(source.split() == target.split())
    known = set(_WORDS.findall(source.casefold()))
    return sum(len(word) for word in words if word in known) / sum(map(len, words))


def same_digits(source: str, target: str) -> float:
    """Return the share of common digits, whatever their script and order; zeros are ignored.

    It is 1 if neither text has at least `MIN_DIGITS`.
    """
    one, other = digits(source), digits(target)
    if max(one.total(), other.total()) < MIN_DIGITS:
        return 1.0
    return 2 * (one & other).total() / (one.total() + other.total())


def digits(text: str) -> Counter[int]:
    """Count each digit except zero in a text."""
    return Counter(value for sign in text if sign.isdecimal() and (value := decimal(sign)))
