"""The tokenizer of all models of the demo, and the chat template of each model family."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PAD, BEGIN, END_OF_TURN = "<|pad|>", "<|startoftext|>", "<|im_end|>"
COHERE_END = "<|END_OF_TURN_TOKEN|>"
#: Token ids 0, 1 and 7 have the same meaning as in real LFM2 checkpoints.
SPECIAL = (
    PAD,
    BEGIN,
    "<|endoftext|>",
    "<|START_OF_TURN_TOKEN|>",
    COHERE_END,
    "<|USER_TOKEN|>",
    "<|im_start|>",
    END_OF_TURN,
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COMMAND = (
    "{{ bos_token }}{% for message in messages %}<|START_OF_TURN_TOKEN|>"
    "{% if message.role == 'user' %}<|USER_TOKEN|>{% elif message.role == 'assistant' %}"
    "<|CHATBOT_TOKEN|>{% else %}<|SYSTEM_TOKEN|>{% endif %}{{ message.content }}"
    "<|END_OF_TURN_TOKEN|>{% endfor %}"
    "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
)
#: Chat template and token that ends an answer, by family.
FAMILIES = {
    "lfm2": ("{{ bos_token }}" + CHATML, END_OF_TURN),
    "qwen2": (CHATML, END_OF_TURN),
    "cohere2": (COMMAND, COHERE_END),
}


def strings_of(files: Iterable[Path]) -> Iterator[str]:
    """Yield every text in the rows of JSONL files."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            yield from strings_in_row(json.loads(line))


def strings_in_row(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value, including nested lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in_row(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in_row(item)


def train_tokenizer(texts: Iterable[str], vocab_size: int, family: str) -> Any:
    """Train a byte-level BPE, which can encode any text, and configure it for a model family."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    template, end = FAMILIES[family]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, bos_token=BEGIN, eos_token=end
    )
    tokenizer.chat_template = template
    return tokenizer
