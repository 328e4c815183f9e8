"""A model that thinks and puts its answers between tokens of its own translates every row."""

from pathlib import Path
from typing import Any

import pytest
from corpora import KNOWN, pair, write_corpus
from plain_out import run_plain
from tiny_models import CHAT_TEMPLATE, SENTENCES, make_tokenizer, tiny_qwen2

from hala_hpc.data.corpus.reader import Row, part_name, read_part

TAGS = ("<think>", "</think>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
#: As the templates of Qwen3 and of Command A write what an assistant said.
FRAMED = CHAT_TEMPLATE.replace(
    "{{ m.content }}",
    "{% if m.role == 'assistant' %}<think>\nhm\n</think>\n\n<|START_RESPONSE|>{{ m.content }}"
    "<|END_RESPONSE|>{% else %}{{ m.content }}{% endif %}",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained to answer so; none of the tags is special in its tokenizer."""
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("framed")
    make_tokenizer(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    tokenizer.chat_template = FRAMED
    tokenizer.save_pretrained(folder)
    return tiny_qwen2(folder, tokenizer, steps=300)


@pytest.mark.slow
@pytest.mark.long
def test_every_row_is_translated_without_what_framed_the_answers(
    model: Path, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "c", [pair(text, "") for text in KNOWN])
    engine = {"dtype": "float32", "cpu_cache_gb": 0.1}
    given = {"model": str(model), "corpus": str(corpus), "units": 1, "engine": engine}
    out = run_plain("translate", given, tmp_path)
    made: list[Row] = list(read_part(out.folder(0) / part_name(0)))
    assert {row["source"]: row["target"] for row in made} == SENTENCES
