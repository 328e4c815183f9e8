"""The parts of a text that a translation must return to the character."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hala_hpc.data.segmentation.span_patterns import TRIGGER
from hala_hpc.data.segmentation.span_scanner import SPAN_READERS, TextScan, run_end


@dataclass(frozen=True, slots=True)
class Span:
    """`text[start:end]`, protected as what `kind` says.

    Kinds: fence, code, math, display, environment, url, email, tag, entity, placeholder.
    """

    start: int
    end: int
    kind: str


def protected_spans(text: str) -> list[Span]:
    """Everything in `text` that is not language, in order and without overlap.

    Code, LaTeX, URLs, e-mail addresses, tags and comments, entities, placeholders. What starts
    first wins: a `$` inside of code is code. Takes time linear in the length of any text.
    """
    found = TRIGGER.search(text)
    if found is None:
        return []
    scan, spans = TextScan(text), []
    while found is not None:
        read = SPAN_READERS[found.group()](scan, found.start())
        if read is None:
            # A run of backticks or dollars opens something as a whole or not at all.
            after = run_end(text, found.start())
        else:
            spans.append(Span(*read))
            after = scan.floor = read.end
        found = TRIGGER.search(text, after)
    return spans


def language_between(text: str, spans: Sequence[Span]) -> list[str]:
    """What stands before the first of the protected spans, between them, and after the last."""
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def without_spans(text: str) -> str:
    """The language alone: each protected span replaced by a space."""
    return " ".join(language_between(text, protected_spans(text)))


def lost_spans(source: str, translation: str) -> list[str]:
    """Protected parts of `source` that `translation` holds less often, and ones it made up.

    What stands in the other text to the character counts, whatever is around it: `%s` with an
    Arabic letter behind it is still there, though nothing would take it for a placeholder alone.
    """
    wanted = Counter(source[span.start : span.end] for span in protected_spans(source))
    spans = protected_spans(translation)
    got = Counter(translation[span.start : span.end] for span in spans)
    lost: list[str] = []
    if wanted - got:
        remainder = without_spans(translation)
        for part, missing in (wanted - got).items():
            lost += [part] * (missing - remainder.count(part))
    for part, invented in (got - wanted).items():
        lost += [part] * (invented - max(0, source.count(part) - wanted[part]))
    return lost
