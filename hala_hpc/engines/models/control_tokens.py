"""Keep the text of a row from being tokenized as control tokens of the chat template.

tokenizers can read special tokens in a text as plain text (`split_special_tokens`), but only those
flagged as special. Cohere's `<|START_OF_TURN_TOKEN|>` and Qwen's `<tool_call>` are not.
"""

import copy
from typing import Any


def make_text_tokenizer(tokenizer: Any) -> Any:
    """Return a tokenizer for the text of rows; call it with `split_special_tokens=True`.

    It has the same ids and never returns added tokens that occur in the chat template. It is the
    tokenizer itself if all those are special, else a copy. Added tokens that occur in no template,
    such as HTML tags and runs of spaces in Gemma's vocabulary, count as text.
    """
    control_tokens = find_template_tokens(tokenizer)
    if not control_tokens:
        return tokenizer
    text_tokenizer = copy.deepcopy(tokenizer)
    text_tokenizer.add_tokens(control_tokens, special_tokens=True)
    return text_tokenizer


def find_template_tokens(tokenizer: Any) -> list[str]:
    """Return the added tokens in the tokenizer's chat template that are not flagged as special."""
    templates = getattr(tokenizer, "chat_template", None) or ""
    # Some tokenizers have several templates by name.
    text = templates if isinstance(templates, str) else "".join(templates.values())
    return [
        token.content
        for token in getattr(tokenizer, "added_tokens_decoder", {}).values()
        if not token.special and token.content.strip() and token.content in text
    ]
