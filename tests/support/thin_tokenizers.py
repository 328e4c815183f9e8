"""Tokenizers of thin models: a vocabulary trained here, with the added tokens of each family."""

import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thin_families import CONTEXT_TOKENS, FAMILIES, Family

from hala_hpc.core.files import write_json
from hala_hpc.demo.sample_files import SampleCounts, make_rows
from hala_hpc.demo.tokenizer import strings_in_row

#: Tokens of the trained vocabulary, including single bytes but not added tokens.
TRAINED_TOKENS = 4096
#: Rows of the demo that the vocabulary is trained on.
ROWS = SampleCounts(
    lessons=2000,
    parallel=500,
    held_out=10,
    judged=10,
    teacher_english=300,
    english=900,
    base_lessons=0,
    questions=10,
)


def make_thin_tokenizer(family: str, folder: Path) -> dict[str, int]:
    """Write tokenizer and chat template of a family to `folder`; return the ids of added tokens.

    Needs neither torch nor transformers.
    """
    wanted = FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(wanted)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_bytes(template_file(wanted.template).read_bytes())
    numbers = {token.content: tokenizer.token_to_id(token.content) for token in wanted.added}
    write_json(folder / "tokenizer_config.json", tokenizer_keys(wanted, numbers))
    return numbers


def build_tokenizer(family: Family) -> Any:
    """Make a `tokenizers.Tokenizer` of the trained vocabulary and a family's added tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    trained, merges = train()
    tokens = [*(token.content for token in family.before), *trained]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = make_pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [
            AddedToken(token, special=is_special, normalized=False)
            for token, is_special in family.added
        ]
    )
    if begin := family.named.get("bos_token"):
        tokenizer.post_processor = make_bos_processor(begin, tokenizer.token_to_id(begin))
    return tokenizer


@cache
def train() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Train a BPE; return its tokens in the order of their ids, and its merges."""
    from tokenizers import Tokenizer, models, trainers
    from tokenizers.pre_tokenizers import ByteLevel

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = make_pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=TRAINED_TOKENS,
        min_frequency=1,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts(), trainer)
    model = json.loads(bpe.to_str())["model"]
    tokens = tuple(sorted(model["vocab"], key=model["vocab"].get))
    assert len(tokens) == TRAINED_TOKENS, "the texts of the demo are too few for the vocabulary"
    return tokens, tuple((first, second) for first, second in model["merges"])


def texts() -> Iterator[str]:
    """Texts of the demo in both languages."""
    for rows in make_rows(ROWS, 0.0, "{source} = {target}", seed=0).values():
        for row in rows:
            yield from strings_in_row(row)


def make_pre_tokenizer() -> Any:
    """Pre-tokenizer that splits at words and at each digit."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])


def make_bos_processor(token: str, number: int | None) -> Any:
    """Post-processor that puts a token before each text."""
    from tokenizers.processors import TemplateProcessing

    both = f"{token} $A {token}:1 $B:1"
    return TemplateProcessing(single=f"{token} $A", pair=both, special_tokens=[(token, number)])


def tokenizer_keys(family: Family, numbers: dict[str, int]) -> dict[str, Any]:
    """Content of tokenizer_config.json: added tokens, named tokens, and the class."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    table = {
        str(numbers[content]): {"content": content, **flags, "special": is_special}
        for content, is_special in family.added
    }
    return {
        "add_bos_token": "bos_token" in family.named,
        "add_eos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": table,
        "additional_special_tokens": list(family.also_special),
        **family.named,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT_TOKENS,
        "tokenizer_class": family.tokenizer_class,
    }


def template_file(name: str) -> Path:
    """A chat template file of the installed TRL, found without importing it."""
    found = find_spec("trl")
    assert found is not None, "TRL is not installed"
    return Path(str(found.origin)).parent / "chat_templates" / name
