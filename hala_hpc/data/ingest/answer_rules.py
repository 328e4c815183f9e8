"""Cheap rules about the answers of a row, for corpora that are made of instructions.

For a pair the target is the answer. A row is found by every rule that it breaks; the first one that
rejects is its reason.
"""

import re
from collections.abc import Callable, Sequence

from hala_hpc.data.ingest.quality_settings import ANSWER_RULES, RowRules
from hala_hpc.data.text.number_words import normalize_arabic
from hala_hpc.data.text.word_hashes import split_words

#: Anything but white space, control and format characters (zero-width, byte order mark), and the
#: fillers of Hangul and Braille, which are letters and symbols by category.
VISIBLE = re.compile(
    "[!-~]|[^\\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
#: What is written where an answer is missing, without punctuation and brackets around it.
PLACEHOLDER = re.compile(
    r"n\W?a|none|null|nil|nan|undefined|unknown|tbd|todo|to be (?:added|determined|done)"
    r"|no (?:answer|output|response|input)|noinput|nooutput|(?:insert |your )?(?:answer|output"
    r"|response|text) (?:here|goes here)|empty|blank|لا (?:يوجد|شيء|إجابة)|غير معروف",
    re.IGNORECASE,
)
#: Characters around a placeholder, and those of an answer that is only dots or dashes.
AROUND = " \t\r\n.…·_-–—*<>[](){}\"'`:!؟?،,/\\|#=~«»“”‘’。"
ONLY_DOTS = re.compile(r"[\s.…·_–—-]+")
#: Characters at the start of an answer that may hold a refusal.
OPENING = 200
#: How a model refuses at the start of an answer. The phrases for translations in `data/checks` are
#: wider: there the source shows whether the text is about a refusal.
REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i am|we are|my apologies|i apologi[sz]e)\b[^.!?\n]{0,60}\b)?(?:but )?"
    r"(?:i|we) (?:really |simply |also )?(?:can(?:no|['’])?t|can not|won['’]?t|will not|decline"
    r"|must decline|am unable|am not able|am not comfortable|refuse)\s+(?:to )?(?:\w+ )?"
    r"(?:assist|help|fulfil|comply|answer that|provide|do that|engage|support|create|write"
    r"|generate|participate|respond|continue|complete|discuss|share|offer)"
    r"|\W*(?:i['’]?m|i am) (?:\w+ )?(?:sorry|afraid)\W+(?:but )?(?:i (?:can(?:no|['’])?t|won['’]?t"
    r"|am unable|do not|don['’]?t)|as an? )"
    r"|(?:.*\b)?as an? (?:\w+ ){0,2}?(?:ai|artificial intelligence|language model|chatbot)\b"
    r"[^.\n]{0,40}\bi\b"
    r"|\W*(?:i['’]?m|i am) (?:just |only )?an? (?:\w+ ){0,2}?(?:ai|language model)\b",
    re.IGNORECASE | re.DOTALL,
)
#: In the form of `normalize_arabic`.
REFUSAL_AR = re.compile(
    r"\W*(?:(?:عذرا|معذره|اسف|انا اسف|اعتذر|للاسف|نعتذر)\W+)?(?:و?لكن(?:ني)? )?(?:انا )?"
    r"(?:لا (?:استطيع|يمكنني|اقدر|نستطيع)|لن (?:اتمكن|استطيع)|لست قادرا|غير قادر|ارفض|يتعذر علي)\s+"
    r"(?:علي |من |ان )?(?:ال)?(?:مساعد|اساعد|اجاب|تقديم|اقدم|تلبي|البي|انشاء|كتاب|اكتب|تنفيذ"
    r"|قيام|توفير|رد\b|اجيب)"
    r"|.{0,40}(?:بصفتي|كوني|باعتباري|بوصفي) (?:مجرد )?(?:نموذج|مساعد|ذكاء|برنامج|روبوت)"
    r"|.{0,40}\bكنموذج (?:لغوي|لغه|ذكاء)",
)


class AnswerRules:
    """The rules that are not off, as one function of the roles and texts of a row."""

    def __init__(self, rules: RowRules) -> None:
        tests: dict[str, Callable[[Sequence[str], Sequence[str]], bool]] = {
            "empty_answer": has_empty_answer,
            "placeholder_answer": has_placeholder,
            "refusal": has_refusal,
            "copied_answer": has_copied_answer,
        }
        #: The bit of each rule, by its position in ANSWER_RULES.
        self.tests = [
            (1 << number, tests[name])
            for number, name in enumerate(ANSWER_RULES)
            if getattr(rules, name) != "off"
        ]
        self.is_only_empty = [bit for bit, _ in self.tests] == [1]

    def find_broken(self, roles: Sequence[str], texts: Sequence[str]) -> int:
        """Return the bits of the rules that a row breaks; `roles` is empty for a pair."""
        both = roles or ("user", "assistant")
        return sum(bit for bit, test in self.tests if test(both, texts))


def answers_of(roles: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return the answers of a row; one without a text, such as a tool call, is none."""
    return [text for role, text in zip(roles, texts, strict=True) if role == "assistant" and text]


def has_empty_answer(roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether an answer has no visible character."""
    return not all(map(VISIBLE.search, answers_of(roles, texts)))


def has_placeholder(roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether an answer is a placeholder, or dots and dashes."""
    return any(map(is_placeholder, answers_of(roles, texts)))


def is_placeholder(text: str) -> bool:
    """Whether a text is a placeholder, with any punctuation around it, or dots and dashes."""
    if len(text) > 2 * OPENING:
        return False
    return bool(ONLY_DOTS.fullmatch(text) or PLACEHOLDER.fullmatch(text.strip(AROUND)))


def has_refusal(roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether an answer starts with a refusal."""
    return any(is_refusal_start(text[:OPENING]) for text in answers_of(roles, texts))


def is_refusal_start(start: str) -> bool:
    """Whether the start of an answer refuses, in English or Arabic."""
    if REFUSAL.match(start):
        return True
    return not start.isascii() and REFUSAL_AR.match(normalize_arabic(start)) is not None


def has_copied_answer(roles: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether an answer is equal to the message before it."""
    for number, (role, text) in enumerate(zip(roles, texts, strict=True)):
        before = texts[number - 1] if number else ""
        if role == "assistant" and before and text and are_same(before, text):
            return True
    return False


def are_same(one: str, other: str) -> bool:
    """Whether two texts have the same words, or are equal symbols."""
    if abs(len(one) - len(other)) > max(20, min(len(one), len(other)) // 2):
        return False
    return split_words(one) == split_words(other)
