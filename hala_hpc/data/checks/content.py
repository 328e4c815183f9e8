"""Whether a text is of a kind that a translator cannot be asked to translate.

A task about another language, a text that is in another language already, and code. None of it is
a fault of the model that was asked: it is looked for only where a translation was no good.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from hala_hpc.data.segmentation.spans import protected_spans, without_spans
from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.scripts import extract_letters, primary_subtag, script_share

#: Names in English of the languages that data sets of instructions have tasks about.
LANGUAGE_NAMES = (
    "Afrikaans Albanian Amharic Arabic Armenian Assamese Basque Bengali Bosnian Bulgarian Burmese"
    " Cantonese Catalan Chinese Croatian Czech Danish Dutch English Esperanto Estonian Farsi"
    " Filipino Finnish French Galician Georgian German Greek Gujarati Hausa Hebrew Hindi Hungarian"
    " Icelandic Igbo Indonesian Irish Italian Japanese Javanese Kannada Kazakh Khmer Korean Kurdish"
    " Lao Latin Latvian Lithuanian Malay Malayalam Maltese Mandarin Marathi Mongolian Nepali"
    " Norwegian Oriya Panjabi Pashto Persian Polish Portuguese Punjabi Romanian Russian Sanskrit"
    " Serbian Sindhi Sinhala Sinhalese Slovak Slovenian Somali Spanish Swahili Swedish Tagalog"
    " Tamil Telugu Thai Tibetan Turkish Ukrainian Urdu Uzbek Vietnamese Welsh Xhosa Yoruba Zulu"
)
_LANGUAGE = rf"(?:the\W+)?(?:{'|'.join(LANGUAGE_NAMES.split())})\b(?!\W+America)"
#: The same without English, in which most corpora are asked to answer.
_OTHER = rf"(?!(?:the\W+)?English\b){_LANGUAGE}"
#: Up to a dozen words, also over the end of a line, but not over that of a sentence.
_FEW = r"(?:[^.!?;]{0,80}?\W)"
#: As many words as a sentence in quotes has.
_MANY = r"(?:[\s\S]{0,400}?\W)"
#: What asks for a text in another language. The past tense tells a story and is no task. Names of
#: languages have a capital: to polish is something else.
_TASK = re.compile(
    rf"\b(?i:translate|translating)\b{_FEW}(?i:in|into|to|from)\W+{_LANGUAGE}"
    rf"|\b(?i:how\W+(?:do|would|can|could|should)\W+(?:you|i|we|one)\W+(?:say|write|express))\b"
    rf"{_MANY}(?i:in)\W+{_LANGUAGE}"
    rf"|\b(?i:say|write|put|express|convert|render|rewrite|rephrase|answer|respond|reply)\b{_FEW}"
    rf"(?i:in|into|to)\W+{_OTHER}"
    rf"|\b{_LANGUAGE}\W+(?i:translations?|equivalent)\b"
    rf"|\b(?i:translations?\W+(?:in|into|to|from))\W+{_LANGUAGE}"
    rf"|\b(?i:sentence|phrase|text|word|paragraph|statement)\W+(?i:(?:is\W+)?(?:written\W+)?in)\W+"
    rf"{_OTHER}"
    rf"|^\W*{_OTHER}\W*:",
    re.MULTILINE,
)
#: Kinds of protected spans that are code.
_CODE_KINDS = frozenset({"fence", "code"})
#: Signs that lines of code have and sentences seldom.
_CODE_LINE = re.compile(
    r"[{};]\s*$|^\s*(?:def|class|import|from|return|for|while|if|else|elif|try|except|public"
    r"|private|static|void|int|var|let|const|function|#include|using|package|SELECT|INSERT|UPDATE"
    r"|CREATE)\b.*[(){}:;=*]|^\s*[\w.\[\]]+\s*(?:=|\+=|-=|:=)\s*\S|^\s*[\w.]+\(.*\)\s*$|^\s*(?://|/\*)"
)
#: Share of a text that is code from which on it is called code.
CODE_SHARE = 0.5
#: Shorter texts in the script of a language are names as often as another language.
MIN_LETTERS = 25
#: Its model is loaded on first use.
_LANGUAGES = LanguageDetector()


class ContentKind(StrEnum):
    """What a text is that explains why its translation is no good; a reason of rejection."""

    TRANSLATION_TASK = "translation_task"
    OTHER_LANGUAGE = "other_language"
    CODE = "code"


_COMMON_REASONS = frozenset(
    {"copied", "wrong_language", "script", "length_ratio", "comment", "refusal"}
)
#: Reasons of checks that each kind explains: with others it is rejected for these.
EXPLAINED = {
    ContentKind.TRANSLATION_TASK: _COMMON_REASONS | {"repetition", "numbers", "glossary"},
    ContentKind.OTHER_LANGUAGE: _COMMON_REASONS | {"glossary"},
    ContentKind.CODE: _COMMON_REASONS | {"placeholders", "markup", "marks", "numbers"},
}


def explain_rejection(
    reason: str, text: str, others: Sequence[str], language: str
) -> ContentKind | None:
    """What a text is that explains why its translation was rejected; None where nothing does.

    `others` are the texts that belong to it, as the messages of a conversation do: a task in one of
    them is about all. `language` is that of the corpus.
    """
    if reason in EXPLAINED[ContentKind.TRANSLATION_TASK] and any(
        map(is_translation_task, (text, *others))
    ):
        return ContentKind.TRANSLATION_TASK
    if reason in EXPLAINED[ContentKind.OTHER_LANGUAGE] and is_other_language(text, language):
        return ContentKind.OTHER_LANGUAGE
    if reason in EXPLAINED[ContentKind.CODE] and code_share(text) >= CODE_SHARE:
        return ContentKind.CODE
    return None


def is_translation_task(text: str) -> bool:
    """Whether an English text asks for words in another language, e.g. for a translation."""
    return _TASK.search(text) is not None


def is_other_language(text: str, language: str) -> bool:
    """Whether a text is surely in another language than this, code and addresses left aside."""
    plain, code = without_spans(text), primary_subtag(language)
    found = extract_letters(plain)
    if len(found) < MIN_LETTERS and script_share(found, code) >= 0.5:
        return False
    return _LANGUAGES.is_language(plain, code) is False


def code_share(text: str) -> float:
    """Share of a text's letters that are in code: marked as such, or lines that look like it."""
    whole = len(extract_letters(text))
    if not whole:
        return 0.0
    spans = [span for span in protected_spans(text) if span.kind in _CODE_KINDS]
    code_letters = sum(len(extract_letters(text[span.start : span.end])) for span in spans)
    lines = [line for line in without_spans(text).splitlines() if _CODE_LINE.search(line)]
    return (code_letters + sum(len(extract_letters(line)) for line in lines)) / whole
