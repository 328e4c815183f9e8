"""Questions in tokens, with labels of one and of several tokens, and a random model to ask."""

import random
from pathlib import Path
from typing import Any

#: Body and head in the proportion of LFM2-350M, which has 4.3 times the weights of its head.
LAYERS, HIDDEN, INTERMEDIATE, VOCABULARY = 12, 256, 768, 8_192
#: Tokens of a question of the Arabic leaderboard, from and to: made up.
SHORTEST, LONGEST = 60, 300
ONE_TOKEN = ((301,), (302,), (303,), (304,))
#: As letters of two bytes in a tokenizer without Arabic: three begin alike, the fifth has four.
SEVERAL_TOKENS = ((216, 163), (216, 168), (216, 172), (216, 175), (217, 135, 217, 128))


def make_requests(count: int, labels: tuple[tuple[int, ...], ...], seed: int = 1) -> list[Any]:
    """Requests of lm-eval's `_loglikelihood_tokens`: texts, tokens of question and label."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        length = draw.randint(SHORTEST, LONGEST)
        question = [draw.randrange(400, VOCABULARY) for _ in range(length)]
        found += [((str(number), str(label)), question, list(label)) for label in labels]
    return found


def make_texts(count: int, seed: int = 2) -> list[str]:
    """Questions as texts of the tokenizer's words."""
    draw = random.Random(seed)
    return [
        " ".join(f"w{draw.randrange(VOCABULARY)}" for _ in range(draw.randint(SHORTEST, LONGEST)))
        for _ in range(count)
    ]


def make_model(folder: Path, seed: int = 1) -> None:
    """Write a model of random weights of LFM2's architecture, with a tokenizer of made-up words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast

    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = {name: number for number, name in enumerate(names.values())}
    words |= {f"w{number}": number for number in range(len(words), VOCABULARY)}
    torch.manual_seed(seed)
    attention = {number for number in range(LAYERS) if number % 3 == 2}
    config = Lfm2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        block_auto_adjust_ff_dim=False,
        layer_types=["full_attention" if n in attention else "conv" for n in range(LAYERS)],
        max_position_embeddings=4096,
        bos_token_id=words["<s>"],
        eos_token_id=words["</s>"],
        pad_token_id=words["<pad>"],
    )
    Lfm2ForCausalLM(config).save_pretrained(folder)
    model = Tokenizer(models.WordLevel(words, unk_token=names["unk_token"]))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=model, **names).save_pretrained(folder)
