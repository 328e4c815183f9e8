"""What a made model takes over from the model it was made of: files, tokenizer, config keys."""

import os
import shutil
from pathlib import Path
from typing import Any

from hala_hpc.core.errors import BAD_DATA, NO_INPUT, UserError
from hala_hpc.core.files import read_json, write_json
from hala_hpc.engines.models.files import TOKENIZER_FILES

#: Files of a tokenizer beside its vocabulary, and how the model is asked to answer.
BESIDE_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
#: Keys of a config that tell of the weights as they were, not of the architecture.
OF_THE_WEIGHTS = ("torch_dtype", "dtype", "quantization_config", "transformers_version")


def local_model(model: str) -> Path:
    """The folder of a model named by path or hub id.

    Raises UserError 66 for a hub id that is neither in the cache nor to be had.
    """
    if Path(model).is_dir():
        return Path(model).resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"model {model}: not in the hub's cache and not to be fetched ({error}); "
            "fetch it on a machine with a network, or give a folder",
            NO_INPUT,
        ) from error


def link_model(source: Path, target: Path) -> None:
    """Give the files of a model a second name; a copy where links fail."""
    for file in sorted(source.iterdir()):
        if file.is_file():
            # The hub's cache holds symbolic links: the file behind gets the name.
            link_or_copy(file.resolve(), target / file.name)


def link_or_copy(file: Path, name: Path) -> None:
    """A hard link, or a copy where the file system has none (or it is another one)."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer, chat template and generation settings as they are."""
    for name in (*TOKENIZER_FILES, *BESIDE_FILES):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def carry_config(source: Path, target: Path) -> None:
    """Give a model the config of the one it was made of, with its own type of weights.

    transformers renames LFM2's `block_ff_dim` and others while it reads them, and a trainer
    switches the cache off; vLLM wants what the original checkpoint says.
    """
    saved: dict[str, Any] = read_json(target / "config.json")
    original: dict[str, Any] = read_json(source / "config.json")
    config = {key: value for key, value in original.items() if key not in OF_THE_WEIGHTS}
    of_the_weights = {key: saved[key] for key in OF_THE_WEIGHTS if key in saved}
    write_json(target / "config.json", config | of_the_weights)


def require_same_words(one: Path, other: Path) -> None:
    """Raise UserError 65 when the tokenizers of two models give a token different numbers."""
    first, second = vocabulary(one), vocabulary(other)
    if first is None or second is None:
        return
    for word in first.keys() & second.keys():
        if first[word] != second[word]:
            raise UserError(
                f"the tokenizers differ: token {word!r} is number {first[word]} in {one}, but "
                f"{second[word]} in {other}; such models cannot be merged",
                BAD_DATA,
            )


def vocabulary(folder: Path) -> dict[str, int] | None:
    """Numbers of tokens as tokenizer.json has them; None where it is absent or of another kind."""
    words = (read_json(folder / "tokenizer.json") or {}).get("model", {}).get("vocab")
    return words if isinstance(words, dict) else None
