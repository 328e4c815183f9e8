"""Protected spans: the parts of a text that a translation must keep character by character."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.data.segmentation.code_lines import code_blocks
from hala_hpc.data.segmentation.span_patterns import TRIGGER
from hala_hpc.data.segmentation.span_scanner import SPAN_READERS, TextScan, run_end

# No such span goes on into a block of code: its sign was a stray one.
_INLINE = frozenset({"math", "code", "placeholder"})


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]`, a protected span of a kind.

    Kinds: fence, code, data, math, display, environment, url, email, tag, entity, placeholder.
    """

    start: int
    end: int
    kind: str


def protected_spans(text: str) -> list[Span]:
    """Return the parts of `text` that are not language, in order and without overlap.

    Code, data such as JSON, LaTeX, URLs, e-mail addresses, tags and comments, entities,
    placeholders. The span that starts first wins: a `$` inside of code is code. The time is linear
    in the length of the text.
    """
    blocks = code_blocks(text)
    found = TRIGGER.search(text)
    scan = TextScan(text)
    spans: list[Span] = []
    next_block = 0
    while found is not None or next_block < len(blocks):
        while next_block < len(blocks) and blocks[next_block][0] < scan.floor:
            next_block += 1  # a part of the last span, such as a fence
        start, end = blocks[next_block] if next_block < len(blocks) else (len(text), len(text))
        if found is None or start <= found.start():
            if start < len(text):
                spans.append(Span(start, end, "code"))
                next_block += 1
                scan.floor = end
            found = TRIGGER.search(text, end)
            continue
        read = SPAN_READERS[found.group()](scan, found.start())
        if read is not None and read.end > start and read.kind in _INLINE:
            read = None
        if read is None:
            # A run of backticks or dollars opens a span as a whole or not at all.
            after = run_end(text, found.start())
        else:
            spans.append(Span(*read))
            after = scan.floor = read.end
        found = TRIGGER.search(text, after)
    return spans


def language_between(text: str, spans: Sequence[Span]) -> list[str]:
    """Return the texts before, between and after the protected spans."""
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def without_spans(text: str) -> str:
    """Return the language only: each protected span is replaced by a space."""
    return " ".join(language_between(text, protected_spans(text)))


def lost_spans(source: str, translation: str) -> list[str]:
    """Return spans of `source` that `translation` has less often, and spans it invented.

    A span that is in the other text character by character counts, whatever is around it. `%s`
    followed by an Arabic letter is not lost, though alone it would not be recognized.
    """
    wanted = Counter(source[span.start : span.end] for span in protected_spans(source))
    spans = protected_spans(translation)
    got = Counter(translation[span.start : span.end] for span in spans)
    lost: list[str] = []
    if wanted - got:
        remainder = without_spans(translation)
        for part, missing in (wanted - got).items():
            # Lines of a block are kept, wherever its blocks begin and end.
            has = translation.count(part) - got[part] if "\n" in part else remainder.count(part)
            lost += [part] * (missing - has)
    for part, invented in (got - wanted).items():
        lost += [part] * (invented - max(0, source.count(part) - wanted[part]))
    return lost
