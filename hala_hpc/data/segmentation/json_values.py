"""Prose in the values of JSON that stands in a text: found, put back, and compared.

Only strict JSON is read. Keys, numbers, short values and the layout stay to the character, as only
the strings that hold prose are replaced.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hala_hpc.data.segmentation.spans import protected_spans

#: Kinds of spans that may be JSON: lines of it may be read as a block of code.
_KINDS = frozenset({"data", "code"})
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"(?P<colon>\s*+:)?')
# Half of a pair of escapes: no text of UTF-8 holds it.
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
# Three words or more with a sign that ends a sentence, or four words in a row.
_WORDS = re.compile(r"(?<![^\W\d_])[^\W\d_]+(?:[,;:]?\s+[^\W\d_'’-]+){2}")
_SENTENCE_END = re.compile(r"[.!?؟。][\"'”’»)]*\s*\Z")
_PROSE = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]{2,}+[,;:']?\s+){3}[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class ProseValue:
    """A string `data[start:end]`, with its quotes, that holds prose."""

    start: int
    end: int
    text: str
    """What the string means, without its escapes."""


def find_prose_values(data: str) -> list[ProseValue]:
    """Return the values of a JSON text that are prose, in order; none if it is not JSON."""
    if data[:1] not in ("{", "["):
        return []
    try:
        json.loads(data)
    except ValueError:
        return []
    values = []
    for found in _STRING.finditer(data):
        if found["colon"]:
            continue
        text = json.loads(found.group())
        if is_prose(text) and not _HALF_CHARACTER.search(text):
            values.append(ProseValue(found.start(), found.end(), text))
    return values


def is_prose(text: str) -> bool:
    """Whether a value is a sentence or has four words in a row."""
    if _PROSE.search(text):
        return True
    return _WORDS.search(text) is not None and _SENTENCE_END.search(text) is not None


def replace_values(data: str, values: list[ProseValue], texts: list[str]) -> str:
    """Return a JSON text with other texts in the place of its values, escaped as JSON needs it."""
    parts, at = [], 0
    for value, text in zip(values, texts, strict=True):
        parts += [data[at : value.start], json.dumps(text, ensure_ascii=False)]
        at = value.end
    return "".join([*parts, data[at:]])


def find_json_spans(text: str) -> dict[str, list[ProseValue]]:
    """Return the JSON of a text that has prose, each once, with its values.

    The elements of tool calls and fenced code have none: they are for programs.
    """
    found: dict[str, list[ProseValue]] = {}
    for span in protected_spans(text):
        data = text[span.start : span.end]
        if span.kind in _KINDS and data not in found and (values := find_prose_values(data)):
            found[data] = values
    return found


def replace_json(text: str, translated: Mapping[str, str]) -> str:
    """Replace JSON that stands in a text by its translation, wherever it is a span."""
    if not translated:
        return text
    parts, at = [], 0
    for span in protected_spans(text):
        made = translated.get(text[span.start : span.end]) if span.kind in _KINDS else None
        if made is not None:
            parts += [text[at : span.start], made]
            at = span.end
    return "".join([*parts, text[at:]])


def restore_json(source: str, translation: str) -> str:
    """Return a translation with the source's JSON where it differs in values of prose only.

    What has other keys, numbers or short values is not replaced: a comparison then finds it.
    """
    sources = find_json_spans(source)
    if not sources:
        return translation
    known: dict[str, str] = {}
    for span in protected_spans(translation):
        data = translation[span.start : span.end]
        if span.kind in _KINDS and data not in sources:
            same = next((one for one in sources if differs_in_prose(one, data, sources[one])), None)
            if same is not None:
                known[data] = same
    return replace_json(translation, known)


def differs_in_prose(data: str, other: str, values: list[ProseValue]) -> bool:
    """Whether two JSON texts differ in these values of the first only, and both are JSON."""
    at = after = 0
    for value in values:
        literal = data[at : value.start]
        found = _STRING.match(other, after + len(literal))
        if found is None or found["colon"] or other[after : found.start()] != literal:
            return False
        at, after = value.end, found.end()
    if other[after:] != data[at:]:
        return False
    try:
        json.loads(other)
    except ValueError:
        return False
    return True
