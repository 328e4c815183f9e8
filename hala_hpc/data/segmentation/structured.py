"""Read structured data in a text: JSON and its relatives, XML that holds data, tool calls."""

import re
from dataclasses import dataclass

_STRING = r'"(?:[^"\\\n]++|\\.)*+"'
_QUOTE = r"'(?:[^'\\\n]++|\\.)*+'"
_BRACKET = re.compile(rf"{_STRING}?|[{{}}\[\]]")
#: JSON, and what Python and JavaScript write: other quotes, keys without quotes.
_BEGINNING = re.compile(
    rf"\{{\s*+(?:{_STRING}|{_QUOTE}|[A-Za-z_]\w*+|\d++)\s*+:"
    rf"|\[\s*+(?:\{{|\[\s*+[\[{{\"]|{_STRING}\s*+[,\]])"
)
_BODY = re.compile(
    rf"(?:[\s{{}}\[\],:]++|{_STRING}|{_QUOTE}|-?\d[\d.eE+-]*+"
    r"|(?:true|false|null|True|False|None|NaN|undefined)\b|[A-Za-z_]\w*+(?=\s*+:))*+"
)
#: A nested value below this many levels is not looked for.
MAX_DEPTH = 100

#: What these elements hold is for programs.
_DATA_ELEMENT_NAMES = (
    "tool_call tool_calls function_call function_calls function tools tool_response invoke"
    " antml:invoke antml:function_calls antml:parameter parameter parameters arguments"
)
DATA_ELEMENTS = frozenset(_DATA_ELEMENT_NAMES.split())
_MARKUP_NAMES = (
    "a abbr address article aside b big blockquote body br button caption center cite dd del"
    " details div dl dt em figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr"
    " html i img input ins label legend li main mark nav ol option p q s section select small"
    " span strike strong sub summary sup table tbody td textarea tfoot th thead time title tr u"
    " ul think thought reasoning answer"
)
_MARKUP = frozenset(_MARKUP_NAMES.split())
_TAG = re.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z_][\w:.-]*+)(?P<rest>[^<>]*+)>")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE_END = re.compile(r"[.!?]\s*\Z")
#: A text between tags with more words is prose.
MAX_DATA_WORDS = 5


class JsonValues:
    """The JSON values of one text, found in time linear in its length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends = _match_brackets(text)
        self._failed = -1

    def end(self, start: int) -> int | None:
        """Return the end of the value whose bracket is at `start`; `start` never decreases."""
        end = self._ends.get(start)
        # A value around this one failed there, so this one would fail at the same character.
        if end is None or start < self._failed < end or not _BEGINNING.match(self._text, start):
            return None
        body = _BODY.match(self._text, start, end)
        assert body is not None, "it matches nothing at least"
        if body.end() == end:
            return end
        self._failed = body.end()
        return None


def _match_brackets(text: str) -> dict[int, int]:
    """Map each bracket that is closed, with few levels inside, to the offset behind its closer."""
    ends: dict[int, int] = {}
    opened: list[tuple[str, int]] = []
    heights: list[int] = [0]
    for found in _BRACKET.finditer(text):
        sign = found.group()
        if sign in ("{", "["):
            opened.append((sign, found.start()))
            heights.append(0)
        elif sign in ("}", "]") and opened:
            bracket, start = opened.pop()
            height = heights.pop() + 1
            heights[-1] = max(heights[-1], height)
            if (bracket == "{") == (sign == "}") and height <= MAX_DEPTH:
                ends[start] = found.end()
    return ends


@dataclass(slots=True)
class _Element:
    name: str
    start: int
    children: int = 0
    is_prose: bool = False


def data_elements(text: str) -> dict[int, int]:
    """Map the start of each XML element that holds data, not prose, to its end.

    It has two elements inside or more, none of HTML, and no text that is a sentence.
    """
    ends: dict[int, int] = {}
    opened: list[_Element] = []
    at = 0
    for tag in _TAG.finditer(text):
        between, at = text[at : tag.start()], tag.end()
        if opened and _is_prose(between, opened[-1], closes=bool(tag["slash"])):
            opened[-1].is_prose = True
        if not tag["slash"]:
            element = _Element(tag["name"], tag.start(), is_prose=tag["name"].lower() in _MARKUP)
            if opened:
                opened[-1].children += 1
            if not tag["rest"].endswith("/"):
                opened.append(element)
        elif opened and opened[-1].name == tag["name"]:
            element = opened.pop()
            if opened:
                opened[-1].is_prose |= element.is_prose
                opened[-1].children += element.children
            if element.children >= 2 and not element.is_prose:
                ends[element.start] = tag.end()
        else:
            opened.clear()
    return ends


def _is_prose(between: str, element: _Element, *, closes: bool) -> bool:
    """Whether a text between two tags is a sentence, or stands beside elements."""
    stripped = between.strip()
    if not stripped:
        return False
    if element.children or not closes:
        return _WORD.search(stripped) is not None
    words = len(_WORD.findall(stripped))
    return words > MAX_DATA_WORDS or (words > 2 and _SENTENCE_END.search(stripped) is not None)
