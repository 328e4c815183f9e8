"""Keep the text of a row from being tokenized as control tokens of the chat template.

tokenizers can read special tokens in a text as plain text (`split_special_tokens`), but only those
flagged as special. Cohere's `<|START_OF_TURN_TOKEN|>` and Qwen's `<tool_call>` are not.
"""

import copy
import re
from typing import Any

#: Added tokens of this form control a model, also where its chat template does not show them:
#: `<|fim_prefix|>`, DeepSeek's `<｜User｜>`, `[TOOL_CALLS]`, `<unused7>`, `</think>`.
CONTROL_FORM = re.compile(r"<[|｜].*[|｜]>|\[/?[A-Z][A-Z_]*\]|</?[A-Za-z][A-Za-z_]*\d*>", re.DOTALL)
#: Elements of HTML that vocabularies have as added tokens, such as Gemma's. They are text.
_ELEMENT_NAMES = (
    "a abbr b blockquote body br button caption center cite code dd del div dl dt em font"
    " footer form h1 h2 h3 h4 h5 h6 head header hr html i img input ins kbd li link main"
    " mark meta nav ol option p pre q s samp script section select small span strike strong"
    " style sub summary sup svg table tbody td textarea tfoot th thead time title tr tt u"
    " ul var video"
)
HTML_ELEMENTS = frozenset(_ELEMENT_NAMES.split())


def make_text_tokenizer(tokenizer: Any) -> Any:
    """Return a tokenizer for the text of rows; call it with `split_special_tokens=True`.

    It has the same ids and never returns added tokens that control a model. It is the tokenizer
    itself if all those are special, else a copy. Other added tokens, such as HTML tags and runs of
    spaces in Gemma's vocabulary, count as text.
    """
    control_tokens = find_plain_control_tokens(tokenizer)
    if not control_tokens:
        return tokenizer
    text_tokenizer = copy.deepcopy(tokenizer)
    text_tokenizer.add_tokens(control_tokens, special_tokens=True)
    return text_tokenizer


def list_control_tokens(tokenizer: Any) -> list[str]:
    """Return all tokens that control a model, special or not."""
    special = [token for token in tokenizer.all_special_tokens if token.strip()]
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special += [token.content for token in added if token.special and token.content.strip()]
    return list(dict.fromkeys([*special, *find_plain_control_tokens(tokenizer)]))


def find_plain_control_tokens(tokenizer: Any) -> list[str]:
    """Return the added tokens that control a model and are not flagged as special.

    Those are the ones of the chat template, and those whose form says so.
    """
    templates = getattr(tokenizer, "chat_template", None) or ""
    # Some tokenizers have several templates by name.
    text = templates if isinstance(templates, str) else "".join(templates.values())
    return [
        token.content
        for token in getattr(tokenizer, "added_tokens_decoder", {}).values()
        if not token.special
        and token.content.strip()
        and (token.content in text or is_control_form(token.content))
    ]


def is_control_form(token: str) -> bool:
    """Whether an added token has the form of one that controls a model."""
    name = token.strip("</>").rstrip()
    return bool(CONTROL_FORM.fullmatch(token)) and name.lower() not in HTML_ELEMENTS
