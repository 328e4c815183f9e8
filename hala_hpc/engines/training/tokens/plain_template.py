"""The chat template that is supplied to a tokenizer without one."""

from typing import Any

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.engines.generation.settings import PromptStyle

#: Chat template for models without one, made of plain text. It needs no token except the
#: end-of-text token, which ends every answer.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "### Assistant:\n{{ message['content'] }}{{ eos_token }}\n"
    "{% elif message['role'] == 'user' %}"
    "### User:\n{{ message['content'] }}\n"
    "{% elif message['role'] == 'tool' %}"
    "### Tool:\n{{ message['content'] }}\n"
    "{% else %}"
    "### System:\n{{ message['content'] }}\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)


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
