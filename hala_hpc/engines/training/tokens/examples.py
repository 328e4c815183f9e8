"""Convert conversations into training examples: token ids, and labels for the loss tokens."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.prompts import uses_chat_template
from hala_hpc.engines.generation.settings import PromptStyle
from hala_hpc.engines.models.control_tokens import make_text_tokenizer

#: Chat template for models without one, made of plain text. It needs no token except the
#: end-of-text token, which ends every answer.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "### Assistant:\n{{ message['content'] }}{{ eos_token }}\n"
    "{% elif message['role'] == 'user' %}"
    "### User:\n{{ message['content'] }}\n"
    "{% else %}"
    "### System:\n{{ message['content'] }}\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
#: Label of a token without loss, as in torch's cross entropy.
IGNORE_INDEX = -100
#: Maximum number of cached frames, one for each sequence of roles: few occur, though a corpus may
#: hold many.
MAX_CACHED_FRAMES = 4096
#: Placeholder for the text of message {} while the chat template is rendered.
SLOT = "\u2063words {}\u2063"

Message = dict[str, str]


class RefusedError(Exception):
    """A row that cannot be used for training; the text is the counted reason."""


@dataclass(frozen=True)
class Example:
    """One tokenized row with its labels."""

    input_ids: Sequence[int]
    labels: Sequence[int]

    def cut(self, max_tokens: int) -> list["Example"]:
        """Split into consecutive segments of at most `max_tokens` tokens, without loss or overlap.

        A segment starts where the previous one ended, at any token. Its first token has no label:
        nothing in the segment could predict it.
        """
        if len(self.input_ids) <= max_tokens:
            return [self]
        starts = range(0, len(self.input_ids), max_tokens)
        return [
            Example(
                self.input_ids[start : start + max_tokens],
                [IGNORE_INDEX, *self.labels[start + 1 : start + max_tokens]],
            )
            for start in starts
        ]


@dataclass(frozen=True)
class TemplateSegment:
    """A segment of a conversation: the text of a message, or fixed tokens of the template."""

    slot: int | None
    ids: tuple[int, ...]
    has_loss: bool


@dataclass(frozen=True)
class SlotPlace:
    """Position of the text of a message in the rendered template."""

    number: int
    start: int
    end: int


def group_answers(text: str, roles: tuple[str, ...]) -> list[list[SlotPlace]]:
    """Group the answers of a rendered template by the text around them.

    Each answer is its own group if the template does not show every message once and in order.
    """
    places = [
        SlotPlace(int(found[1]), found.start(), found.end())
        for found in re.finditer(SLOT.format(r"(\d+)"), text)
    ]
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


def context_lengths(span: tuple[int, int] | None, place: SlotPlace) -> tuple[int, int] | None:
    """Return how many characters of the template a span has before and after its answer."""
    return None if span is None else (place.start - span[0], span[1] - place.end)


class ExampleMaker:
    """Converts conversations into examples with the tokenizer and chat template of a model.

    Labels are the turns of the assistant with the token that ends them; nothing is truncated. The
    text of a message never becomes control tokens. It is tokenized separately from the template,
    so a prompt has the same tokens as at inference. A row of more than `max_tokens` tokens is
    refused as `too_long`; None accepts any length.

    Raises: UserError (CONFIG) for prompt style `chat` if the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, max_tokens: int | None, style: PromptStyle = "auto") -> None:
        self.tokenizer = tokenizer
        self.text_tokenizer = make_text_tokenizer(tokenizer)
        self.max_tokens = max_tokens
        self.chat = uses_chat_template(tokenizer, style)
        # With slots as texts a template depends on the roles only, and few role sequences occur.
        self.frame = lru_cache(MAX_CACHED_FRAMES)(self._frame)

    def encode(self, rows: list[list[Message]]) -> Iterator[Example | str]:
        """Yield for each row its example or the reason of refusal; the tokenizer is called once."""
        frames = [self._frame_of(messages) for messages in rows]
        good = [row for row, frame in zip(rows, frames, strict=True) if not isinstance(frame, str)]
        contents = iter(self._ids([m["content"] for row in good for m in row]))
        for row, frame in zip(rows, frames, strict=True):
            if isinstance(frame, str):
                yield frame
            else:
                yield self._join(frame, [next(contents) for _ in row])

    def _frame_of(self, messages: list[Message]) -> tuple[TemplateSegment, ...] | str:
        # Each message with text takes at least one token.
        nonempty = sum(bool(message["content"]) for message in messages)
        if self.max_tokens is not None and nonempty > self.max_tokens:
            return "too_long"
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        if not answers or not all(answer.strip() for answer in answers):
            return "no_answer"
        try:
            return self.frame(tuple(m["role"] for m in messages))
        except RefusedError as reason:
            return str(reason)

    def _join(self, frame: tuple[TemplateSegment, ...], contents: list[list[int]]) -> Example | str:
        ids: list[int] = []
        labels: list[int] = []
        for segment in frame:
            part = list(segment.ids) if segment.slot is None else contents[segment.slot]
            ids += part
            labels += part if segment.has_loss else [IGNORE_INDEX] * len(part)
        too_long = self.max_tokens is not None and len(ids) > self.max_tokens
        return "too_long" if too_long else Example(ids, labels)

    def _ids(self, texts: list[str], control: bool = False) -> list[list[int]]:
        if not texts:
            return []
        tokenizer = self.tokenizer if control else self.text_tokenizer
        ids: list[list[int]] = tokenizer(
            texts, add_special_tokens=False, split_special_tokens=not control
        )["input_ids"]
        return ids

    def _frame(self, roles: tuple[str, ...]) -> tuple[TemplateSegment, ...]:
        """Return the template segments of a conversation with these roles. Raises RefusedError."""
        if not self.chat:
            return self._plain_frame(roles)
        text, spans = self._answer_spans(roles)
        edges = sorted({edge for span in spans for edge in span} | {0, len(text)})
        segments = []
        for start, end in pairwise(edges):
            segments += self._split_at_slots(text[start:end], (start, end) in spans)
        last = max(number for number, segment in enumerate(segments) if segment.has_loss)
        # What follows the last answer has no labels.
        return tuple(self._with_end_token(segments[: last + 1]))

    def _plain_frame(self, roles: tuple[str, ...]) -> tuple[TemplateSegment, ...]:
        # What the tokenizer puts before any text (BOS), as at inference.
        begin = TemplateSegment(None, tuple(self.tokenizer("")["input_ids"]), False)
        slots = [TemplateSegment(slot, (), role == "assistant") for slot, role in enumerate(roles)]
        return (begin, *self._with_end_token(slots))

    def _with_end_token(self, segments: list[TemplateSegment]) -> list[TemplateSegment]:
        """Append the end-of-text token if the template ends a turn without a special token."""
        last = segments[-1]
        if last.ids and last.ids[-1] in self.tokenizer.all_special_ids:
            return segments
        return [*segments, TemplateSegment(None, (self.tokenizer.eos_token_id,), True)]

    def _split_at_slots(self, text: str, has_loss: bool) -> list[TemplateSegment]:
        """Split a part of the rendered template at its slots."""
        found = []
        # Every other item is the number of a slot.
        for number, item in enumerate(re.split(SLOT.format(r"(\d+)"), text)):
            if number % 2:
                found.append(TemplateSegment(int(item), (), has_loss))
            elif item:
                found.append(
                    TemplateSegment(None, tuple(self._ids([item], control=True)[0]), has_loss)
                )
        return found

    def _answer_spans(self, roles: tuple[str, ...]) -> tuple[str, set[tuple[int, int]]]:
        """Return the rendered template, and the spans of the answers in it.

        Some templates render an older turn differently from a new one; then only the last has
        labels.
        """
        slots = [{"role": r, "content": SLOT.format(n)} for n, r in enumerate(roles)]
        text = self._render(slots, ask=False)
        spans: set[tuple[int, int]] = set()
        for alike in group_answers(text, roles):
            spans |= self._spans_of(text, slots, alike)
        if not spans:
            raise RefusedError("refused_by_template")
        return text, spans

    def _spans_of(
        self, text: str, slots: list[Message], alike: list[SlotPlace]
    ) -> set[tuple[int, int]]:
        """Return the spans of a group of answers with the same text around them.

        What holds for the first and the last of them holds for all. To render the template up to
        each answer would take n times as long for a conversation of n messages.
        """
        first = self._span_at(text, slots, alike[0])
        if len(alike) == 1:
            return {first} if first else set()
        last = self._span_at(text, slots, alike[-1])
        if context_lengths(first, alike[0]) != context_lengths(last, alike[-1]):
            found = (self._span_at(text, slots, place) for place in alike)
            return {span for span in found if span}
        if first is None:
            return set()
        before, after = alike[0].start - first[0], first[1] - alike[0].end
        return {(place.start - before, place.end + after) for place in alike}

    def _span_at(self, text: str, slots: list[Message], place: SlotPlace) -> tuple[int, int] | None:
        """Return the span of one answer; None if it is rendered differently as the newest turn."""
        before = self._render(slots[: place.number], ask=True)
        after = self._render(slots[: place.number + 1], ask=False).rstrip("\n")
        if text.startswith(after) and after.startswith(before):
            return len(before), len(after)
        return None

    def _render(self, messages: list[Message], ask: bool) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=ask
            )
        except TemplateError as error:
            raise RefusedError("refused_by_template") from error
        return text


def supply_chat_template(tokenizer: Any, style: PromptStyle) -> bool:
    """Give a tokenizer the plain template if it has none; return whether that was done.

    Nothing is done for style `plain`.

    Raises: UserError (CONFIG) if there is no end-of-text token: the model could not learn to stop.
    """
    if style == "plain" or getattr(tokenizer, "chat_template", None):
        return False
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has neither a chat template nor an "
            "end-of-text token, so a model could not learn where an answer ends; give a model "
            "whose tokenizer has an eos_token",
            CONFIG,
        )
    # A text starts with BOS if the tokenizer adds it.
    begins = tokenizer.bos_token_id is not None and tokenizer("")["input_ids"][:1] == [
        tokenizer.bos_token_id
    ]
    tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + PLAIN_TEMPLATE
    return True
