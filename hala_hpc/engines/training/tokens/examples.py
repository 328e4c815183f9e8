"""Convert conversations into training examples: token ids, and labels for the loss tokens."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any

from hala_hpc.engines.generation.prompts import uses_chat_template
from hala_hpc.engines.generation.settings import PromptStyle
from hala_hpc.engines.models.control_tokens import make_text_tokenizer
from hala_hpc.engines.training.tokens.frames import Frame, FrameMaker, RefusedError
from hala_hpc.engines.training.tokens.outlines import (
    Message,
    find_context,
    is_simple,
    outline_messages,
    outline_roles,
)

#: Label of a token without loss, as in torch's cross entropy.
IGNORE_INDEX = -100
#: Maximum number of cached frames, one for each sequence of roles: few occur, though a corpus may
#: hold many.
MAX_CACHED_FRAMES = 4096


@dataclass(frozen=True)
class Example:
    """One tokenized row with its labels."""

    input_ids: Sequence[int]
    labels: Sequence[int]

    @property
    def has_labels(self) -> bool:
        """Whether there is anything to learn."""
        return any(label != IGNORE_INDEX for label in self.labels)

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


class ExampleMaker:
    """Converts conversations into examples with the tokenizer and chat template of a model.

    Labels are the turns of the assistant with the token that ends them, without those that are
    context; nothing is truncated. The text of a message never becomes control tokens. It is
    tokenized separately from the template, so a prompt has the same tokens as at inference. A row
    of more than `max_tokens` tokens is refused as `too_long`; None accepts any length.
    `template_errors` counts rows that the template refused, by its error.

    Raises: UserError (CONFIG) for prompt style `chat` if the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, max_tokens: int | None, style: PromptStyle = "auto") -> None:
        self.text_tokenizer = make_text_tokenizer(tokenizer)
        self.max_tokens = max_tokens
        self.frames = FrameMaker(tokenizer, uses_chat_template(tokenizer, style))
        self.template_errors: Counter[str] = Counter()
        # With slots as texts a template depends on the roles only, and few role sequences occur.
        self.frame_of_roles = lru_cache(MAX_CACHED_FRAMES)(self._frame_of_roles)

    def encode(
        self, rows: Sequence[Sequence[Message]], tools: Sequence[str] = ()
    ) -> Iterator[Example | str]:
        """Yield for each row its example or the reason of refusal; the tokenizer is called once.

        `tools` are the tools of each row as JSON text; none if it is empty.
        """
        both = zip(rows, tools or repeat(""), strict=False)
        frames = [self._frame_of(messages, tools_of_row) for messages, tools_of_row in both]
        good = [row for row, frame in zip(rows, frames, strict=True) if not isinstance(frame, str)]
        contents = iter(self._ids([m["content"] for row in good for m in row]))
        for row, frame in zip(rows, frames, strict=True):
            if isinstance(frame, str):
                yield frame
            else:
                yield self._join(frame, [next(contents) for _ in row])

    def _frame_of(self, messages: Sequence[Message], tools: str) -> Frame | str:
        # Each message with text takes at least one token.
        nonempty = sum(bool(message["content"]) for message in messages)
        if self.max_tokens is not None and nonempty > self.max_tokens:
            return "too_long"
        answers = [m for m in messages if m["role"] == "assistant"]
        if not answers or not all(m["content"].strip() or m.get("tool_calls") for m in answers):
            return "no_answer"
        try:
            if not tools and is_simple(messages):
                roles = tuple(message["role"] for message in messages)
                return self.frame_of_roles(roles, find_context(messages))
            return self.frames.make(outline_messages(messages, tools))
        except RefusedError as error:
            if error.detail:
                self.template_errors[error.detail] += 1
            return error.reason

    def _frame_of_roles(self, roles: tuple[str, ...], context: frozenset[int]) -> Frame:
        return self.frames.make(outline_roles(roles, context))

    def _join(self, frame: Frame, contents: list[list[int]]) -> Example | str:
        ids: list[int] = []
        labels: list[int] = []
        for segment in frame:
            part = list(segment.ids) if segment.slot is None else contents[segment.slot]
            ids += part
            labels += part if segment.has_loss else [IGNORE_INDEX] * len(part)
        too_long = self.max_tokens is not None and len(ids) > self.max_tokens
        return "too_long" if too_long else Example(ids, labels)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.text_tokenizer(
            texts, add_special_tokens=False, split_special_tokens=True
        )["input_ids"]
        return ids
