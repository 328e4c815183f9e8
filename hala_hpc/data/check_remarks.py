"""Whether a model refuses, comments on its work or shows its chat template.

What a source has itself is no fault: a conversation may hold a refusal, a note or a role's name
that was rightly translated. So every pattern counts only where the source has nothing like it.
"""

import re

from hala_hpc.data import check_phrases as phrases
from hala_hpc.data.check_number_words import plain_ar
from hala_hpc.data.check_sides import Sides

#: Characters at the start of a text in which a refusal or an opening remark stands.
_OPENING = 200
_LATIN = re.compile("[A-Za-z]{2}")
_OPENING_END = re.compile(r"[:：!\n]|[.،,؛–—-]\s")
#: Cheap signs without which no pattern can fit; most texts have none of them.
_SIGNS_OF_TOKENS = frozenset("<[{_▁Ġ�")
_STEMS_OF_REFUSAL = (
    *("طيع", "تطع", "مكن", "مكان", "قادر", "قدر", "وسع", "عذر", "سف", "رفض", "عجز", "متنع", "يجوز"),
    *("نموذج", "اصطناعي", "مساعد", "بصفت", "كوني", "مسموح", "مخول", "ملائم", "مناسب", "محادث"),
    *("باعتبار", "بوصف", "لا ", "لن "),
)
_PARTS = re.compile(r"\n+|(?<=[.!؟?)\]])\s+|(?=[(\[])")


def leaks_template(sides: Sides) -> bool:
    """Whether tokens of a chat template or names of roles stand there that the source lacks."""
    source, text = sides.source.text, sides.translation.text
    if not _SIGNS_OF_TOKENS.isdisjoint(text) or "endoftext" in text:
        tokens = set(phrases.TOKENS.findall(text))
        if any(text.count(token) > source.count(token) for token in tokens):
            return True
    if not any(phrases.ROLES.match(line) for line in text.split("\n")):
        return False
    return not any(phrases.ROLES_SOURCE.match(line) for line in source.split("\n"))


def is_refusal(sides: Sides) -> bool:
    """Whether a model declines or speaks of itself, while the source does nothing like it."""
    source, opening = sides.source.text, sides.translation.text[:_OPENING]
    return _declines(opening) and not (
        phrases.UNABLE.search(source) or phrases.MACHINE.search(source) or _declines(source)
    )


def _declines(text: str) -> bool:
    if _LATIN.search(text):
        unable = phrases.UNABLE.search(text)
        if (unable and phrases.HELP.search(text, unable.end())) or phrases.MACHINE.search(text):
            return True
    if text.isascii() or not any(stem in text for stem in _STEMS_OF_REFUSAL):
        return False
    plain = plain_ar(text)
    if phrases.MACHINE_AR.search(plain):
        return True
    unable = phrases.UNABLE_AR.search(plain)
    return bool(unable and phrases.HELP_AR.search(plain, unable.start()))


def has_comment(sides: Sides) -> bool:
    """Whether a model speaks about its translation, before or after it."""
    text, source = sides.translation.text.strip(), sides.source.text
    if _has_opening_remark(text, source):
        return True
    noted = any(
        phrases.NOTE.match(part) or phrases.NOTE_AR.match(plain_ar(part))
        for part in _PARTS.split(text)[1:]
        if len(part) > 3
    )
    return noted and not phrases.NOTE_SOURCE.search(source)


def _has_opening_remark(text: str, source: str) -> bool:
    """Whether the first words, up to a sign or the end of the line, are a remark."""
    end = _OPENING_END.search(text[:_OPENING])
    if end is None or not text[end.end() :].strip():
        return False
    opening = text[: end.start()]
    plain = plain_ar(opening)
    if end.group()[0] in ":：!\n" and (
        phrases.ABOUT.search(opening) or phrases.ABOUT_AR.search(plain)
    ):
        return not phrases.ABOUT_SOURCE.search(source)
    chat = phrases.CHAT.match(opening) or phrases.CHAT_AR.match(plain)
    return bool(chat) and not phrases.CHAT_SOURCE.search(source[:80])
