"""Translates texts segment by segment: protected spans are masked, answers are checked."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hala_hpc.data.checks.content import explain_rejection
from hala_hpc.data.corpus.figures import (
    AnswerLogprob,
    TranslationFigures,
    compute_mean_logprob,
)
from hala_hpc.data.segmentation.json_values import (
    find_json_spans,
    replace_json,
    replace_values,
)
from hala_hpc.data.segmentation.layout import lay_out
from hala_hpc.data.segmentation.levels import JsonPolicy
from hala_hpc.data.segmentation.segments import Layout
from hala_hpc.data.segmentation.spans import lost_spans
from hala_hpc.engines.generation.row_program import Answer, Prompt, Rejection
from hala_hpc.engines.generation.segment_rules import SegmentRules, memoize_short
from hala_hpc.engines.generation.segment_translation import (
    AnyTranslation,
    start_translation,
    translate_segments,
)

#: Reason: code, LaTeX or the like did not stay the same to the character; also of a check.
LOST_SPAN = "placeholders"


@dataclass(frozen=True)
class TranslatedTexts:
    """The translations of some texts, and the figures of all together."""

    texts: list[str]
    figures: TranslationFigures


TranslationProgram = Generator[list[Prompt], list[Answer], TranslatedTexts | Rejection]


@dataclass(frozen=True)
class Translator:
    """Translates texts with a prompt, and judges the answers."""

    rules: SegmentRules
    source: str = "en"
    """Language of the texts, as in ISO 639."""
    rewrap: bool = True
    """Whether paragraphs that were wrapped are wrapped again, else they are one line."""
    json_values: JsonPolicy = "keep"
    """What is done with prose in the values of JSON."""

    @cached_property
    def layout_of(self) -> Callable[[str], Layout]:
        """Cuts a text into segments; memoized for texts that occur again soon."""
        is_apart = self.rules.is_apart if self.rules.foreign_texts else None
        rules = replace(self.rules.layout, is_apart=is_apart)
        return memoize_short(lambda text: lay_out(text, rules))

    def translate(self, texts: Sequence[str], contexts: Sequence[str] = ()) -> TranslationProgram:
        """Translate some texts, and the prose in their JSON; returns why one has no translation.

        `contexts` are what the model reads before each text; none if it is empty.
        """
        found = [find_json_spans(text) for text in texts] if self.json_values != "keep" else []
        values = [value.text for spans in found for each in spans.values() for value in each]
        if not values:
            return (yield from self.translate_all(texts, contexts))
        without = [""] * len(values)
        made = yield from self.translate_all(
            [*texts, *values], [*(contexts or [""] * len(texts)), *without]
        )
        if isinstance(made, Rejection):
            return made
        left = iter(made.texts[len(texts) :])
        whole = []
        for text, spans in zip(made.texts, found, strict=False):
            translated = {
                data: replace_values(data, each, [next(left) for _ in each])
                for data, each in spans.items()
            }
            whole.append(replace_json(text, translated))
        return replace(made, texts=whole)

    def translate_all(self, texts: Sequence[str], contexts: Sequence[str]) -> TranslationProgram:
        """Translate some texts, all at once; returns the translations or why one has none."""
        layouts = [self.layout_of(text) for text in texts]
        translations = [
            [start_translation(self.rules, segment, context) for segment in layout.segments]
            for layout, context in zip(layouts, contexts or [""] * len(texts), strict=True)
        ]
        every = [segment for own in translations for segment in own]
        if dropped := next((each for each in every if each.policy == "drop"), None):
            return Rejection(dropped.foreign_kind)
        yield from translate_segments(every)
        for text, own in zip(texts, translations, strict=True):
            if failed := next((segment for segment in own if segment.reason), None):
                return self.make_rejection(failed.reason, failed.response, text, texts)
        made = []
        for text, layout, own in zip(texts, layouts, translations, strict=True):
            translation = layout.join([each.text for each in own])
            if self.rewrap:
                translation = layout.wrap(translation)
            if fault := self.find_whole_fault(text, layout, own, translation):
                return self.make_rejection(fault, translation, text, texts)
            made.append(translation)
        figures = compute_figures(texts, made, layouts, every)
        return TranslatedTexts(made, figures)

    def make_rejection(
        self, reason: str, response: str, text: str, texts: Sequence[str]
    ) -> Rejection:
        """Why there is no translation of a text: its content, if that explains the reason."""
        content = explain_rejection(reason, text, texts, self.source)
        return Rejection(content.value if content else reason, response)

    def find_whole_fault(
        self, text: str, layout: Layout, own: Sequence[AnyTranslation], translation: str
    ) -> str:
        """What is wrong with a text as a whole: good segments may not fit each other."""
        if lost_spans(text, translation):
            return LOST_SPAN
        if [(each.text, each.has_blocks) for each in layout.segments] == [(text, False)]:
            return ""  # the only segment is the text, and was checked
        if any(each.is_untranslated for each in own):  # which are no translation
            text = layout.join(["" if each.is_untranslated else each.segment.text for each in own])
            translation = layout.join(["" if each.is_untranslated else each.text for each in own])
        return self.rules.check_translation(text, translation)


def compute_figures(
    texts: Sequence[str],
    translations: Sequence[str],
    layouts: Sequence[Layout],
    segments: Sequence[AnyTranslation],
) -> TranslationFigures:
    """Compute the figures of translated texts from all their segments."""
    answers = (answer for segment in segments for answer in segment.used_answers())
    logprobs = (
        AnswerLogprob(answer.logprob, answer.tokens)
        for answer in answers
        if answer.logprob is not None
    )
    characters = sum(len(segment.segment.text) for segment in segments)
    retried = sum(segment.retried_characters for segment in segments)
    reasons: set[str] = set()
    reasons.update(*(segment.retry_reasons for segment in segments))
    source = sum(map(len, texts))
    return TranslationFigures(
        mean_logprob=compute_mean_logprob(logprobs),
        retried_share=retried / characters if characters else 0.0,
        retry_reasons=tuple(sorted(reasons)),
        length_ratio=sum(map(len, translations)) / source if source else 1.0,
        protected_spans=sum(layout.span_count for layout in layouts),
    )
