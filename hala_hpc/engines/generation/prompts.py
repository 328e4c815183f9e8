"""Prompts as token ids: the fixed part first, row text never as control tokens."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.prompt_prefix import FixedWords
from hala_hpc.engines.generation.settings import PromptStyle

#: Stands for the user's words while the chat template is filled in.
PLACEHOLDER = "\u2063user words\u2063"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into `{name}` places; braces inside the values stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda place: values.get(place[1], place[0]), template)


def missing_places(setting: str, template: str, names: Sequence[str]) -> list[str]:
    """A line for every `{name}` that a template lacks, for `preflight`."""
    return [
        f"{setting}={template!r} has no place {{{name}}} for the text of a row"
        for name in names
        if f"{{{name}}}" not in template
    ]


def takes_chat(tokenizer: Any, style: PromptStyle) -> bool:
    """Whether prompts go through the tokenizer's chat template.

    Raises UserError (78) for `chat` where there is none.
    """
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if style == "chat" and not has_template:
        raise UserError(
            f"prompt_style=chat: the tokenizer of {tokenizer.name_or_path} has no chat "
            "template; use prompt_style=plain",
            CONFIG,
        )
    return has_template and style != "plain"


class Prompter:
    """Turns the user's words into prompt ids for one tokenizer and style.

    Raises UserError (78) for `chat` where the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, style: PromptStyle = "auto") -> None:
        self.tokenizer = tokenizer
        self.chat = takes_chat(tokenizer, style)
        self.head, self.tail = self._frame() if self.chat else ([], [])
        self._cut = FixedWords(self._ids, "")

    def _frame(self) -> tuple[list[int], list[int]]:
        """Ids of the chat template before and after the user's words."""
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": PLACEHOLDER}], add_generation_prompt=True, tokenize=False
        )
        before, after = text.split(PLACEHOLDER)
        return self._ids([before], control=True)[0], self._ids([after], control=True)[0]

    def _ids(
        self, texts: Sequence[str], is_whole: bool = True, control: bool = False
    ) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(
            list(texts),
            # A chat template writes the special tokens itself; a plain prompt takes BOS.
            add_special_tokens=is_whole and not self.chat,
            split_special_tokens=not control,
            return_attention_mask=False,
        )["input_ids"]
        return ids

    def expect(self, template: str) -> None:
        """Be fast with words that begin as this template does, up to its first `{name}` place."""
        self._cut = FixedWords(self._ids, re.split(r"\{\w+\}", template, maxsplit=1)[0])

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Prompt ids of the user's words, in one call of the tokenizer."""
        return [self.head + ids + self.tail for ids in self._cut(texts)]
