"""File names of a tokens product, and the record type of its tokens.json."""

from typing import Annotated, ClassVar

from pydantic import Field

from hala_hpc.core.record import JsonRecord

#: Totals of all parts: counts, settings that a trainer needs, and the names of the parts.
TOKENS_FILE = "tokens.json"
#: Folder of the tokenizer, with the chat template of the training.
TOKENIZER_FOLDER = "tokenizer"
#: File beside the tokenizer with its facts.
TOKENIZER_FACTS_FILE = "facts.json"


class TokenCounts(JsonRecord):
    """Counts of token files; for a unit, the details of its marker."""

    rows: int = 0
    sequences: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    held_out_rows: int = 0
    held_out_sequences: int = 0
    held_out_tokens: int = 0
    held_out_loss_tokens: int = 0
    rows_repeated: int = 0
    """Repetitions of rows of corpora with a weight above 1."""
    largest_token: int = -1
    """Largest token id."""


class TokenizerFacts(JsonRecord):
    """Facts of a tokenizer."""

    vocabulary: str
    """A hash of all its tokens and their ids."""
    template_supplied: bool = False
    """Whether the model had no chat template and the plain one was supplied."""


class TokenFacts(TokenCounts, TokenizerFacts):
    """`tokens.json`: totals of all parts of a tokens product."""

    fix: ClassVar[str] = "run the tokenize node again"

    max_length: int
    packing: bool
    length_p50: int = 0
    length_p95: int = 0
    length_max: int = 0
    fill: Annotated[float | None, Field(exclude_if=lambda value: value is None)] = None
    """Share of the slots in packed sequences that hold a token; None without packing."""
    parts: tuple[str, ...] = ()
    held_out_parts: tuple[str, ...] = ()
