"""What the files of a tokens product are called, and what stands in its tokens.json."""

from typing import Annotated, ClassVar

from pydantic import Field

from hala_hpc.core.record import JsonRecord

#: What is known of all parts: counts, what a trainer must know, and the names of the parts.
TOKENS_FILE = "tokens.json"
#: Folder of the tokenizer, with the chat template that is learnt.
TOKENIZER_FOLDER = "tokenizer"
#: Beside the tokenizer: what is known of it.
TOKENIZER_FACTS_FILE = "facts.json"


class TokenCounts(JsonRecord):
    """What token files hold; for a unit, the details of its marker."""

    rows: int = 0
    sequences: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    held_out_rows: int = 0
    held_out_sequences: int = 0
    held_out_tokens: int = 0
    held_out_loss_tokens: int = 0
    rows_repeated: int = 0
    """Repetitions of rows whose corpus has a weight above 1."""
    largest_token: int = -1
    """Largest number of a token."""


class TokenizerFacts(JsonRecord):
    """What is known of a tokenizer."""

    vocabulary: str
    """A hash of all its tokens and their numbers."""
    template_supplied: bool = False
    """Whether the chat template was given to a model that has none."""


class TokenFacts(TokenCounts, TokenizerFacts):
    """`tokens.json`: all parts of a tokens product."""

    fix: ClassVar[str] = "let the tokenize node make the tokens again"

    max_length: int
    packing: bool
    length_p50: int = 0
    length_p95: int = 0
    length_max: int = 0
    fill: Annotated[float | None, Field(exclude_if=lambda value: value is None)] = None
    """Share of the places in packed sequences that hold a token; None without packing."""
    parts: tuple[str, ...] = ()
    held_out_parts: tuple[str, ...] = ()
