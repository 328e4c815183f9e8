"""What a pair must not teach a translator: broken letters, controls, entities, subtitle codes.

ftfy decides about letters that were decoded with the wrong encoding ("cafÃ©"): its heuristic knows
the characters that occur in them. It is not used to repair a pair, as an id is the hash of its
texts, and a letter that is lost is not found again.
"""

import re
from collections import Counter
from functools import cache
from html.entities import html5

#: Without these characters no text was decoded with a wrong encoding, and ftfy is not asked.
SUSPECT = re.compile("[\x80-\xff\u0100-\u04ff\u2000-\u200a\u2010-\u2027\u2030-\u22ff]")
#: Replacement character, object replacement, noncharacters, and letters that became question marks:
#: two words of nothing else, or at the start of a word.
LOST_LETTERS = re.compile(
    "[\ufffc\ufffd\ufdd0-\ufdef\ufffe\uffff]|(?<!\\S)\\?{2,}(?=\\s+\\?{2,}(?!\\S))"
    "|(?<!\\S)\\?{2,}\\w"
)
#: C0 and C1 without tab and line ends, and what is left of terminal sequences, with the escape
#: character, written out, or lost.
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]"
    r"|\\(?:x1b|033|u001b|e)\[|\[0?m(?!\w*\])|\[\d{1,2}(?:;\d{1,3})+m|(?<!\[)\[[349][0-7]m",
    re.IGNORECASE,
)
#: Entities, also those that a tokenizer split (`& quot ;`) or that were escaped twice.
ENTITY = re.compile(
    r"&\s?(?:amp\s?;\s?)*(#\s?\d{1,7}|#\s?x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31})\s?;", re.IGNORECASE
)
#: Codes of subtitle files that no sentence has: SubStation `{\i1}`, MicroDVD `{y:i}` and
#: frames, times of SubRip and WebVTT, tags of a voice or class. `{\alpha}` of LaTeX is none.
SUBTITLE = re.compile(
    r"\{\\(?:[bius][01](?!\w)|an?\d{1,2}|(?:pos|move|fade?|clip|org|t)\(|fn\w|f[sr][cpxyz]*-?\d"
    r"|(?:bord|shad|blur|be)\d|(?:[1-4]?c|[1-4]a|alpha)&h|k[fo]?\d|[pq]\d|r[}\\])|\{[ycfsop]:[^{}\s]{1,40}\}|^\{\d+\}\{\d*\}"
    r"|\d{1,2}:\d{2}:\d{2}[,.]\d{2,3}\s*-->|-->\s*\d{1,2}:\d{2}|<\d{1,2}:\d{2}(?::\d{2})?[.,]\d{3}>"
    r"|<(?:c|v)[. ][^<>\n]{1,40}>|</c>",
    re.MULTILINE | re.IGNORECASE,
)
#: The line break of SubStation; a text with other backslashes is a path or a program.
LINE_BREAK, OTHER_BACKSLASH = "\\N", re.compile(r"\\(?![Nh])|:\\")
#: Tags of subtitles that a translation has as well, and the sign of a song.
STYLE_TAG = re.compile(r"</?\s?(?:i|b|u|s|font)(?:\s[^<>\n]*)?>|[♪♫♬]", re.IGNORECASE)
#: What is not the name of a tag, or the slash of an end.
TAG_NAME = re.compile(r"(?<=\w)\s.*|[<>\s]", re.DOTALL)


def has_broken_letters(text: str) -> bool:
    """Whether letters of a text are lost or were decoded with a wrong encoding."""
    if LOST_LETTERS.search(text):
        return True
    return SUSPECT.search(text) is not None and looks_decoded_wrongly(text)


def looks_decoded_wrongly(text: str) -> bool:
    """Whether ftfy finds sequences that occur only in wrongly decoded text."""
    from ftfy.badness import is_bad

    return bool(is_bad(text))


def has_control_sequence(text: str) -> bool:
    """Whether a text has control characters or terminal sequences."""
    return CONTROL.search(text) is not None


def has_entity(text: str) -> bool:
    """Whether a text has an entity of HTML that should be a character."""
    if "&" not in text:
        return False
    return any(is_entity(found[1]) for found in ENTITY.finditer(text))


def is_entity(name: str) -> bool:
    """Whether HTML knows an entity: a number, or a name without `&` and `;`."""
    return name.startswith("#") or name in entity_names() or name.lower() in entity_names()


@cache
def entity_names() -> frozenset[str]:
    """Return the names of all entities of HTML that end with a semicolon."""
    return frozenset(name.removesuffix(";") for name in html5 if name.endswith(";"))


def has_subtitle_codes(source: str, target: str) -> bool:
    """Whether a side has codes of a subtitle file, or tags of style that the other side lacks."""
    if any(map(has_codes, (source, target))):
        return True
    return style_tags(source) != style_tags(target)


def has_codes(text: str) -> bool:
    """Whether a text has codes that only subtitle files have."""
    if SUBTITLE.search(text):
        return True
    return LINE_BREAK in text and not OTHER_BACKSLASH.search(text)


def style_tags(text: str) -> Counter[str]:
    """Count the tags of style by name, and the signs of a song as one."""
    found = (each[0] for each in STYLE_TAG.finditer(text))
    names = Counter(TAG_NAME.sub("", tag).lower() if tag[0] == "<" else "♪" for tag in found)
    if names["♪"]:
        names["♪"] = 1
    return +names
