"""Whether token files and a model go together."""

from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.files import read_json
from hala_hpc.engines.training.dataset import read_facts
from hala_hpc.engines.training.tokens.packing_check import refuse_leak
from hala_hpc.engines.training.tokens.product import vocabulary_digest


def require_fit(model: Path, tokens: Path) -> None:
    """Raise UserError where a model would read the tokens as other words, or mix packed rows."""
    from transformers import AutoTokenizer

    facts = read_facts(tokens)
    config: dict[str, Any] = read_json(model / "config.json")
    known = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if known is not None and facts.largest_token >= known:
        raise UserError(
            f"{tokens} has token number {facts.largest_token}, but {model} knows {known} "
            "tokens only; let the tokenize node use the tokenizer of this model",
            BAD_DATA,
        )
    if vocabulary_digest(AutoTokenizer.from_pretrained(model)) != facts.vocabulary:
        raise UserError(
            f"the vocabulary of {model} is not the one that {tokens} was made with: its tokens are "
            "other words there; let the tokenize node use the tokenizer of this model",
            BAD_DATA,
        )
    if facts.packing:
        refuse_leak(model)
