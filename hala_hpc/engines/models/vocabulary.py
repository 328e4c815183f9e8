"""Check that the embedding of a model has a row for every token of its tokenizer."""

from collections.abc import Collection, Iterator
from pathlib import Path

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.core.hub import model_folder
from hala_hpc.engines.models.files import read_header, read_object, weight_files

#: Names of token embeddings in transformers, and of position embeddings.
TOKEN_TABLES = ("embed_tokens", "word_embeddings", "tok_embeddings", "wte")
POSITION_TABLES = ("embed_positions", "wpe")
WEIGHT = ".weight"


def require_vocabulary(model: str | Path) -> None:
    """Check that the embedding has a row for each token that a text may have.

    A missing row stops the engine or the training during its run: an IndexError on a CPU, a device
    assertion on a GPU. A model that is not on the disk, or has no `tokenizer.json`, is not checked.
    Special tokens do not count: no text is tokenized as one.

    Raises: UserError (BAD_DATA) if a row is missing.
    """
    folder = model_folder(str(model))
    if folder is None:
        return
    rows = embedding_rows(folder)
    wrong = {
        token: number
        for token, number in iter_text_tokens(folder)
        if rows is not None and number >= rows
    }
    if not wrong:
        return
    token, number = max(wrong.items(), key=lambda pair: pair[1])
    raise UserError(
        f"model {model}: its tokenizer gives {token!r} the id {number}, but its embedding has "
        f"{rows} rows ({len(wrong)} such tokens): tokenizer and weights are of different models, "
        "or tokens were added without resize_token_embeddings; give the model its own tokenizer",
        BAD_DATA,
    )


def iter_text_tokens(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the tokens that a text may have, with their ids; none without `tokenizer.json`."""
    tokenizer = read_object(folder / "tokenizer.json") or {}
    vocabulary = tokenizer.get("model", {}).get("vocab") or {}
    if isinstance(vocabulary, dict):
        yield from vocabulary.items()
    else:
        # A Unigram model: pairs of token and score, in the order of their ids.
        yield from ((str(pair[0]), number) for number, pair in enumerate(vocabulary))
    for added in tokenizer.get("added_tokens") or []:
        if not added.get("special"):
            yield str(added.get("content")), int(added.get("id", 0))


def is_embedding_table(
    weight: str, tables: Collection[str] = (*TOKEN_TABLES, *POSITION_TABLES)
) -> bool:
    """Whether a weight, by its name with or without `.weight`, is one of these embeddings."""
    return weight.removesuffix(WEIGHT).rpartition(".")[2] in tables


def embedding_rows(folder: Path) -> int | None:
    """Return the rows of the embedding, from its weights, else the config; None if unknown."""
    for path in weight_files(folder):
        header = read_header(path) if path.suffix == ".safetensors" and path.is_file() else None
        for name, tensor in (header.tensors if header else {}).items():
            if is_embedding_table(name, TOKEN_TABLES) and len(tensor.shape) == 2:
                return tensor.shape[0]
    config = read_object(folder / "config.json") or {}
    rows = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    return int(rows) if rows else None
