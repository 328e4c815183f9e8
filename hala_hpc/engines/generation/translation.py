"""Translates texts segment by segment: protected spans are masked, answers are checked."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

from hala_hpc.data.checks.content import explain_rejection
from hala_hpc.data.checks.foreign_text import ForeignTexts
from hala_hpc.data.checks.settings import Digits, ForeignTextPolicy
from hala_hpc.data.checks.translation import OutputChecks
from hala_hpc.data.segmentation.segments import (
    Layout,
    Segment,
    lay_out,
    split_at_spans,
    split_segment,
)
from hala_hpc.data.segmentation.spans import language_between, lost_spans
from hala_hpc.data.text.digits import apply_digits
from hala_hpc.engines.generation.prompts import fill_template
from hala_hpc.engines.generation.row_program import (
    DEFAULT_SAMPLING,
    TOO_LONG,
    TRUNCATED,
    Answer,
    Prompt,
    Rejection,
    Sampling,
)

#: Reason: a placeholder of code, LaTeX or the like is missing in the answer.
LOST_PLACEHOLDER = "marks"
#: Reason: code, LaTeX or the like did not stay the same to the character; also of a check.
LOST_SPAN = "placeholders"
#: Number of texts whose segments and faults are memoized, as texts occur more than once.
MAX_MEMOIZED = 2048
#: Longer ones, in characters, are not memoized: they seldom occur twice, and memory is bounded.
MAX_MEMOIZED_CHARACTERS = 4000
#: Sampling of a retry: not greedy, and tokens that occurred before are less likely.
RETRY_SAMPLING = Sampling(temperature=0.3, seed=1, repetition_penalty=1.1)

T = TypeVar("T")
TranslationProgram = Generator[list[Prompt], list[Answer], list[str] | Rejection]


@dataclass(frozen=True)
class Translator:
    """Translates texts with a prompt, and judges the answers."""

    prompt: str
    """With a field {text}."""
    checks: OutputChecks
    digits: Digits
    retries: int
    """How often a segment is retried before its row is rejected."""
    limit: int
    """Maximum number of tokens of a segment."""
    count: Callable[[str], int]
    source: str = "en"
    """Language of the texts, as in ISO 639."""
    foreign_texts: ForeignTexts | None = None
    """What is done with segments in another language; None translates them."""

    @cached_property
    def layout_of(self) -> Callable[[str], Layout]:
        """Cuts a text into segments; memoized for texts that occur again soon."""
        return memoize_short(lambda text: lay_out(text, self.limit, self.count))

    @cached_property
    def check_translation(self) -> Callable[[str, str], str]:
        """Checks a source and its translation; memoized, too."""
        return memoize_short(self.checks.fault)

    def translate(self, texts: Sequence[str]) -> TranslationProgram:
        """Translate some texts, all at once; returns the translations or why one has none."""
        layouts = [self.layout_of(text) for text in texts]
        translations = [
            SegmentTranslation(self, segment) for layout in layouts for segment in layout.segments
        ]
        if dropped := next((each for each in translations if each.policy == "drop"), None):
            return Rejection(dropped.foreign_kind)
        yield from translate_segments(translations, self.retries)
        owners = [
            text for text, layout in zip(texts, layouts, strict=True) for _ in layout.segments
        ]
        for segment, text in zip(translations, owners, strict=True):
            if segment.reason:
                return self.make_rejection(segment.reason, segment.response, text, texts)
        done, made = iter(translations), []
        for text, layout in zip(texts, layouts, strict=True):
            own = [next(done) for _ in layout.segments]
            translation = layout.join([each.text for each in own])
            if fault := self.find_whole_fault(text, layout, own, translation):
                return self.make_rejection(fault, translation, text, texts)
            made.append(translation)
        return made

    def make_rejection(
        self, reason: str, response: str, text: str, texts: Sequence[str]
    ) -> Rejection:
        """Why there is no translation of a text: its content, if that explains the reason."""
        content = explain_rejection(reason, text, texts, self.source)
        return Rejection(content.value if content else reason, response)

    def find_whole_fault(
        self, text: str, layout: Layout, own: "list[SegmentTranslation]", translation: str
    ) -> str:
        """What is wrong with a text as a whole: good segments may not fit each other."""
        if lost_spans(text, translation):
            return LOST_SPAN
        if [segment.text for segment in layout.segments] == [text]:
            return ""  # the only segment is the text, and was checked
        if any(each.is_untranslated for each in own):  # which are no translation
            text = layout.join(["" if each.is_untranslated else each.segment.text for each in own])
            translation = layout.join(["" if each.is_untranslated else each.text for each in own])
        return self.check_translation(text, translation)

    def find_fault(self, source: str, answer: Answer, translation: str | None) -> str:
        """Why an answer is no translation of a segment; empty if it is one."""
        if answer.reason:
            return answer.reason
        if translation is None:
            return LOST_PLACEHOLDER
        return self.check_translation(source, translation)


def memoize_short(function: Callable[..., T]) -> Callable[..., T]:
    """Memoize the last results of a function of texts, for short texts."""
    known = lru_cache(MAX_MEMOIZED)(function)

    def memoized(*texts: str) -> T:
        return (
            known(*texts) if sum(map(len, texts)) <= MAX_MEMOIZED_CHARACTERS else function(*texts)
        )

    return memoized


class SegmentTranslation:
    """A segment in translation: sent as it is, sampled again, or cut into smaller ones."""

    def __init__(self, translator: Translator, segment: Segment) -> None:
        self.translator, self.segment = translator, segment
        self.text = self.response = self.reason = ""
        self._layout: Layout | None = None
        self._was_resampled = False
        self.policy: ForeignTextPolicy = "translate"
        self.foreign_kind = ""
        if translator.foreign_texts:
            language = " ".join(language_between(segment.text, segment.spans))
            self.policy, kind = translator.foreign_texts.policy_of(language)
            self.foreign_kind = kind.value if kind else ""

    @property
    def is_untranslated(self) -> bool:
        """Whether the segment stays as it is."""
        return self.policy == "keep"

    def next_prompts(self) -> list[Prompt]:
        """The prompts of the next try, which depends on what was wrong with the last."""
        if self.is_untranslated:
            return [Prompt(self.segment.text, untranslated_reason=self.foreign_kind)]
        layout, sampling = self._next_try()
        self._layout = layout
        segments = layout.segments if layout else [self.segment]
        prompt, retry_reason = self.translator.prompt, self.reason
        return [
            Prompt(fill_template(prompt, {"text": s.masked()}), sampling, retry_reason)
            for s in segments
        ]

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
        if self.is_untranslated:
            self.text = self.segment.text
            return
        segments = self._layout.segments if self._layout else [self.segment]
        made = []
        for segment, answer in zip(segments, answers, strict=True):
            translation = segment.restored(answer.text)
            if translation is not None:
                translation = apply_digits(translation, self.translator.digits)
            self.response = answer.text
            self.reason = self.translator.find_fault(segment.text, answer, translation)
            if self.reason:
                return
            made.append(translation or "")
        self.text = self._layout.join(made) if self._layout else made[0]
        if self._layout:
            self.reason = self.translator.check_translation(self.segment.text, self.text)


def translate_segments(
    segments: Sequence[SegmentTranslation], retries: int
) -> Generator[list[Prompt], list[Answer], None]:
    """Prompt until every segment is good or has no retries left."""
    left = list(segments)
    for _ in range(retries + 1):
        pending = [(segment, segment.next_prompts()) for segment in left]
        answers = iter((yield [prompt for _, prompts in pending for prompt in prompts]))
        for segment, prompts in pending:
            segment.judge([next(answers) for _ in prompts])
        left = [segment for segment in left if segment.reason]
        if not left:
            return
