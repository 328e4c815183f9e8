"""Whether a model refuses, comments on its work or leaks its chat template.

A phrase that the source has itself is no fault: a conversation may have a refusal, a note or a
role name that was correctly translated. So a pattern counts only if the source has nothing like it.
"""

import re
from collections import Counter

from hala_hpc.data.checks import phrases
from hala_hpc.data.checks.views import Sides
from hala_hpc.data.text.number_words import normalize_arabic

#: Characters at the start of a text that may hold a refusal or an opening remark.
_OPENING = 200
_LATIN = re.compile("[A-Za-z]{2}")
_FIRST_SIGN = re.compile(r"[:：!\n]|[.،,؛–—-]\s")
_ANNOUNCED = re.compile(r"[:：!\n]")
#: Characters without which no pattern can match; most texts have none of them.
_SIGNS_OF_TOKENS = frozenset("<[{_▁�")
_STEM_OF_REFUSAL = re.compile(
    "طيع|تطع|مكن|مكان|قادر|قدر|وسع|عذر|عتذر|[آأاؤ]سف|رفض|عجز|متنع|يجوز|نموذج|اصطناعي|ساعد|ترجم|بصفت"
    "|كوني|مسموح|يُ?سمح|مخول|ملائم|مناسب|محادث|باعتبار|بوصف|متأكد|أملك"
)
_STEM_OF_NOTE = re.compile(
    "ملاحظ|ملحوظ|نويه|نبيه|وضيح|عليق|شرح|هامش|للعلم|يرج[ىي]|تمنى|[آأا]مل|رجو|خبرن|تردد|كنت|كان لد"
    "|هل |ترجم|حرفي|الأ?صل|المصدر|مصدر:|نطق|بديل|المعنى|نهاية|انتهى|النص|لقد|قمت|تم |نجليزية"
)
#: A bracket before a translation, and one of three words or more after it.
_BRACKET_BEFORE = re.compile(r"\W{0,3}[(\[{【]([^()\[\]\n]{2,60})[)\]}】]")
_BRACKET_AFTER = re.compile(r"[(\[]\s*\w+(?:[\s\W]+\w+){2,}[^()\[\]]*[)\]]\W*$")
#: Signs of a source whose translation may have a bracket.
_SIGNS_OF_BRACKET = re.compile(r"[(\[{:;—–]|\s-|\bi\.e|\be\.g|\bor\b|,[^,]*,", re.IGNORECASE)
_QUOTED = re.compile(r"""["“«„「][^\n]*["”»“」][.!?؟]?""")
_QUOTE_SIGNS = re.compile(
    r"""["“”«»„「*_`]|(?<!\w)['‘]|(?:^|\n)\s*[-–—]|\b(?:said|quot|phrase|word)"""
)
#: A label within a line; Arabic in the form of `normalize_arabic`.
_LABEL_INSIDE = re.compile(
    r"\s(?:(?:original|source)(?: text)?|translation|note|(?:ال)?نص ال(?:اصلي|مترجم)|المصدر|الترجمه"
    r"|ملاحظه)\s*:",
    re.IGNORECASE,
)
#: Signs other than a colon that set off a label.
_LABEL_END = re.compile(r"\s[-–—|]\s|\s*(?:->|=>|→|⇒|=)\s*")
_PARTS = re.compile(r"\n+|(?<=[.!؟?)\]])\s+|(?=[(\[])")


def leaks_template(sides: Sides) -> bool:
    """Whether there are tokens of a chat template or role names that the source lacks."""
    source, text = sides.source.text, sides.translation.text
    if not _SIGNS_OF_TOKENS.isdisjoint(text) or "endoftext" in text:
        tokens = set(phrases.TEMPLATE_TOKENS.findall(text))
        if any(text.count(token) > source.count(token) for token in tokens):
            return True
    lines = text.split("\n")
    if not any(map(phrases.ROLES.match, lines)):
        return False
    # The source may have the header by any name: a fault is one header more.
    before, after = _headers(source.split("\n")), _headers(lines)
    return after[":"] > before[":"] or after[""] > before[""]


def _headers(lines: list[str]) -> Counter[str]:
    """Count the lines that start with a few words and a colon, and lines of a few words alone."""
    return Counter(found[1] for line in lines if (found := phrases.HEADERS.match(line)))


def is_refusal(sides: Sides) -> bool:
    """Whether the model declines or speaks about itself, and the source does not."""
    source = sides.source.text
    if not _declines(sides.translation.text[:_OPENING]):
        return False
    excuses = (phrases.UNABLE, phrases.UNABLE_SOURCE, phrases.MACHINE_SOURCE)
    return not (any(excuse.search(source) for excuse in excuses) or _declines(source))


def _declines(text: str) -> bool:
    if _LATIN.search(text):
        unable = phrases.UNABLE.search(text)
        if (unable and phrases.HELP.search(text, unable.end())) or phrases.MACHINE.search(text):
            return True
    if text.isascii() or not _STEM_OF_REFUSAL.search(text):
        return False
    plain = normalize_arabic(text)
    if phrases.MACHINE_AR.search(plain):
        return True
    unable = phrases.UNABLE_AR.search(plain)
    return bool(unable and phrases.HELP_AR.search(plain, unable.start()))


def has_comment(sides: Sides) -> bool:
    """Whether the model comments on its translation, before or after it."""
    text = sides.translation.text.strip()
    source = sides.source.text
    if _has_chat(text, source) or _is_announced(text, source) or _is_wrapped(text, source):
        return True
    if not _LATIN.search(text) and not _STEM_OF_NOTE.search(text):
        return False
    return any(_is_note(part, source) for part in _PARTS.split(text)[1:])


def _is_wrapped(text: str, source: str) -> bool:
    """Whether there are a label, a bracket or quotation marks around a translation."""
    if _QUOTED.fullmatch(text) and not _QUOTE_SIGNS.search(source):
        return True
    if _BRACKET_AFTER.search(text) and not _SIGNS_OF_BRACKET.search(source):
        return True
    if ":" not in source and _LABEL_INSIDE.search(normalize_arabic(text)):
        return not (phrases.ABOUT_SOURCE.search(source) or phrases.NOTE_SOURCE.search(source))
    label_end = _LABEL_END.search(text[:_OPENING])
    is_new = label_end is not None and label_end.group().strip() not in source
    opening = text[: label_end.start()] if label_end and is_new else ""
    bracket = _BRACKET_BEFORE.match(text)
    labels = [opening, bracket[1] if bracket else ""]
    return any(
        phrases.LABEL.match(normalize_arabic(label)) is not None for label in labels if label
    ) and not phrases.ABOUT_SOURCE.search(source)


def _has_chat(text: str, source: str) -> bool:
    """Whether the words before the first punctuation are an assistant's, e.g. `Sure!`."""
    end = _FIRST_SIGN.search(text[:_OPENING])
    if end is None or not text[end.end() :].strip():
        return False
    opening = text[: end.start()]
    if phrases.CHAT.match(opening):
        return opening.lower() not in source.lower()
    return bool(phrases.CHAT_AR.match(normalize_arabic(opening))) and not phrases.CHAT_SOURCE.match(
        source
    )


def _is_announced(text: str, source: str) -> bool:
    """Whether a translation is announced, e.g. by `Translation:`."""
    end = _ANNOUNCED.search(text[:_OPENING])
    if end is None or not text[end.end() :].strip():
        return False
    opening = text[: end.start()]
    plain = normalize_arabic(opening)
    about = _is_about(opening)
    if about and not phrases.ABOUT_SOURCE.search(source):
        return True
    if phrases.POINTING.match(opening) or phrases.POINTING_AR.match(plain):
        # Both together are checked even if the source is about subtitles.
        excuse = phrases.ABOUT if about else phrases.POINTING_SOURCE
        return not excuse.search(source)
    is_label = phrases.LABEL.match(plain) and not phrases.ABOUT_SOURCE.search(source)
    return bool(is_label) and end.group() not in source


def _is_about(text: str) -> bool:
    """Whether a text is about translating."""
    if _LATIN.search(text) and phrases.ABOUT.search(text):
        return True
    known = "ترجم" in text or "عرب" in text or "عرّب" in text
    return known and phrases.ABOUT_AR.search(normalize_arabic(text)) is not None


def _is_note(part: str, source: str) -> bool:
    """Whether a line, a sentence or a bracket is a remark after a translation."""
    if len(part) < 4 or ("?" in source and part.rstrip().endswith(("?", "؟"))):
        return False
    plain = normalize_arabic(part)
    if not (phrases.NOTE.match(part) or phrases.NOTE_AR.match(plain)):
        return False
    if _is_about(part):
        return not phrases.ABOUT_SOURCE.search(source)
    return not phrases.NOTE_SOURCE.search(source)
