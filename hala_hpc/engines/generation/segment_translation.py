"""Segments in translation: the largest is asked first, and only what fails in smaller ones."""

from collections.abc import Generator, Iterator, Sequence

from hala_hpc.data.checks.settings import ForeignTextPolicy
from hala_hpc.data.segmentation.answers import join_lines, read_block_answers
from hala_hpc.data.segmentation.blocks import Block, make_opaque, parse_blocks
from hala_hpc.data.segmentation.cuts import Range
from hala_hpc.data.segmentation.layout import find_smaller_ranges
from hala_hpc.data.segmentation.segments import (
    AnnotatedText,
    Layout,
    Segment,
    split_at_spans,
    split_segment,
)
from hala_hpc.data.segmentation.spans import language_between
from hala_hpc.data.text.digits import apply_digits
from hala_hpc.engines.generation.row_program import (
    DEFAULT_SAMPLING,
    TOO_LONG,
    TRUNCATED,
    Answer,
    Prompt,
    Sampling,
)
from hala_hpc.engines.generation.segment_rules import LOST_PLACEHOLDER, SegmentRules

#: Reason: paragraphs, lines, list markers or cells differ from those of the source; of a check too.
BROKEN_STRUCTURE = "structure"
#: Sampling of a retry: not greedy, and tokens that occurred before are less likely.
RETRY_SAMPLING = Sampling(temperature=0.3, seed=1, repetition_penalty=1.1)


class SegmentTranslation:
    """A line in translation: sent as it is, sampled again, or cut into smaller ones."""

    def __init__(
        self, rules: SegmentRules, segment: Segment, context: str = "", cause: str = ""
    ) -> None:
        self.rules, self.segment, self.context = rules, segment, context
        self.text = self.response = self.reason = ""
        self.retry_reasons: set[str] = set()
        self._used: Sequence[Answer] = ()
        self._cause = cause
        self._tries = 0
        self._layout: Layout | None = None
        self._was_resampled = False
        language = " ".join(language_between(segment.text, segment.spans))
        self.policy, self.foreign_kind = rules.find_policy(language)

    @property
    def is_untranslated(self) -> bool:
        """Whether the segment stays as it is."""
        return self.policy == "keep"

    def open_segments(self) -> "Iterator[SegmentTranslation]":
        """Yield this segment if it is to be asked."""
        if not self._tries or (self.reason and self._tries <= self.rules.retries):
            yield self

    def next_prompts(self) -> list[Prompt]:
        """The prompts of the next try, which depends on what was wrong with the last."""
        if self.is_untranslated:
            return [Prompt(self.segment.text, untranslated_reason=self.foreign_kind)]
        layout, sampling = self._next_try()
        self._layout = layout
        segments = layout.segments if layout else [self.segment]
        reason = self.reason or self._cause
        if reason:
            self.retry_reasons.add(reason)
        return [self.rules.make_prompt(s, self.context, sampling, reason) for s in segments]

    def _next_try(self) -> tuple[Layout | None, Sampling]:
        if not self.reason:
            return None, DEFAULT_SAMPLING
        if self.reason == LOST_PLACEHOLDER and self._layout is None:
            return split_at_spans(self.segment), DEFAULT_SAMPLING
        if self.reason in (TRUNCATED, TOO_LONG) or self._was_resampled:
            cut = split_segment(self.segment)
            if len(cut.segments) > 1:
                return cut, DEFAULT_SAMPLING
        self._was_resampled = True
        return None, RETRY_SAMPLING

    def judge(self, answers: Sequence[Answer]) -> None:
        """Judge the answers to the last try."""
        self._tries += 1
        if self.is_untranslated:
            self.text = self.segment.text
            return
        segments = self._layout.segments if self._layout else [self.segment]
        made = []
        for segment, answer in zip(segments, answers, strict=True):
            translation = segment.restored(answer.text)
            if translation is not None:
                translation = apply_digits(translation, self.rules.digits)
            self.response = answer.text
            self.reason = self.rules.find_fault(segment.text, answer, translation)
            if self.reason:
                return
            if "\n" in answer.text:
                translation = segment.restored(join_lines(answer.text))
                translation = apply_digits(translation or "", self.rules.digits)
            made.append(translation or "")
        self.text = self._layout.join(made) if self._layout else made[0]
        self._used = answers
        if self._layout:
            self.reason = self.rules.check_translation(self.segment.text, self.text)

    @property
    def retried_characters(self) -> int:
        """Characters of the segment that were generated more than once."""
        return len(self.segment.text) if self.retry_reasons else 0

    def used_answers(self) -> Iterator[Answer]:
        """Yield the answers that the translation was made of."""
        yield from self._used


class GroupTranslation:
    """Several blocks in translation at once: what fails is asked in paragraphs, then in lines."""

    policy: ForeignTextPolicy = "translate"
    is_untranslated = False
    foreign_kind = ""

    def __init__(
        self, rules: SegmentRules, segment: Segment, context: str = "", cause: str = ""
    ) -> None:
        self.rules, self.segment, self.context = rules, segment, context
        self._cause = cause
        self._own_response = self._own_reason = ""
        self._answer = Answer("")
        self._is_used = False
        self._source = AnnotatedText(segment.text, segment.spans)
        self._is_asked = False
        self._parts: list[str | SegmentTranslation | GroupTranslation] = []

    def open_segments(self) -> "Iterator[SegmentTranslation | GroupTranslation]":
        """Yield this segment if it was not asked, else those smaller ones that are to be asked."""
        if not self._is_asked:
            yield self
        for part in self._translations():
            yield from part.open_segments()

    def next_prompts(self) -> list[Prompt]:
        """The prompt for all blocks."""
        prompt = self.rules.make_prompt(self.segment, self.context, DEFAULT_SAMPLING, self._cause)
        return [prompt]

    def judge(self, answers: Sequence[Answer]) -> None:
        """Take the blocks that are good, and make smaller segments of the others."""
        self._is_asked = True
        answer = self._answer = answers[0]
        self._own_response = answer.text
        blocks = parse_blocks(make_opaque(self.segment.text, self.segment.spans))
        contents: list[str | None] = [None] * len(blocks)
        if not answer.reason:
            contents = read_block_answers(self.segment, blocks, answer.text)
        reasons = [
            answer.reason or self._find_block_fault(block, content)
            for block, content in zip(blocks, contents, strict=True)
        ]
        self._own_reason = next(filter(None, reasons), "")
        if not self._own_reason or self.rules.retries:
            self._set_parts(blocks, contents, reasons)

    def _find_block_fault(self, block: Block, content: str | None) -> str:
        if content is None:
            return BROKEN_STRUCTURE
        place = self._source.language(block.start, block.end)
        if place is None:
            return ""
        source = self.segment.text[block.start : block.end].strip()
        return self.rules.check_translation(source, apply_digits(content, self.rules.digits))

    def _set_parts(
        self, blocks: Sequence[Block], contents: Sequence[str | None], reasons: Sequence[str]
    ) -> None:
        """Set the good blocks, the smaller segments, and the text between them."""
        self._own_reason = ""
        at = 0
        for place, part in self._make_parts(blocks, contents, reasons):
            self._parts += [self.segment.text[at : place[0]], part]
            self._is_used |= isinstance(part, str)
            at = place[1]
        self._parts.append(self.segment.text[at:])

    def _make_parts(
        self, blocks: Sequence[Block], contents: Sequence[str | None], reasons: Sequence[str]
    ) -> "Iterator[tuple[Range, str | SegmentTranslation | GroupTranslation]]":
        for is_good, run in _runs(reasons):
            if not is_good:
                yield from self._make_smaller([blocks[index] for index in run], reasons[run[0]])
                continue
            for index in run:
                block, content = blocks[index], contents[index]
                if self._source.language(block.start, block.end) is not None:
                    text = self.segment.text[block.start : block.end]
                    start = block.start + len(text) - len(text.lstrip())
                    end = block.start + len(text.rstrip())
                    yield (start, end), apply_digits(content or "", self.rules.digits)

    def _make_smaller(
        self, blocks: Sequence[Block], cause: str
    ) -> "Iterator[tuple[Range, SegmentTranslation | GroupTranslation]]":
        for place, has_blocks in find_smaller_ranges(
            self._source, blocks, self.rules.smaller_layout
        ):
            segment = self._source.segment(*place, has_blocks)
            yield place, start_translation(self.rules, segment, self.context, cause)

    @property
    def text(self) -> str:
        """The translation of all blocks; complete once no segment is open."""
        return "".join(part if isinstance(part, str) else part.text for part in self._parts)

    @property
    def reason(self) -> str:
        """Why there is no translation; empty if there is one."""
        return self._own_reason or next((part.reason for part in self._failed()), "")

    @property
    def response(self) -> str:
        """The answer that was rejected last."""
        return next((part.response for part in self._failed()), self._own_response)

    @property
    def retry_reasons(self) -> set[str]:
        """Why this segment or a smaller one was generated again."""
        own = {self._cause} if self._cause else set()
        return own.union(*(part.retry_reasons for part in self._translations()))

    @property
    def retried_characters(self) -> int:
        """Characters of the segment that were generated more than once."""
        if self._cause:
            return len(self.segment.text)
        return sum(part.retried_characters for part in self._translations())

    def used_answers(self) -> Iterator[Answer]:
        """Yield the answers that a part of the translation was made of."""
        if self._is_used:
            yield self._answer
        for part in self._translations():
            yield from part.used_answers()

    def _translations(self) -> "Iterator[SegmentTranslation | GroupTranslation]":
        return (part for part in self._parts if not isinstance(part, str))

    def _failed(self) -> "Iterator[SegmentTranslation | GroupTranslation]":
        return (part for part in self._translations() if part.reason)


AnyTranslation = SegmentTranslation | GroupTranslation


def _runs(reasons: Sequence[str]) -> Iterator[tuple[bool, list[int]]]:
    """Yield runs of indices that are good, or that are not."""
    run: list[int] = []
    for index, reason in enumerate(reasons):
        if run and (reason == "") != (reasons[run[0]] == ""):
            yield reasons[run[0]] == "", run
            run = []
        run.append(index)
    if run:
        yield reasons[run[0]] == "", run


def start_translation(
    rules: SegmentRules, segment: Segment, context: str = "", cause: str = ""
) -> AnyTranslation:
    """Start the translation of a segment; `cause` is why a larger one failed."""
    kind = GroupTranslation if segment.has_blocks else SegmentTranslation
    return kind(rules, segment, context, cause)


def translate_segments(
    segments: Sequence[AnyTranslation],
) -> Generator[list[Prompt], list[Answer], None]:
    """Prompt until every segment is good or has no retries left."""
    left = [each for segment in segments for each in segment.open_segments()]
    while left:
        pending = [(segment, segment.next_prompts()) for segment in left]
        answers = iter((yield [prompt for _, prompts in pending for prompt in prompts]))
        for segment, prompts in pending:
            segment.judge([next(answers) for _ in prompts])
        left = [each for segment in left for each in segment.open_segments()]
