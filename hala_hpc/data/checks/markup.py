"""Whether a translation has the protected spans and the Markdown of its source."""

import re
from collections import Counter

from hala_hpc.data.checks.views import Sides

_EMPHASIS = re.compile(r"(?<![\w*\\])\*(?![\s*])[^*\n]+(?<![\s*\\])\*(?![\w*])")
_HEADING = re.compile(r"#{1,6}[ \t]")
#: A certain list item, and a possible one: a translation may use another bullet, or `1-` for `1.`.
_LISTS = (
    (re.compile(r"[-*+•][ \t]+\S"), re.compile(r"[-*+•–—·▪●◦]")),
    (re.compile(r"\d{1,3}[.)][ \t]+\S"), re.compile(r"[*_(]*\d{1,3}")),
)
#: Line breaks and letters as escape sequences.
_ESCAPES = re.compile(r"\\[nrt](?![A-Za-z])|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}")


def wrong_placeholders(sides: Sides) -> bool:
    """Whether code, formulas, addresses or placeholders were lost, changed or invented."""
    return _wrong_spans(sides, layout=False)


def wrong_markup(sides: Sides) -> bool:
    """Whether tags or Markdown were lost or invented, or line breaks came as `\\n`."""
    if _wrong_spans(sides, layout=True):
        return True
    source, translation = sides.source.layout, sides.translation.layout
    if "\\" in translation and len(_ESCAPES.findall(translation)) > len(_ESCAPES.findall(source)):
        return True
    before, after = _lines(source), _lines(translation)
    return _signs(source, before) != _signs(translation, after) or _wrong_lists(before, after)


def _wrong_spans(sides: Sides, *, layout: bool) -> bool:
    """Whether the two sides differ in tags and escapes, or in the other protected spans."""
    before, after = (
        Counter(text for kind, text in side.spans if _is_layout(kind, text) is layout)
        for side in (sides.source, sides.translation)
    )
    if before == after:
        return False
    # What counts as a span may depend on its neighbours: only a missing text is lost.
    source, translation = sides.source.text, sides.translation.text
    return any(source.count(span) != translation.count(span) for span in before | after)


def _is_layout(kind: str, text: str) -> bool:
    return kind == "tag" or (kind == "placeholder" and text.startswith("\\"))


def _lines(text: str) -> list[str]:
    """Return the lines without indentation and direction marks."""
    return [line.lstrip(" \t\u200e\u200f") for line in text.split("\n")]


def _signs(text: str, lines: list[str]) -> list[int]:
    """Count each kind of Markdown syntax in a text."""
    rows = sum(line.startswith("|") for line in lines)
    return [
        text.count("**"),
        text.count("~~"),
        text.count("]("),
        len(_EMPHASIS.findall(text)) if "*" in text else 0,
        sum(_HEADING.match(line) is not None for line in lines) if "#" in text else 0,
        # A quotation that is wrapped again may have another number of lines.
        any(line.startswith(">") for line in lines),
        rows,
        text.count("|") if rows else 0,
    ]


def _wrong_lists(source: list[str], translation: list[str]) -> bool:
    """Whether one side has more certain list items than the other has possible ones."""
    for sure, possible in _LISTS:
        before = sum(sure.match(line) is not None for line in source)
        after = sum(sure.match(line) is not None for line in translation)
        if before == after:
            continue
        if before > sum(possible.match(line) is not None for line in translation):
            return True
        if after > sum(possible.match(line) is not None for line in source):
            return True
    return False
