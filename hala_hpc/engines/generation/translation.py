"""Translate texts piece by piece: what must stay is kept out, what comes back is checked."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from hala_hpc.data.checks.content import content_behind
from hala_hpc.data.checks.settings import Digits
from hala_hpc.data.checks.translation import OutputChecks
from hala_hpc.data.segmentation.segments import Layout, Segment, around_spans, lay_out, smaller
from hala_hpc.data.segmentation.spans import lost_spans
from hala_hpc.data.text.digits import apply_digits
from hala_hpc.engines.generation.prompts import fill
from hala_hpc.engines.generation.row_program import (
    AS_SET,
    TOO_LONG,
    TRUNCATED,
    Answer,
    Ask,
    Rejection,
    Sampling,
)

#: A mark that stands for code, LaTeX or the like did not come back.
MARKS = "marks"
#: Code, LaTeX or the like did not come back to the character; also a check's word for it.
PLACEHOLDERS = "placeholders"
#: Texts whose pieces and faults are remembered, for those that come again.
RECENT = 2048
#: Longer ones are not, in characters: they seldom come again, and memory is bounded.
SHORT = 4000
#: How a segment is asked again: not greedy, and words said before are less likely.
REDRAWN = Sampling(temperature=0.3, seed=1, repetition_penalty=1.1)

T = TypeVar("T")
Program = Generator[list[Ask], list[Answer], list[str] | Rejection]


@dataclass(frozen=True)
class Translator:
    """How texts are asked and judged."""

    prompt: str
    """With a place {text}."""
    checks: OutputChecks
    digits: Digits
    retries: int
    """How often a piece is asked again before its row is rejected."""
    limit: int
    """Tokens of a piece at most."""
    count: Callable[[str], int]
    source: str = "en"
    """Language of the texts, as in ISO 639."""

    @cached_property
    def laid_out(self) -> Callable[[str], Layout]:
        """The pieces of a text; texts that come again soon are not cut again."""
        return remembered(lambda text: lay_out(text, self.limit, self.count))

    @cached_property
    def checked(self) -> Callable[[str, str], str]:
        """What the checks say of a source and its translation; nor are they made again."""
        return remembered(self.checks.fault)

    def translate(self, texts: Sequence[str]) -> Program:
        """The translations of some texts, or why one of them has none; all are asked at once."""
        layouts = [self.laid_out(text) for text in texts]
        pieces = [Piece(self, segment) for layout in layouts for segment in layout.segments]
        yield from settle(pieces, self.retries)
        owners = [
            text for text, layout in zip(texts, layouts, strict=True) for _ in layout.segments
        ]
        for piece, text in zip(pieces, owners, strict=True):
            if piece.reason:
                return self.rejection(piece.reason, piece.said, text, texts)
        done, made = iter(pieces), []
        for text, layout in zip(texts, layouts, strict=True):
            translation = layout.join([next(done).text for _ in layout.segments])
            if fault := self.whole_fault(text, layout, translation):
                return self.rejection(fault, translation, text, texts)
            made.append(translation)
        return made

    def rejection(self, reason: str, said: str, text: str, texts: Sequence[str]) -> Rejection:
        """Why there is no translation of a text: what it is, where that explains it."""
        content = content_behind(reason, text, texts, self.source)
        return Rejection(content.value if content else reason, said)

    def whole_fault(self, text: str, layout: Layout, translation: str) -> str:
        """What is wrong with a text as a whole: good pieces may not fit each other."""
        if lost_spans(text, translation):
            return PLACEHOLDERS
        if [segment.text for segment in layout.segments] == [text]:
            return ""  # the one piece is the text, and was checked
        return self.checked(text, translation)

    def fault(self, source: str, answer: Answer, translation: str | None) -> str:
        """Why an answer is no translation of a piece; empty when it is one."""
        if answer.reason:
            return answer.reason
        if translation is None:
            return MARKS
        return self.checked(source, translation)


def remembered(function: Callable[..., T]) -> Callable[..., T]:
    """The same function of texts, which knows its last results for short ones."""
    known = lru_cache(RECENT)(function)

    def remember(*texts: str) -> T:
        return known(*texts) if sum(map(len, texts)) <= SHORT else function(*texts)

    return remember


class Piece:
    """A segment on its way: asked as it is, drawn again, or cut into smaller ones."""

    def __init__(self, translator: Translator, segment: Segment) -> None:
        self.translator, self.segment = translator, segment
        self.text = self.said = self.reason = ""
        self._layout: Layout | None = None
        self._was_redrawn = False

    def asks(self) -> list[Ask]:
        """The questions of the next try, which depends on what was wrong with the last."""
        layout, sampling = self._next_try()
        self._layout = layout
        segments = layout.segments if layout else [self.segment]
        prompt, why = self.translator.prompt, self.reason
        return [Ask(fill(prompt, {"text": s.masked()}), sampling, why) for s in segments]

    def _next_try(self) -> tuple[Layout | None, Sampling]:
        if not self.reason:
            return None, AS_SET
        if self.reason == MARKS and self._layout is None:
            return around_spans(self.segment), AS_SET
        if self.reason in (TRUNCATED, TOO_LONG) or self._was_redrawn:
            cut = smaller(self.segment)
            if len(cut.segments) > 1:
                return cut, AS_SET
        self._was_redrawn = True
        return None, REDRAWN

    def take(self, answers: Sequence[Answer]) -> None:
        """Judge the answers to the last try."""
        segments = self._layout.segments if self._layout else [self.segment]
        made = []
        for segment, answer in zip(segments, answers, strict=True):
            translation = segment.restored(answer.text)
            if translation is not None:
                translation = apply_digits(translation, self.translator.digits)
            self.said = answer.text
            self.reason = self.translator.fault(segment.text, answer, translation)
            if self.reason:
                return
            made.append(translation or "")
        self.text = self._layout.join(made) if self._layout else made[0]
        if self._layout:
            self.reason = self.translator.checked(self.segment.text, self.text)


def settle(pieces: Sequence[Piece], retries: int) -> Generator[list[Ask], list[Answer], None]:
    """Ask until every piece is good or was asked often enough."""
    left = list(pieces)
    for _ in range(retries + 1):
        asked = [(piece, piece.asks()) for piece in left]
        answers = iter((yield [ask for _, asks in asked for ask in asks]))
        for piece, asks in asked:
            piece.take([next(answers) for _ in asks])
        left = [piece for piece in left if piece.reason]
        if not left:
            return
