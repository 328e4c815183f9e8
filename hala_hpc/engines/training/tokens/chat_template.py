"""A chat template for models that have none, made of plain words."""

from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.settings import PromptStyle

#: Ours. It needs no token beside the end of text, which ends every answer.
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


def supply_template(tokenizer: Any, style: PromptStyle) -> bool:
    """Give a tokenizer the plain template where it has none; say whether that was done.

    Nothing is done for style `plain`. Raises UserError (78) where there is no token that ends a
    text, so that the model could never learn to stop.
    """
    if style == "plain" or getattr(tokenizer, "chat_template", None):
        return False
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has neither a chat template nor an "
            "end-of-text token: a model could not learn where an answer ends; give a model whose "
            "tokenizer has an eos_token",
            CONFIG,
        )
    # A text begins as the tokenizer has it begin.
    begins = tokenizer.bos_token_id is not None and tokenizer("")["input_ids"][:1] == [
        tokenizer.bos_token_id
    ]
    tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + PLAIN_TEMPLATE
    return True
