"""Tokenizes prompts: the fixed part first, text of rows never as control tokens.

The lines with which all prompts begin are tokenized once, not once for every row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.settings import PromptStyle
from hala_hpc.engines.models.control_tokens import make_text_tokenizer

#: Takes the place of the user's text while the chat template is rendered.
USER_TEXT = "\u2063user words\u2063"
#: A shorter prefix is tokenized with every prompt: caching it saves nothing.
MIN_PREFIX_CHARACTERS = 100
#: Texts after the prefix, to test whether it can be tokenized alone: each kind of character that a
#: tokenizer may merge with its neighbours, none at all, and all of them in a row.
PROBES = (
    "", " ", "\n", "\n\n x", "a", "Ab c", "0", "12 345", ".", "'s", "-", "{x}", "<|im_end|>", "\t",
    "\u0301e", "\u0645\u0631\u062d\u0628\u0627", "\u4f60\u597d", "\U0001f600", "\u200d", "\u00a0",
)  # fmt: skip

#: Tokenizes texts with the special tokens of a prompt (True) or without any (False).
Tokenize = Callable[[Sequence[str], bool], list[list[int]]]


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Fill values into the `{name}` fields of a template; braces inside of values stay."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


def find_missing_fields(setting: str, template: str, names: Sequence[str]) -> list[str]:
    """List a message for every `{name}` field that a template lacks, for `preflight`."""
    return [
        f"{setting}={template!r}: no field {{{name}}} for the text of a row; add it"
        for name in names
        if f"{{{name}}}" not in template
    ]


def uses_chat_template(tokenizer: Any, style: PromptStyle) -> bool:
    """Whether prompts go through the tokenizer's chat template.

    Raises: UserError (CONFIG) if the style is `chat` and there is no template.
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
    """Turns user texts into prompt ids, for one tokenizer and style.

    Raises: UserError (CONFIG) if the style is `chat` and the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, style: PromptStyle = "auto") -> None:
        self.tokenizer = tokenizer
        self.text_tokenizer = make_text_tokenizer(tokenizer)
        self.chat = uses_chat_template(tokenizer, style)
        self.head, self.tail = self._template_ids() if self.chat else ([], [])
        self.stop_token_ids = self._find_stop_tokens() if self.chat else []
        self._tokenize = PrefixTokenizer(self._ids, "")

    def _template_ids(self) -> tuple[list[int], list[int]]:
        """Token ids of the chat template before and after the user's text."""
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": USER_TEXT}], add_generation_prompt=True, tokenize=False
        )
        before, after = text.split(USER_TEXT)
        return self._ids([before], control=True)[0], self._ids([after], control=True)[0]

    def _find_stop_tokens(self) -> list[int]:
        """Find the special token that the chat template writes after an answer, if it does.

        Models end their turn with it, but not all list it as a stop token: the `<end_of_turn>` of
        Gemma 2 is not its end-of-text token.
        """
        from jinja2 import TemplateError

        turns = [{"role": role, "content": USER_TEXT} for role in ("user", "assistant")]
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False)
        except TemplateError:
            return []
        known = self.tokenizer.added_tokens_decoder
        special = {number for number, token in known.items() if token.special}
        after = self._ids([text.rpartition(USER_TEXT)[2]], control=True)[0]
        return [number for number in after if number in special][:1]

    def _ids(
        self, texts: Sequence[str], is_whole: bool = True, control: bool = False
    ) -> list[list[int]]:
        tokenizer = self.tokenizer if control else self.text_tokenizer
        ids: list[list[int]] = tokenizer(
            list(texts),
            # A chat template writes the special tokens itself; a plain prompt takes BOS.
            add_special_tokens=is_whole and not self.chat,
            split_special_tokens=not control,
            return_attention_mask=False,
        )["input_ids"]
        return ids

    def set_template(self, template: str) -> None:
        """Tokenize the beginning of this template, up to its first `{name}` field, only once."""
        self._tokenize = PrefixTokenizer(self._ids, re.split(r"\{\w+\}", template, maxsplit=1)[0])

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Prompt ids of user texts, in one call of the tokenizer."""
        return [self.head + ids + self.tail for ids in self._tokenize(texts)]


class PrefixTokenizer:
    """Token ids of prompts, as `tokenize` gives them; faster if they begin with `prefix`.

    The part that is tokenized alone ends with a line break, at which tokenizers split a text before
    they merge anything. The constructor tests whether this tokenizer does. If it does not, every
    prompt is tokenized as a whole.
    """

    def __init__(self, tokenize: Tokenize, prefix: str) -> None:
        self.tokenize = tokenize
        self.prefix = cut_at_line_break(prefix)
        self.ids: list[int] = []
        if len(self.prefix) < MIN_PREFIX_CHARACTERS or not self._is_separable(prefix):
            self.prefix = ""

    def _is_separable(self, prefix: str) -> bool:
        """Whether the prefix has the same ids whatever follows; stores them."""
        prompts = [prefix + probe for probe in (*PROBES, "".join(PROBES))]
        wholes = self.tokenize(prompts, True)
        rests = self.tokenize([prompt.removeprefix(self.prefix) for prompt in prompts], False)
        self.ids = wholes[0][: len(wholes[0]) - len(rests[0])]
        return all(w == self.ids + rest for w, rest in zip(wholes, rests, strict=True))

    def __call__(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, in one call of the tokenizer."""
        if not self.prefix or not all(prompt.startswith(self.prefix) for prompt in prompts):
            return self.tokenize(prompts, True)
        rests = self.tokenize([prompt.removeprefix(self.prefix) for prompt in prompts], False)
        return [self.ids + rest for rest in rests]


def cut_at_line_break(prefix: str) -> str:
    """Cut a text before its last line that is not empty: it stays with what follows."""
    last = prefix.rstrip("\n").rfind("\n") + 1
    # White space after a line break may be merged with it.
    return prefix[:last] if last and not prefix[last].isspace() else ""
