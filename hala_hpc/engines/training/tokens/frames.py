"""Frames: what the chat template makes of a conversation, with the places of its texts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hala_hpc.core.printable import escape_controls
from hala_hpc.engines.models.control_tokens import list_control_tokens
from hala_hpc.engines.training.tokens.outlines import SLOT, Message, TalkOutline

#: Range of characters of an answer in the rendered template.
Span = tuple[int, int]
#: Characters of what a template says that are kept.
ERROR_CHARACTERS = 120
#: What templates raise: their own errors are TemplateError of jinja2, and they may expect other
#: types than those of a conversation.
TEMPLATE_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


class RefusedError(Exception):
    """A row that cannot be used for training; `detail` is the error of the template, if any."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class TemplateSegment:
    """A segment of a conversation: the text of a message, or fixed tokens of the template."""

    slot: int | None
    ids: tuple[int, ...]
    has_loss: bool


Frame = tuple[TemplateSegment, ...]


@dataclass(frozen=True)
class SlotPlace:
    """Position of the text of a message in the rendered template."""

    number: int
    start: int
    end: int


def find_slots(text: str) -> list[SlotPlace]:
    """Return the slots of a rendered template in order."""
    return [
        SlotPlace(int(found[1]), found.start(), found.end())
        for found in re.finditer(SLOT.format(r"(\d+)"), text)
    ]


def group_answers(text: str, roles: Sequence[str]) -> list[list[SlotPlace]]:
    """Group the answers of a rendered template by the text around them.

    Each answer is its own group if the template does not show every message once and in order.
    """
    places = find_slots(text)
    answers = [number for number, role in enumerate(roles) if role == "assistant"]
    if [place.number for place in places] != list(range(len(roles))):
        return [[SlotPlace(number, 0, 0)] for number in answers]
    edges = [0, *(place.end for place in places)]
    starts = [*(place.start for place in places), len(text)]
    groups: dict[tuple[str, ...], list[SlotPlace]] = {}
    for number in answers:
        place = places[number]
        near = (text[edges[number] : place.start], text[place.end : starts[number + 1]])
        key = (*near, *roles[max(0, number - 1) : number + 2], "first" if number == 0 else "")
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def context_lengths(span: Span | None, place: SlotPlace) -> tuple[int, int] | None:
    """Return how many characters of the template a span has before and after its answer."""
    return None if span is None else (place.start - span[0], span[1] - place.end)


class FrameMaker:
    """Makes the frames of conversations with the chat template of a tokenizer."""

    def __init__(self, tokenizer: Any, uses_template: bool) -> None:
        self.tokenizer, self.uses_template = tokenizer, uses_template
        self.control_tokens = list_control_tokens(tokenizer)

    def make(self, outline: TalkOutline) -> Frame:
        """Return the frame of a conversation. Raises: RefusedError."""
        if not self.uses_template:
            return self._plain_frame(outline)
        if (data := outline.data) and any(token in data for token in self.control_tokens):
            # The template renders this text itself, so that it would become control tokens.
            raise RefusedError("control_tokens_in_call")
        try:
            return self._template_frame(outline)
        except RefusedError as refused:
            if not outline.has_calls:
                raise
            try:
                return self._template_frame(outline.with_text_arguments())
            except RefusedError:
                raise refused from None

    def _template_frame(self, outline: TalkOutline) -> Frame:
        text, spans = self._answer_spans(outline)
        edges = sorted({edge for span in spans for edge in span} | {0, len(text)})
        segments: list[TemplateSegment] = []
        for span in pairwise(edges):
            has_loss = spans.get(span, -1) not in {-1, *outline.context}
            segments += self._split_at_slots(text[span[0] : span[1]], has_loss)
        return self._end_at_last_answer(segments)

    def _plain_frame(self, outline: TalkOutline) -> Frame:
        if outline.has_calls or outline.tools:
            raise RefusedError("tool_calls_not_in_template")
        # What the tokenizer puts before any text (BOS), as at inference.
        begin = TemplateSegment(None, tuple(self.tokenizer("")["input_ids"]), False)
        slots = [
            TemplateSegment(slot, (), role == "assistant" and slot not in outline.context)
            for slot, role in enumerate(outline.roles)
        ]
        return self._end_at_last_answer([begin, *slots])

    def _end_at_last_answer(self, segments: list[TemplateSegment]) -> Frame:
        """Leave out what follows the last answer, which has no labels.

        The end-of-text token is added if the template ends a turn without a special token.
        """
        learned = [number for number, segment in enumerate(segments) if segment.has_loss]
        if not learned:
            raise RefusedError("nothing_to_learn")
        last = segments[learned[-1]]
        ended = segments[: learned[-1] + 1]
        if not (last.ids and last.ids[-1] in self.tokenizer.all_special_ids):
            ended.append(TemplateSegment(None, (self.tokenizer.eos_token_id,), True))
        return tuple(ended)

    def _split_at_slots(self, text: str, has_loss: bool) -> list[TemplateSegment]:
        """Split a part of the rendered template at its slots."""
        found = []
        # Every other item is the number of a slot.
        for number, item in enumerate(re.split(SLOT.format(r"(\d+)"), text)):
            if number % 2:
                found.append(TemplateSegment(int(item), (), has_loss))
            elif item:
                # The tokens of the template are control tokens.
                ids = self.tokenizer(item, add_special_tokens=False, split_special_tokens=False)
                found.append(TemplateSegment(None, tuple(ids["input_ids"]), has_loss))
        return found

    def _answer_spans(self, outline: TalkOutline) -> tuple[str, dict[Span, int]]:
        """Return the rendered template, and the spans of the answers in it with their numbers.

        Some templates render an older turn differently from a new one; then only the last has
        labels.
        """
        text = self._render(outline.turns, outline)
        self._require_all_shown(text, outline)
        spans: dict[Span, int] = {}
        for alike in group_answers(text, outline.roles):
            spans |= self._spans_of(text, outline, alike)
        if not spans:
            raise RefusedError("refused_by_template")
        return text, spans

    def _require_all_shown(self, text: str, outline: TalkOutline) -> None:
        """Check that a template shows every text, the calls and the tools. Raises: RefusedError."""
        missing = set(outline.slots) - {place.number for place in find_slots(text)}
        if missing:
            role = outline.roles[min(missing)]
            raise RefusedError("left_out_by_template", f"shows no text of the role {role}")
        if outline.has_calls and self._shows_same(text, outline.without_calls(), outline):
            raise RefusedError("tool_calls_not_in_template")
        without_tools = TalkOutline(outline.turns, outline.context)
        if outline.tools and self._shows_same(text, without_tools, without_tools):
            raise RefusedError("tools_not_in_template")

    def _shows_same(self, text: str, other: TalkOutline, options: TalkOutline) -> bool:
        """Whether another outline is rendered to the same text."""
        try:
            return self._render(other.turns, options) == text
        except RefusedError:
            return False

    def _spans_of(self, text: str, outline: TalkOutline, alike: list[SlotPlace]) -> dict[Span, int]:
        """Return the spans of a group of answers with the same text around them.

        What holds for the first and the last of them holds for all. To render the template up to
        each answer would take n times as long for a conversation of n messages.
        """
        first = self._span_at(text, outline, alike[0])
        if len(alike) == 1:
            return {first: alike[0].number} if first else {}
        last = self._span_at(text, outline, alike[-1])
        if context_lengths(first, alike[0]) != context_lengths(last, alike[-1]):
            found = {place.number: self._span_at(text, outline, place) for place in alike}
            return {span: number for number, span in found.items() if span}
        if first is None:
            return {}
        before, after = alike[0].start - first[0], first[1] - alike[0].end
        return {(place.start - before, place.end + after): place.number for place in alike}

    def _span_at(self, text: str, outline: TalkOutline, place: SlotPlace) -> Span | None:
        """Return the span of one answer; None if it is rendered differently as the newest turn."""
        turns = outline.turns
        before = self._render(turns[: place.number], outline, ask=True)
        after = self._render(turns[: place.number + 1], outline).rstrip("\n")
        if text.startswith(after) and after.startswith(before):
            return len(before), len(after)
        return None

    def _render(self, turns: Sequence[Message], outline: TalkOutline, ask: bool = False) -> str:
        """Render some turns with the tools of an outline. Raises: RefusedError."""
        from jinja2 import TemplateError

        options = {"tools": list(outline.tools)} if outline.tools else {}
        try:
            text: str = self.tokenizer.apply_chat_template(
                list(turns), tokenize=False, add_generation_prompt=ask, **options
            )
        except (TemplateError, *TEMPLATE_ERRORS) as error:
            raise RefusedError("refused_by_template", describe_template_error(error)) from error
        return text


def describe_template_error(error: Exception) -> str:
    """Return the error of a template, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return escape_controls(text)[:ERROR_CHARACTERS]
