"""Strips the frame of an answer: added tokens of its model, and thinking. The answer itself stays.

A model may put its answer between control tokens, as Command A does with `<|START_RESPONSE|>` and
`<|END_RESPONSE|>`. In the tokenizer of command-r7b-12-2024 these tokens are added but not special,
so that decoding without special tokens keeps them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hala_hpc.engines.generation.row_program import UNFINISHED_THINKING

#: Characters of control tokens. An added token of letters alone, as a lab adds it for its language,
#: is a word.
CONTROL_SIGNS = frozenset("<>[]{}|｜◁▷")


class ThinkingBlock(NamedTuple):
    """The tags between which a model thinks before it answers."""

    start: str
    end: str


#: From the parsers of vLLM 0.32, `vllm/reasoning/` and `vllm/parser/`; the file is behind each.
THINKING = (
    ThinkingBlock("<think>", "</think>"),  # qwen3, deepseek_r1, ernie45, minimax_m2, olmo3
    ThinkingBlock("<|START_THINKING|>", "<|END_THINKING|>"),  # cohere_command
    ThinkingBlock("<seed:think>", "</seed:think>"),  # seed_oss
    ThinkingBlock("[THINK]", "[/THINK]"),  # mistral
    ThinkingBlock("<|channel>", "<channel|>"),  # gemma4
    ThinkingBlock("<mm:think>", "</mm:think>"),  # minimax_m3
)


@dataclass(frozen=True, slots=True)
class StrippedIds:
    """Token ids of an answer without its frame; `reason` says why there is no answer."""

    ids: list[int]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StrippedText:
    """Text of an answer without its frame; `reason` says why there is no answer."""

    text: str
    reason: str = ""


class AnswerFrame:
    """Strips the frame from the answers of one model, by token ids.

    `prompt_end` are the tokens of every prompt after the user's text; they may open a thinking
    block. A frame token that occurs in the prompt is kept, as a translation repeats it. With
    `cut_thinking` false a thinking block is kept, with its tags.
    """

    def __init__(
        self, tokenizer: Any, cut_thinking: bool = True, prompt_end: Sequence[int] = ()
    ) -> None:
        self._tokenizer = tokenizer
        added: dict[str, int] = tokenizer.get_added_vocab()
        special = set(tokenizer.all_special_ids)
        blocks = THINKING if cut_thinking else ()
        self._blocks = {
            added[block.start]: added[block.end]
            for block in blocks
            if block.start in added and block.end in added
        }
        thinking_tokens = (
            {token for block in THINKING for token in block} if not cut_thinking else set()
        )
        # Texts of the frame tokens. That of a special token is empty: no user text is read as one.
        self._frame = {
            number: "" if number in special else text
            for text, number in added.items()
            if text not in thinking_tokens and (number in special or is_control(text))
        }
        self._frame |= dict.fromkeys(special - set(added.values()), "")
        plain = [block for block in blocks if block.start not in added]
        # Tags that are no added tokens can only be found in the decoded text.
        self._text_frame = TextFrame(
            (), plain, find_open_block(tokenizer.decode(prompt_end), plain)
        )
        self._open_end = self._end_of_open(prompt_end)
        self._whitespace: dict[int, bool] = {}

    def _end_of_open(self, prompt_end: Sequence[int]) -> int | None:
        """Token that closes the thinking block which prompts open; None if they open none."""
        for start, end in self._blocks.items():
            for token in reversed(prompt_end):
                if token == end:
                    break
                if token == start:
                    return end
        return None

    def decode(self, answers: Sequence[tuple[list[int], str]]) -> list[StrippedText]:
        """Decode answers without their frames; each is given as its token ids and its prompt."""
        if not answers:
            # `batch_decode` of no answers returns one text.
            return []
        stripped = [self.strip_ids(ids, prompt) for ids, prompt in answers]
        # All tokens between the two ends are kept, also control tokens: the checks judge them.
        texts = self._tokenizer.batch_decode(
            [one.ids for one in stripped], skip_special_tokens=False
        )
        return [
            StrippedText("", one.reason) if one.reason else self._text_frame.strip(text, "")
            for one, text in zip(stripped, texts, strict=True)
        ]

    def strip_ids(self, ids: list[int], prompt: str) -> StrippedIds:
        """Strip the frame from the token ids of an answer; only the two ends are examined."""
        first, at, last = 0, 0, len(ids)
        if self._open_end is not None:
            first = at = index_after(ids, self._open_end, 0)
        while 0 <= at < last:
            if (end := self._blocks.get(ids[at])) is not None:
                first = at = index_after(ids, end, at + 1)
            elif self._is_frame_token(ids[at], prompt):
                first = at = at + 1
            elif self._is_whitespace(ids[at]):
                at += 1
            else:
                break
        if at < 0:
            return StrippedIds([], UNFINISHED_THINKING)
        at = last
        while at > first:
            if self._is_frame_token(ids[at - 1], prompt):
                last = at = at - 1
            elif self._is_whitespace(ids[at - 1]):
                at -= 1
            else:
                break
        return StrippedIds(ids[first:last])

    def _is_frame_token(self, token: int, prompt: str) -> bool:
        text = self._frame.get(token)
        return text is not None and not (text and text in prompt)

    def _is_whitespace(self, token: int) -> bool:
        """Whether a token is white space, behind which the frame may continue."""
        known = self._whitespace.get(token)
        if known is None:
            known = self._whitespace[token] = not self._tokenizer.decode([token]).strip()
        return known


class TextFrame:
    """Strips the frame from answers that are texts; `tokens` are the texts of the added tokens.

    `opened` is the thinking block that every prompt opens, if any.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        blocks: Sequence[ThinkingBlock] = THINKING,
        opened: ThinkingBlock | None = None,
    ) -> None:
        # The longest first: one token may be a prefix of another.
        self._tokens = sorted(filter(is_control, tokens), key=len, reverse=True)
        self._starts, self._all = tuple(block.start for block in blocks), tuple(self._tokens)
        self._blocks, self._opened = blocks, opened

    @classmethod
    def of(cls, tokens: Sequence[str], cut_thinking: bool) -> "TextFrame":
        """Make the frame of a model with these added tokens, for `engine.cut_thinking`."""
        if cut_thinking:
            return cls(tokens)
        thinking_tokens = {token for block in THINKING for token in block}
        return cls([token for token in tokens if token not in thinking_tokens], ())

    def strip(self, text: str, prompt: str) -> StrippedText:
        """Strip the frame from the text of an answer to a prompt."""
        if self._opened is not None:
            _, found, text = text.partition(self._opened.end)
            if not found:
                return StrippedText("", UNFINISHED_THINKING)
        while True:
            inner = text.lstrip()
            if self._starts and inner.startswith(self._starts):
                block = next(block for block in self._blocks if inner.startswith(block.start))
                _, found, text = inner.partition(block.end)
                if not found:
                    return StrippedText("", UNFINISHED_THINKING)
            elif token := self._first(inner, prompt):
                text = inner.removeprefix(token)
            else:
                break
        while token := self._last(inner := text.rstrip(), prompt):
            text = inner.removesuffix(token)
        return StrippedText(text)

    def _first(self, text: str, prompt: str) -> str:
        """The frame token at the beginning of a text; empty if there is none."""
        if not text.startswith(self._all):
            return ""
        return next((t for t in self._tokens if text.startswith(t) and t not in prompt), "")

    def _last(self, text: str, prompt: str) -> str:
        """The frame token at the end of a text; empty if there is none."""
        if not text.endswith(self._all):
            return ""
        return next((t for t in self._tokens if text.endswith(t) and t not in prompt), "")


def is_control(text: str) -> bool:
    """Whether an added token that is not special is a control token, not a word."""
    return not CONTROL_SIGNS.isdisjoint(text) and not text.isspace()


def index_after(ids: Sequence[int], token: int, start: int) -> int:
    """Index after the first such token from `start` on; -1 if there is none."""
    try:
        return ids.index(token, start) + 1
    except ValueError:
        return -1


def find_open_block(text: str, blocks: Sequence[ThinkingBlock]) -> ThinkingBlock | None:
    """Find the block that a text opens and does not close; None if there is none."""
    return next((b for b in blocks if text.rfind(b.start) > text.rfind(b.end)), None)
