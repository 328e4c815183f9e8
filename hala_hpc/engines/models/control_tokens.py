"""Added tokens by which a chat template speaks, and how the words of a row never become one.

tokenizers can be told to read special tokens in a text as text (`split_special_tokens`), but it
heeds that for tokens that are marked special alone. Cohere's `<|START_OF_TURN_TOKEN|>` and Qwen's
`<tool_call>` are not.
"""

import copy
from typing import Any


def make_text_tokenizer(tokenizer: Any) -> Any:
    """A tokenizer for the words of rows, to be asked with `split_special_tokens=True`.

    It has the same ids and gives none of the added tokens that stand in the chat template. The
    tokenizer itself where there are none but special ones, else a copy. Added tokens that no
    template names, as HTML tags and runs of spaces in Gemma's vocabulary, are words.
    """
    control_tokens = find_template_tokens(tokenizer)
    if not control_tokens:
        return tokenizer
    text_tokenizer = copy.deepcopy(tokenizer)
    text_tokenizer.add_tokens(control_tokens, special_tokens=True)
    return text_tokenizer


def find_template_tokens(tokenizer: Any) -> list[str]:
    """Added tokens, not marked special, that stand in the tokenizer's chat template."""
    templates = getattr(tokenizer, "chat_template", None) or ""
    # Some tokenizers have several templates by name.
    text = templates if isinstance(templates, str) else "".join(templates.values())
    return [
        token.content
        for token in getattr(tokenizer, "added_tokens_decoder", {}).values()
        if not token.special and token.content.strip() and token.content in text
    ]
