"""The common prefix of prompts is tokenized once, with the same tokens as without."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from hala_hpc.engines.generation.prompts import Prompter, cut_at_line_break, fill_template

TEMPLATE = """You translate English texts for readers of every Arab country. Say all that it says,
in its order, and nothing else.  Keep numbers as they are.

Translate into Arabic:

{text}"""
#: Parts of texts that tokenizers merge with what is before them.
PARTS = [
    *("a", " the", "\n", "\n\n", "  ", "\t", "12", "3.5", "'s", "!", "<|im_end|>"),
    *("\u00e9", "e\u0301", "\u0301", "مرحبا", "你好", "😀", "\u200d", "\u00a0"),
    *("Translate into Arabic:", "{text}"),
]


def texts() -> list[str]:
    chance = random.Random(3)
    made = ["".join(chance.choices(PARTS, k=chance.randrange(9))) for _ in range(300)]
    return ["", *PARTS, *made]


def both_ways(tokenizer: Any, style: Any = "auto") -> tuple[Prompter, int, int]:
    """A prompter that has proven equal; characters that were cut with and without preparation."""
    prompts = [fill_template(TEMPLATE, {"text": text}) for text in texts()]
    counted = Counting(tokenizer)
    plain, quick = Prompter(counted, style), Prompter(counted, style)
    quick.set_template(TEMPLATE)
    counted.characters = 0
    expected = plain.ids(prompts)
    whole, counted.characters = counted.characters, 0
    assert quick.ids(prompts) == expected
    return quick, counted.characters, whole


class Counting:
    """A tokenizer that counts the characters that it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.characters = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, texts: Sequence[str], **options: Any) -> Any:
        self.characters += sum(map(len, texts))
        return self.tokenizer(texts, **options)


@pytest.mark.parametrize("style", ["chat", "plain"])
def test_prompts_have_the_same_tokens_for_less_work(tmp_path: Path, style: str) -> None:
    from transformers import AutoTokenizer

    make_tokenizer(tmp_path)
    quick, less, whole = both_ways(AutoTokenizer.from_pretrained(tmp_path), style)
    assert less < whole / 3
    odd = ["Something else", TEMPLATE[:40], ""]
    assert quick.ids(odd) == Prompter(quick.tokenizer, style).ids(odd)  # type: ignore[arg-type]


def trained(pre_tokenizer: Any) -> Any:
    """A tokenizer that has learned its pairs from the template alone."""
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token="?"))
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    texts = [TEMPLATE, *PARTS] * 3
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, special_tokens=["?"]))
    return PreTrainedTokenizerFast(tokenizer_object=made)


@pytest.mark.parametrize(
    "pre_tokenizer", [pre_tokenizers.Metaspace(prepend_scheme="always"), None], ids=["mark", "none"]
)
def test_a_tokenizer_that_ties_lines_together_gets_every_prompt_whole(pre_tokenizer: Any) -> None:
    _, quick, whole = both_ways(trained(pre_tokenizer))
    assert quick == whole


@pytest.mark.parametrize(
    ("start", "lines"),
    [("a\nb: ", "a\n"), ("a\n\nb:\n\n", "a\n\n"), ("a: ", ""), ("", ""), ("a\n b", ""), ("\n", "")],
)
def test_the_last_line_stays_with_the_text(start: str, lines: str) -> None:
    assert cut_at_line_break(start) == lines
