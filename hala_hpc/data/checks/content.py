"""Detect source texts that a translator cannot be asked to translate.

These are tasks about another language, texts that are already in another language, and code. None
of them is a fault of the model, so they are searched only after a translation was rejected.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from hala_hpc.data.segmentation.spans import protected_spans, without_spans
from hala_hpc.data.text.language import LanguageDetector
from hala_hpc.data.text.scripts import extract_letters, primary_subtag, script_share

#: English names of the languages that tasks of instruction data sets are about.
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
#: The same without English, in which most corpora ask for answers.
_OTHER = rf"(?!(?:the\W+)?English\b){_LANGUAGE}"
#: Up to a dozen words, possibly across a line end, but not across the end of a sentence.
_FEW = r"(?:[^.!?;]{0,80}?\W)"
#: As many words as a quoted sentence has.
_MANY = r"(?:[\s\S]{0,400}?\W)"
#: Requests for a text in another language. The past tense tells a story and is no task. Language
#: names are capitalized: `polish` is a verb.
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
_CODE_KINDS = frozenset({"fence", "code", "data"})
#: Patterns that are common in lines of code and rare in sentences.
_CODE_LINE = re.compile(
    r"[{};]\s*$|^\s*(?:def|class|import|from|return|for|while|if|else|elif|try|except|public"
    r"|private|static|void|int|var|let|const|function|#include|using|package|SELECT|INSERT|UPDATE"
    r"|CREATE)\b.*[(){}:;=*]|^\s*[\w.\[\]]+\s*(?:=|\+=|-=|:=)\s*\S|^\s*[\w.]+\(.*\)\s*$|^\s*(?://|/\*)"
)
#: Share of code from which a text counts as code.
CODE_SHARE = 0.5
#: Shorter texts in the script of a language are as often names as another language.
MIN_LETTERS = 25
#: Its model is loaded on first use.
_LANGUAGES = LanguageDetector()


class ContentKind(StrEnum):
    """What a source text is, if that explains a bad translation; also a reason of rejection."""

    TRANSLATION_TASK = "translation_task"
    OTHER_LANGUAGE = "other_language"
    TARGET_LANGUAGE = "target_language"
    CODE = "code"


_COMMON_REASONS = frozenset(
    {"copied", "wrong_language", "script", "length_ratio", "comment", "refusal"}
)
#: Reasons of checks that each kind explains; other reasons stay as they are.
EXPLAINED = {
    ContentKind.TRANSLATION_TASK: _COMMON_REASONS | {"repetition", "numbers", "glossary"},
    ContentKind.OTHER_LANGUAGE: _COMMON_REASONS | {"glossary"},
    ContentKind.CODE: _COMMON_REASONS
    | {"placeholders", "markup", "marks", "numbers", "structure", "lines"},
}


def explain_rejection(
    reason: str, text: str, others: Sequence[str], language: str
) -> ContentKind | None:
    """Return what a text is if that explains why its translation was rejected, else None.

    `others` are the texts that belong to it, such as the messages of a conversation: a task in one
    of them concerns all. `language` is that of the corpus.
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
    """Whether a text is certainly in another language, code and addresses aside."""
    plain, code = without_spans(text), primary_subtag(language)
    found = extract_letters(plain)
    if len(found) < MIN_LETTERS and script_share(found, code) >= 0.5:
        return False
    return _LANGUAGES.is_language(plain, code) is False


def code_share(text: str) -> float:
    """Return the share of a text's letters in code spans or lines that look like code."""
    whole = len(extract_letters(text))
    if not whole:
        return 0.0
    spans = [span for span in protected_spans(text) if span.kind in _CODE_KINDS]
    code_letters = sum(len(extract_letters(text[span.start : span.end])) for span in spans)
    lines = [line for line in without_spans(text).splitlines() if _CODE_LINE.search(line)]
    return (code_letters + sum(len(extract_letters(line)) for line in lines)) / whole
